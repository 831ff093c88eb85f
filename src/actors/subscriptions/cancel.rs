//! A tenant ends its subscription.

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::json;

use super::due::change_due_of;
use super::write::{Doer, Locked, after_last_change, announce, in_short, lock, note, write, write_terms};
use super::{Outcome, SubscribeError};
use crate::clock;
use crate::config::Settings;
use crate::db::subscriptions::ChangeKind;
use crate::db::{Db, TenantTx};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::catalogue::PlanFigures;
use crate::domain::ids::TenantId;
use crate::domain::subscription::{Scheduled, Stage, Subscription, Terms};
use crate::domain::subscription_change::{Change, end, paid_until};

/// Ends a tenant's subscription: at the end of what is paid for, or at once, and then nothing is given back. What is left is the
/// platform's default plan, if that is free of charge, else nothing. The same wish again changes nothing; subscribing again takes it
/// back. `seen` is the revision that the tenant has seen, and `at` the moment of the wish.
///
/// # Errors
/// [`SubscribeError::NothingToCancel`], [`SubscribeError::Changed`] or the database's.
#[expect(clippy::too_many_arguments, reason = "a wish, who has it, and what it goes by")]
pub async fn cancel(
    db: &Db,
    settings: &Settings,
    tenant: TenantId,
    at_period_end: bool,
    at: DateTime<Utc>,
    seen: i64,
    actor: AuditActor,
    source: AuditSource,
) -> Result<Outcome, SubscribeError> {
    change_due_of(db, settings, tenant, clock::now()).await?;
    let mut tx = TenantTx::begin(db, tenant).await?;
    let outcome = cancel_within(&mut tx, settings, at_period_end, at, Some(seen), actor, source).await?;
    tx.commit().await?;
    Ok(outcome)
}

/// [`cancel`] within a transaction that does more; without `seen`, whatever the subscription is by now. What is due is not changed
/// before.
///
/// # Errors
/// As [`cancel`].
pub async fn cancel_within(
    tx: &mut TenantTx,
    settings: &Settings,
    at_period_end: bool,
    at: DateTime<Utc>,
    seen: Option<i64>,
    actor: AuditActor,
    source: AuditSource,
) -> Result<Outcome, SubscribeError> {
    // As exact as the database is: what is answered is what is stored.
    let (at, doer) = (at.trunc_subsecs(6), Doer { actor, source });
    let Locked { tenant, subscription: before } = lock(tx, settings).await?;
    let is_scheduled = before.scheduled.as_ref().is_some_and(|scheduled| scheduled.is_end);
    if before.stage() == Stage::Ended || (at_period_end && is_scheduled) {
        return Ok(Outcome { subscription: before, config_version: None });
    }
    if before.terms.monthly_minor() == 0 {
        return Err(SubscribeError::NothingToCancel);
    }
    if seen.is_some_and(|seen| seen != before.revision) {
        return Err(SubscribeError::Changed);
    }
    let at = after_last_change(tx, at).await?;
    let (left, figures) = what_is_left(settings, &before);
    let ends_at = if at_period_end { paid_until(&before, at) } else { at };
    let after = if at_period_end {
        let scheduled = Some(Scheduled { at: ends_at, terms: left.clone(), is_end: true });
        Subscription { scheduled, ..before.clone() }
    } else {
        end(&before, left.clone(), figures, at)
    };
    let (after, config_version) = write(tx, &before, after).await?;
    if !at_period_end {
        let change = Change { after: after.clone(), credit_minor: 0, charge_minor: 0 };
        write_terms(tx, settings, ChangeKind::Cancel, &before, &change, at).await?;
    }
    let detail = json!({ "from": in_short(&before.terms), "to": in_short(&left), "ends_at": ends_at });
    note(tx, &doer, "subscription.cancel", &after, detail).await?;
    announce(tx, settings, &tenant, &before, &after).await?;
    Ok(Outcome { subscription: after, config_version: Some(config_version) })
}

/// The terms that a subscription leaves.
fn what_is_left(settings: &Settings, before: &Subscription) -> (Terms, PlanFigures) {
    let name = &settings.onboarding.default_plan;
    let free = settings.plans.get(name).filter(|plan| plan.price_minor == 0);
    match free {
        Some(plan) => {
            let figures = plan.figures(&settings.billing.currency);
            let terms = Terms { plan: name.clone(), version: plan.version, price_minor: 0, add_ons: Vec::new() };
            (terms, figures)
        }
        None => (before.terms.clone(), before.figures.clone()),
    }
}
