//! What a change of a subscription means: when it holds, and what is owed for the rest of the period.
//!
//! The price of a period is due at its beginning, by the terms of its first instant. So a change within a period gives back what is
//! left of the old price and takes what is left of the new one, by the second; a change at the first instant owes nothing more.

use chrono::{DateTime, TimeDelta, Utc};

use super::catalogue::PlanFigures;
use super::money::MoneyError;
use super::period::Period;
use super::proration::rest_of;
use super::subscription::{Stage, Subscription, SubscriptionStatus, Terms};

/// When a change is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// At once if it costs as much or more, else from the end of what is paid for.
    ByPrice,
    /// At once in any case.
    AtOnce,
}

/// What is to be done about a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is so, or will be.
    Nothing,
    /// It is so; what was to come after is dropped.
    Keep,
    /// It is changed now.
    Now,
    /// It will be changed then.
    Later(DateTime<Utc>),
}

/// When what a tenant has paid for ends: its trial, or the present period.
#[must_use]
pub fn paid_until(subscription: &Subscription, at: DateTime<Utc>) -> DateTime<Utc> {
    let end = Period::containing(at).end;
    match subscription.trial_end {
        Some(trial_end) if subscription.is_trial => trial_end,
        Some(_) | None => end,
    }
}

/// What is to be done so that a tenant has these terms. The same wish twice is one change.
#[must_use]
pub fn step(subscription: &Subscription, wanted: &Terms, timing: Timing, at: DateTime<Utc>) -> Step {
    let is_ended = subscription.stage() == Stage::Ended;
    if *wanted == subscription.terms && !is_ended {
        return if subscription.scheduled.is_some() { Step::Keep } else { Step::Nothing };
    }
    let is_cheaper = wanted.monthly_minor() < subscription.billed_minor();
    if timing == Timing::AtOnce || !is_cheaper {
        return Step::Now;
    }
    match &subscription.scheduled {
        Some(scheduled) if scheduled.terms == *wanted && !scheduled.is_end => Step::Nothing,
        Some(_) | None => Step::Later(paid_until(subscription, at)),
    }
}

/// A subscription after a change, and what the change costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The subscription then.
    pub after: Subscription,
    /// What is given back of the old price; 0 and up.
    pub credit_minor: i64,
    /// What is to be paid of the new one; 0 and up.
    pub charge_minor: i64,
}

/// Other terms from `at` on. Whoever paid nothing before gets the trial of the new plan, once; a trial goes on under another plan.
///
/// # Errors
/// [`MoneyError`].
pub fn change_now(
    before: &Subscription,
    wanted: Terms,
    figures: PlanFigures,
    at: DateTime<Utc>,
) -> Result<Change, MoneyError> {
    let is_paid = wanted.monthly_minor() > 0;
    let begins_trial =
        is_paid && figures.trial_days > 0 && before.trial_end.is_none() && before.terms.monthly_minor() == 0;
    let is_trial = is_paid && (before.is_trial || begins_trial);
    let trial_end =
        if begins_trial { Some(at + TimeDelta::days(i64::from(figures.trial_days))) } else { before.trial_end };
    let after = Subscription {
        terms: wanted,
        figures,
        is_trial,
        trial_end,
        scheduled: None,
        canceled_at: None,
        ..before.clone()
    };
    priced(before, after, at)
}

/// The trial is over at `at`.
///
/// # Errors
/// [`MoneyError`].
pub fn end_trial(before: &Subscription, at: DateTime<Utc>) -> Result<Change, MoneyError> {
    priced(before, Subscription { is_trial: false, ..before.clone() }, at)
}

/// The tenant's subscription ends at `at` and leaves these terms. What was paid for the time after is not given back.
#[must_use]
pub fn end(before: &Subscription, left: Terms, figures: PlanFigures, at: DateTime<Utc>) -> Subscription {
    settled(Subscription {
        terms: left,
        figures,
        is_trial: false,
        scheduled: None,
        canceled_at: Some(at),
        ..before.clone()
    })
}

/// What was scheduled holds from `at` on, the end of what was paid for.
#[must_use]
pub fn begin_scheduled(before: &Subscription, terms: Terms, figures: PlanFigures) -> Subscription {
    let is_trial = before.is_trial && terms.monthly_minor() > 0;
    settled(Subscription { terms, figures, is_trial, scheduled: None, ..before.clone() })
}

/// With the status that follows, unless something is overdue, which a change does not pay.
fn settled(after: Subscription) -> Subscription {
    let status = match (after.status, after.stage()) {
        (SubscriptionStatus::PastDue | SubscriptionStatus::Restricted | SubscriptionStatus::Suspended, _) => {
            after.status
        }
        (_, Stage::Trial) => SubscriptionStatus::Trialing,
        (_, Stage::Running) => SubscriptionStatus::Active,
        (_, Stage::Ended) => SubscriptionStatus::Canceled,
    };
    Subscription { status, ..after }
}

fn priced(before: &Subscription, after: Subscription, at: DateTime<Utc>) -> Result<Change, MoneyError> {
    let period = Period::containing(at);
    let rest = |price_minor| if at == period.start { Ok(0) } else { rest_of(period, at, price_minor) };
    Ok(Change {
        credit_minor: rest(before.billed_minor())?,
        charge_minor: rest(after.billed_minor())?,
        after: settled(after),
    })
}

#[cfg(test)]
#[path = "subscription_change_tests.rs"]
mod tests;
