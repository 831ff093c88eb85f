//! Somebody wants other terms.

use chrono::SubsecRound;
use serde_json::json;

use super::due::change_due_of;
use super::write::{Doer, Locked, after_last_change, announce, in_short, lock, note, write, write_terms};
use super::{By, ChangeWish, Outcome, Preview, SubscribeError, preview};
use crate::clock;
use crate::config::Settings;
use crate::db::subscriptions::ChangeKind;
use crate::db::{Db, DbError, TenantTx, audit};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::TenantId;
use crate::domain::subscription::{Scheduled, Subscription};
use crate::domain::subscription_change::{Change, Step, change_now};

/// Gives a tenant other terms, now or from the end of what is paid for. The same wish again changes nothing; of two different ones at
/// once, the second is refused, because its sender has not seen what the first has changed. With a change of plan, the usage of the
/// present period is judged by the new one, in the same transaction; it is not counted anew.
///
/// # Errors
/// [`SubscribeError`].
pub async fn change(
    db: &Db,
    settings: &Settings,
    tenant: TenantId,
    wish: &ChangeWish,
    actor: AuditActor,
    source: AuditSource,
) -> Result<Outcome, SubscribeError> {
    // As exact as the database is: what is answered is what is stored.
    let (at, doer) = (clock::now().trunc_subsecs(6), Doer { actor, source });
    change_due_of(db, settings, tenant, at).await?;
    let mut tx = TenantTx::begin(db, tenant).await?;
    let Locked { tenant, subscription: before } = lock(&mut tx, settings).await?;
    let at = after_last_change(&mut tx, at).await?;
    let plan = preview(settings, &before, wish, at)?;
    if !plan.changes_anything() {
        tx.finish();
        return Ok(Outcome { subscription: before, config_version: None });
    }
    if let By::Tenant { seen } = wish.by
        && seen != before.revision
    {
        return Err(SubscribeError::Changed);
    }
    let Preview { terms, figures, step, coupon } = plan;
    let mut change = match step {
        Step::Now => change_now(&before, terms.clone(), figures, at)?,
        Step::Nothing => unpriced(before.clone()),
        Step::Keep => unpriced(Subscription { scheduled: None, ..before.clone() }),
        Step::Later(at) => {
            let scheduled = Some(Scheduled { at, terms: terms.clone(), is_end: false });
            unpriced(Subscription { scheduled, ..before.clone() })
        }
    };
    if let Some(coupon) = coupon.clone() {
        change.after.used_coupons.push(coupon.code.clone());
        change.after.coupon = Some(coupon);
    }
    let (after, config_version) = write(&mut tx, &before, change.after).await?;
    change.after = after;
    if step == Step::Now {
        write_terms(&mut tx, settings, ChangeKind::Change, &before, &change, at).await?;
    }
    let detail = json!({
        "from": in_short(&before.terms), "to": in_short(&terms),
        "holds_from": match step { Step::Later(later) => later, Step::Now | Step::Keep | Step::Nothing => at },
        "credit_minor": change.credit_minor, "charge_minor": change.charge_minor,
        "coupon": coupon.map(|coupon| coupon.code),
    });
    match wish.by {
        By::Tenant { .. } => note(&mut tx, &doer, "subscription.change", &change.after, detail).await?,
        By::Platform => note_plan(&mut tx, &doer, &before, &change.after).await?,
    }
    announce(&mut tx, settings, &tenant, &before, &change.after).await?;
    tx.commit().await?;
    Ok(Outcome { subscription: change.after, config_version: Some(config_version) })
}

fn unpriced(after: Subscription) -> Change {
    Change { after, credit_minor: 0, charge_minor: 0 }
}

/// What the platform does with a tenant's plan is noted as that.
async fn note_plan(tx: &mut TenantTx, doer: &Doer, before: &Subscription, after: &Subscription) -> Result<(), DbError> {
    let event = AuditEvent {
        actor: doer.actor,
        action: "tenant.plan",
        target_kind: "tenant",
        target_id: Some(tx.tenant().to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: doer.source.clone(),
        detail: json!({ "from": before.terms.plan, "to": after.terms.plan }),
    };
    audit::insert(tx, &event).await
}
