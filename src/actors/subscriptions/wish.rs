//! What somebody wants, as terms with prices.

use chrono::{DateTime, Months, SubsecRound as _, Utc};

use super::SubscribeError;
use crate::config::Settings;
use crate::domain::catalogue::{AddOn, PlanFigures};
use crate::domain::period::Period;
use crate::domain::subscription::{HeldCoupon, Subscription, SubscriptionStatus, Terms};
use crate::domain::subscription_change::{Step, Timing, step};

/// Who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The tenant, who has seen this revision of its subscription. What costs less holds from the end of what is paid for.
    Tenant {
        /// The revision; 0 = none was written down.
        seen: i64,
    },
    /// The platform: at once, and to the newest version of the plan.
    Platform,
}

/// Other terms are wanted.
#[derive(Debug, Clone)]
pub struct ChangeWish {
    /// Name of the plan.
    pub plan: String,
    /// Exactly these modules beside the plan's own; none = those that there are, as far as the plan does not include them.
    pub modules: Option<Vec<String>>,
    /// Code of a coupon.
    pub coupon: Option<String>,
    /// Who wants it.
    pub by: By,
}

/// What a wish would mean, by what is known without a lock.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The terms.
    pub terms: Terms,
    /// The figures of the version of the plan.
    pub figures: PlanFigures,
    /// What would be done.
    pub step: Step,
    /// The coupon that would be taken.
    pub coupon: Option<HeldCoupon>,
}

impl Preview {
    /// Whether the wish leads to paid terms from now on: where payments are taken online, this is when one is asked for.
    #[must_use]
    pub fn asks_for_payment(&self) -> bool {
        self.step == Step::Now && self.terms.monthly_minor() > 0
    }

    /// Whether anything is to be written down.
    pub(super) fn changes_anything(&self) -> bool {
        self.step != Step::Nothing || self.coupon.is_some()
    }
}

/// What `wish` means for a subscription at a moment.
///
/// # Errors
/// [`SubscribeError`]: names that are none, and that open invoices come first.
pub fn preview(
    settings: &Settings,
    now: &Subscription,
    wish: &ChangeWish,
    at: DateTime<Utc>,
) -> Result<Preview, SubscribeError> {
    let (terms, figures) = wanted(settings, now, wish)?;
    let timing = match wish.by {
        By::Tenant { .. } => Timing::ByPrice,
        By::Platform => Timing::AtOnce,
    };
    let step = step(now, &terms, timing, at);
    let is_indebted = matches!(now.status, SubscriptionStatus::Restricted | SubscriptionStatus::Suspended);
    if is_indebted && wish.by != By::Platform && step == Step::Now && terms.monthly_minor() > 0 {
        return Err(SubscribeError::Unpaid);
    }
    let coupon = match &wish.coupon {
        None => None,
        Some(code) => coupon(settings, now, code, at)?,
    };
    Ok(Preview { terms, figures, step, coupon })
}

/// The terms that are wanted. Whoever has the plan keeps the version that they have, unless the platform says otherwise, and what
/// they have beside it keeps its price.
fn wanted(settings: &Settings, now: &Subscription, wish: &ChangeWish) -> Result<(Terms, PlanFigures), SubscribeError> {
    let configured = settings.plans.get(&wish.plan);
    let keeps_version = wish.plan == now.terms.plan && (wish.by != By::Platform || configured.is_none());
    let (version, figures) = match configured {
        _ if keeps_version => (now.terms.version, now.figures.clone()),
        Some(plan) => (plan.version, plan.figures(&settings.billing.currency)),
        None => return Err(SubscribeError::UnknownPlan),
    };
    let is_included = |name: &str| figures.modules.iter().any(|module| module == name);
    let mut add_ons = match &wish.modules {
        None => now.terms.add_ons.iter().filter(|add_on| !is_included(&add_on.name)).cloned().collect(),
        Some(names) => chosen(settings, now, names, is_included)?,
    };
    add_ons.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((Terms { plan: wish.plan.clone(), version, price_minor: figures.price_minor, add_ons }, figures))
}

fn chosen(
    settings: &Settings,
    now: &Subscription,
    names: &[String],
    is_included: impl Fn(&str) -> bool,
) -> Result<Vec<AddOn>, SubscribeError> {
    let mut add_ons: Vec<AddOn> = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        if is_included(name) || add_ons.iter().any(|add_on| add_on.name == *name) {
            return Err(SubscribeError::NeedlessModule(place));
        }
        let held = now.terms.add_ons.iter().find(|add_on| add_on.name == *name).map(|add_on| add_on.price_minor);
        let sold = || settings.modules.get(name).map(|module| module.price_minor);
        let price_minor = held.or_else(sold).ok_or(SubscribeError::UnknownModule(place))?;
        add_ons.push(AddOn { name: name.clone(), price_minor });
    }
    Ok(add_ons)
}

/// The coupon to take; `None` if the tenant has it and it runs.
fn coupon(
    settings: &Settings,
    now: &Subscription,
    code: &str,
    at: DateTime<Utc>,
) -> Result<Option<HeldCoupon>, SubscribeError> {
    if now.coupon.as_ref().is_some_and(|held| held.code == code && at < held.ends_at) {
        return Ok(None);
    }
    let coupon = settings.coupons.get(code).ok_or(SubscribeError::UnknownCoupon)?;
    if now.used_coupons.iter().any(|used| used == code) {
        return Err(SubscribeError::UsedCoupon);
    }
    let starts_at = Period::containing(at).start;
    let ends_at = starts_at.checked_add_months(Months::new(coupon.months)).ok_or(SubscribeError::UnknownCoupon)?;
    let discount = coupon.discount().ok_or(SubscribeError::UnknownCoupon)?;
    Ok(Some(HeldCoupon { code: code.to_owned(), discount, starts_at, taken_at: Some(at.trunc_subsecs(6)), ends_at }))
}
