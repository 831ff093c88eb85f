//! How a change of a subscription is written down.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::actors::billing_meter::plan_change::announce_plan;
use crate::actors::tenant::{held_subscription, plan_of, upgrade_url};
use crate::clock;
use crate::config::Settings;
use crate::db::pending_items::{self, NewPendingItem, PendingKind};
use crate::db::subscriptions::{self, ChangeKind};
use crate::db::tenants::{self, LockedTenant};
use crate::db::{DbError, TenantTx, audit};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::period::Period;
use crate::domain::subscription::{Subscription, Terms};
use crate::domain::subscription_change::Change;

/// Who does it.
#[derive(Debug, Clone)]
pub(super) struct Doer {
    pub(super) actor: AuditActor,
    pub(super) source: AuditSource,
}

/// A tenant and its subscription, locked until the transaction's end.
pub(super) struct Locked {
    pub(super) tenant: LockedTenant,
    pub(super) subscription: Subscription,
}

/// Locks both. A tenant without a subscription has the one that follows from its plan.
pub(super) async fn lock(tx: &mut TenantTx, settings: &Settings) -> Result<Locked, DbError> {
    let tenant = tenants::lock_plan(tx).await?;
    let stored = subscriptions::lock(tx).await?;
    let subscription = held_subscription(settings, stored, &tenant.plan, tenant.created_at);
    Ok(Locked { tenant, subscription })
}

/// The moment of a change that is wanted at `at`: not before the last one. That may have waited less for the lock, or be dated by
/// another node's clock; what was agreed last is what holds.
pub(super) async fn after_last_change(tx: &mut TenantTx, at: DateTime<Utc>) -> Result<DateTime<Utc>, DbError> {
    Ok(subscriptions::find_last_change(tx).await?.map_or(at, |last| at.max(last)))
}

/// Writes a subscription as the successor of `before`; returns it, and the version of the tenant's configuration then.
pub(super) async fn write(
    tx: &mut TenantTx,
    before: &Subscription,
    after: Subscription,
) -> Result<(Subscription, i64), DbError> {
    let id = if after.id.is_nil() { clock::new_id() } else { after.id };
    let after = Subscription { id, revision: before.revision + 1, ..after };
    subscriptions::upsert(tx, &after).await?;
    let config_version = tenants::set_plan(tx, &after.terms.plan).await?;
    Ok((after, config_version))
}

/// Notes since when its terms hold, and what is owed for the rest of the period.
pub(super) async fn write_terms(
    tx: &mut TenantTx,
    settings: &Settings,
    kind: ChangeKind,
    before: &Subscription,
    change: &Change,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    subscriptions::insert_change(tx, kind, &change.after, at).await?;
    for item in owed(settings, before, change, at) {
        pending_items::insert(tx, &item).await?;
    }
    Ok(())
}

/// What a change is owed for: what is given back of the old price, and what is due of the new one. Named after the revision, of which
/// there is one only: written twice, they are the same items.
pub(super) fn owed(
    settings: &Settings,
    before: &Subscription,
    change: &Change,
    at: DateTime<Utc>,
) -> Vec<NewPendingItem> {
    let Change { after, credit_minor, charge_minor } = change;
    let period = Period { start: at, end: Period::containing(at).end };
    let last_day = (period.end - TimeDelta::nanoseconds(1)).date_naive();
    let days = format!("{} to {last_day}", at.date_naive());
    let item = |kind: PendingKind, of: &Subscription, amount_minor, what| NewPendingItem {
        key: format!("change:{}:{}", after.revision, kind.as_str()),
        kind,
        description: format!("{}: {what}, {days}", titles(settings, &of.terms)),
        amount_minor,
        currency: of.figures.currency.clone(),
        period,
    };
    let credit = item(PendingKind::ProrationCredit, before, -credit_minor, "unused time");
    let charge = item(PendingKind::ProrationCharge, after, *charge_minor, "rest of the month");
    [credit, charge].into_iter().filter(|item| item.amount_minor != 0).collect()
}

/// Announces another plan to the tenant's streams, and judges its usage by it; nothing if it is the same version of the same plan.
/// The last before the commit.
pub(super) async fn announce(
    tx: &mut TenantTx,
    settings: &Settings,
    tenant: &LockedTenant,
    before: &Subscription,
    after: &Subscription,
) -> Result<(), DbError> {
    let (old, new) = (&before.terms, &after.terms);
    if (&old.plan, old.version) == (&new.plan, new.version) {
        return Ok(());
    }
    let facts = if old.plan == new.plan {
        json!({ "from": old.plan, "to": new.plan, "version": new.version })
    } else {
        json!({ "from": old.plan, "to": new.plan })
    };
    announce_plan(tx, &plan_of(settings, after), &upgrade_url(settings, &tenant.slug), facts).await
}

/// Notes in the audit trail what was done.
pub(super) async fn note(
    tx: &mut TenantTx,
    doer: &Doer,
    action: &'static str,
    subscription: &Subscription,
    detail: Value,
) -> Result<(), DbError> {
    let event = AuditEvent {
        actor: doer.actor,
        action,
        target_kind: "subscription",
        target_id: Some(subscription.id.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: doer.source.clone(),
        detail,
    };
    audit::insert(tx, &event).await
}

/// Terms as the audit trail has them.
pub(super) fn in_short(terms: &Terms) -> Value {
    json!({ "plan": terms.plan, "version": terms.version, "price_minor": terms.price_minor, "add_ons": terms.add_ons })
}

/// What invoices call these terms, such as `Basic with CRM`.
pub(super) fn titles(settings: &Settings, terms: &Terms) -> String {
    let plan = settings.plans.get(&terms.plan).and_then(|plan| plan.title.as_deref()).unwrap_or(&terms.plan);
    let title = |name: &str| settings.modules.get(name).map_or_else(|| name.to_owned(), |module| module.title.clone());
    let add_ons: Vec<_> = terms.add_ons.iter().map(|add_on| title(&add_on.name)).collect();
    let all = if add_ons.is_empty() { plan.to_owned() } else { format!("{plan} with {}", add_ons.join(", ")) };
    // The description of an item is 500 characters at most.
    all.chars().take(400).collect()
}
