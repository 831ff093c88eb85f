//! Subscriptions: what a tenant has agreed to pay for, and where it stands with that.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::catalogue::{AddOn, Discount, PlanFigures};

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// Nothing is to be paid yet.
    Trialing,
    /// All is well.
    Active,
    /// An invoice is overdue; everything works.
    PastDue,
    /// It has been overdue for long: what belongs to a module or is metered is refused.
    Restricted,
    /// It has been overdue for very long: nothing works but signing in and paying.
    Suspended,
    /// The tenant has ended it.
    Canceled,
}

impl SubscriptionStatus {
    const ALL: [Self; 6] =
        [Self::Trialing, Self::Active, Self::PastDue, Self::Restricted, Self::Suspended, Self::Canceled];

    /// The word in the database and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Restricted => "restricted",
            Self::Suspended => "suspended",
            Self::Canceled => "canceled",
        }
    }

    /// The status that a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What a subscription is as long as nothing is overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In its trial.
    Trial,
    /// Running.
    Running,
    /// Ended by the tenant.
    Ended,
}

/// After how many days overdue an unpaid invoice leads to what; `warn <= restrict <= suspend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DunningPolicy {
    /// [`SubscriptionStatus::PastDue`].
    pub warn_days: u32,
    /// [`SubscriptionStatus::Restricted`].
    pub restrict_days: u32,
    /// [`SubscriptionStatus::Suspended`].
    pub suspend_days: u32,
}

impl DunningPolicy {
    /// The status of a subscription whose oldest unpaid invoice is so many days overdue; none = nothing is overdue. It follows from
    /// these facts alone: whoever asks again, late or twice, gets the same, and a payment leads back whence it came. Ending a
    /// subscription does not end a debt.
    #[must_use]
    pub fn status(&self, stage: Stage, overdue_days: Option<u32>) -> SubscriptionStatus {
        match overdue_days {
            Some(days) if days >= self.suspend_days => SubscriptionStatus::Suspended,
            Some(days) if days >= self.restrict_days => SubscriptionStatus::Restricted,
            Some(days) if days >= self.warn_days => SubscriptionStatus::PastDue,
            Some(_) | None => match stage {
                Stage::Trial => SubscriptionStatus::Trialing,
                Stage::Running => SubscriptionStatus::Active,
                Stage::Ended => SubscriptionStatus::Canceled,
            },
        }
    }
}

/// What the gateway makes of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Open,
    /// Everything, and answers say that payment is due.
    Warned,
    /// Nothing that belongs to a module or is metered.
    Restricted,
    /// Nothing but signing in and paying.
    Shut,
}

/// What a tenant pays for in a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Name of the plan.
    pub plan: String,
    /// Version of its figures.
    pub version: u32,
    /// Price of the plan, in the currency's smallest unit.
    pub price_minor: i64,
    /// Modules beside the plan's own.
    pub add_ons: Vec<AddOn>,
}

impl Terms {
    /// What a whole month costs. A sum that does not fit is as large as can be.
    #[must_use]
    pub fn monthly_minor(&self) -> i64 {
        self.add_ons.iter().fold(self.price_minor, |sum, add_on| sum.saturating_add(add_on.price_minor))
    }
}

/// Terms that will hold from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// From when.
    pub at: DateTime<Utc>,
    /// The terms.
    pub terms: Terms,
    /// The subscription ends then, and these are what is left.
    pub is_end: bool,
}

/// A coupon that a subscription has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldCoupon {
    /// Its code.
    pub code: String,
    /// What it takes off, as on the day on which it was taken.
    pub discount: Discount,
    /// The first instant of the first period that has it.
    pub starts_at: DateTime<Utc>,
    /// When it was taken: what was due before is not for it. None for coupons of before this was written down.
    #[serde(default)]
    pub taken_at: Option<DateTime<Utc>>,
    /// Periods that begin from here on are without it.
    pub ends_at: DateTime<Utc>,
}

/// A tenant's subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: Uuid,
    /// What is paid for now.
    pub terms: Terms,
    /// The figures of its version of the plan.
    pub figures: PlanFigures,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// When the tenant got its first plan.
    pub started_at: DateTime<Utc>,
    /// The trial is not over.
    pub is_trial: bool,
    /// When the trial ends or ended; none = there never was one.
    pub trial_end: Option<DateTime<Utc>>,
    /// What comes next.
    pub scheduled: Option<Scheduled>,
    /// When the tenant ended it.
    pub canceled_at: Option<DateTime<Utc>>,
    /// Its coupon, running or run out.
    pub coupon: Option<HeldCoupon>,
    /// Codes of coupons that it has had, each of which is good once.
    pub used_coupons: Vec<String>,
    /// No tax is added to its invoices.
    pub is_tax_exempt: bool,
    /// Grows with each change; 0 = there is no row of it yet.
    pub revision: i64,
}

impl Subscription {
    /// What a tenant has of which no subscription was written down: its plan as it is now.
    #[must_use]
    pub fn implied(plan: &str, version: u32, figures: PlanFigures, since: DateTime<Utc>) -> Self {
        let terms = Terms { plan: plan.to_owned(), version, price_minor: figures.price_minor, add_ons: Vec::new() };
        Self {
            id: Uuid::nil(),
            terms,
            figures,
            status: SubscriptionStatus::Active,
            started_at: since,
            is_trial: false,
            trial_end: None,
            scheduled: None,
            canceled_at: None,
            coupon: None,
            used_coupons: Vec::new(),
            is_tax_exempt: false,
            revision: 0,
        }
    }

    /// What it is as long as nothing is overdue.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match (self.canceled_at, self.is_trial) {
            (Some(_), _) => Stage::Ended,
            (None, true) => Stage::Trial,
            (None, false) => Stage::Running,
        }
    }

    /// What a month costs as things are: nothing in a trial, and nothing once it was ended.
    #[must_use]
    pub fn billed_minor(&self) -> i64 {
        match self.stage() {
            Stage::Running => self.terms.monthly_minor(),
            Stage::Trial | Stage::Ended => 0,
        }
    }

    /// What the gateway makes of it. One that was ended leaves what is free of charge.
    #[must_use]
    pub fn access(&self) -> Access {
        match self.status {
            SubscriptionStatus::Trialing | SubscriptionStatus::Active => Access::Open,
            SubscriptionStatus::PastDue => Access::Warned,
            SubscriptionStatus::Restricted => Access::Restricted,
            SubscriptionStatus::Suspended => Access::Shut,
            SubscriptionStatus::Canceled if self.terms.monthly_minor() == 0 => Access::Open,
            SubscriptionStatus::Canceled => Access::Shut,
        }
    }

    /// The coupon of a period that begins at `start`.
    #[must_use]
    pub fn coupon_at(&self, start: DateTime<Utc>) -> Option<&HeldCoupon> {
        self.coupon.as_ref().filter(|coupon| coupon.starts_at <= start && start < coupon.ends_at)
    }
}

#[cfg(test)]
#[path = "subscription_tests.rs"]
mod tests;
