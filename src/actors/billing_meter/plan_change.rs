//! A tenant has another plan, and its usage is judged by it: a part of the transaction that changes the plan.

use std::sync::Arc;

use serde_json::Value;

use super::limits::judge;
use super::news::{News, Terms};
use crate::clock;
use crate::db::{DbError, TenantTx, usage_counters};
use crate::domain::plan::Plan;

/// Announces `plan.changed` with these facts, and what the new plan says of the present period's usage: thresholds that are passed
/// under it, workflows that pause, and those that go on. Locks the tenant's counters and then the head of its stream: the last that a
/// transaction does before its commit.
///
/// # Errors
/// [`DbError`].
pub(in crate::actors) async fn announce_plan(
    tx: &mut TenantTx,
    plan: &Plan,
    upgrade_url: &str,
    facts: Value,
) -> Result<(), DbError> {
    let mut news = News::new(Terms { plan, upgrade_url });
    news.add("plan.changed", facts);
    for (meter, status) in &usage_counters::lock_current(tx, clock::now()).await? {
        if status.is_to_judge(plan.meters.get(meter).map(Arc::as_ref), status.used) {
            judge(tx, &mut news, meter, status).await?;
        }
    }
    news.publish(tx).await
}
