//! A tenant's plan is changed, and its usage judged by the new one: a transaction, not an actor.

use std::sync::Arc;

use serde_json::json;

use super::limits::judge;
use super::news::{News, Terms};
use crate::actors::tenant::{TenantView, plan_of};
use crate::clock;
use crate::config::Settings;
use crate::db::{Db, DbError, TenantTx, audit, tenants, usage_counters};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};

/// Puts a tenant on another plan from now on; returns the version of its configuration then, `None` if it is on that plan already.
/// What the new plan says of the present period's usage is announced in the same transaction: thresholds that are passed under
/// it, workflows that pause, and those that go on. Other processes hear of it by the config log.
///
/// # Errors
/// [`DbError`].
pub async fn change_plan(
    db: &Db,
    settings: &Settings,
    view: &TenantView,
    to: &str,
    actor: AuditActor,
    source: AuditSource,
) -> Result<Option<i64>, DbError> {
    let plan = plan_of(settings, to);
    let mut tx = TenantTx::begin(db, view.tenant.id).await?;
    let Some(change) = tenants::set_plan(&mut tx, to).await? else { return Ok(None) };
    let facts = json!({ "from": change.from, "to": to });
    let event = AuditEvent {
        actor,
        action: "tenant.plan",
        target_kind: "tenant",
        target_id: Some(view.tenant.id.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: facts.clone(),
    };
    audit::insert(&mut tx, &event).await?;
    let mut news = News::new(Terms { plan: &plan, upgrade_url: &view.upgrade_url });
    news.add("plan.changed", facts);
    for (meter, status) in &usage_counters::lock_current(&mut tx, clock::now()).await? {
        if status.is_to_judge(plan.meters.get(meter).map(Arc::as_ref), status.used) {
            judge(&mut tx, &mut news, meter, status).await?;
        }
    }
    news.publish(&mut tx).await?;
    tx.commit().await?;
    Ok(Some(change.version))
}
