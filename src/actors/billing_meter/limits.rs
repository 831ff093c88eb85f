//! What is made of counted usage, in the transaction that counts it: thresholds are announced, workflows paused and resumed.
//!
//! The counter's locked row says what was last announced of it, and under which version of the limits. So each change is announced
//! once, by whichever process sees it first, and also when it comes of another plan or of new figures for the same plan: those
//! hold from the process's start, and are announced with the next event that the meter counts.
//! A pause that ends with its month ends without an announcement: the new month's row is not there yet, and `workflow.paused` has
//! said until when.

use std::sync::Arc;

use super::news::{News, Terms};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::usage_alerts::{self, ReachedThresholds};
use crate::db::usage_counters::{self, CounterChange};
use crate::db::{DbError, TenantTx, tenants};
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::{Judged, QuotaStatus};

/// Announces what `changes` of the present period mean under the tenant's plan, each once. The counters' rows are locked by the
/// caller. Takes the head of the tenant's stream, so nothing of the tenant may be locked after it. When there is nothing to
/// announce, it asks the database nothing.
///
/// # Errors
/// [`DbError`]; then nothing of the transaction may be committed.
pub async fn announce(tx: &mut TenantTx, view: &TenantView, changes: &[CounterChange]) -> Result<(), DbError> {
    let present = Period::containing(clock::now());
    let to_judge: Vec<&CounterChange> = changes
        .iter()
        .filter(|change| change.now.period == present)
        .filter(|change| change.now.is_to_judge(view.plan.meters.get(&change.meter).map(Arc::as_ref), change.before))
        .collect();
    if to_judge.is_empty() {
        return Ok(());
    }
    if tenants::find_plan(tx).await?.as_deref() != Some(&view.plan.name) {
        // Another process has just changed the plan. This view may not speak for the new one; the next event's will.
        let meters: Vec<_> = to_judge.iter().map(|change| change.meter.to_string()).collect();
        return usage_counters::distrust(tx, &meters, present).await;
    }
    let mut news = News::new(Terms::of(view));
    for change in to_judge {
        judge(tx, &mut news, &change.meter, &change.now).await?;
    }
    news.publish(tx).await
}

/// Says what is new about one meter: thresholds that nobody has announced under these limits, and whether calls are refused for it
/// from now on, or no longer.
pub(super) async fn judge(
    tx: &mut TenantTx,
    news: &mut News<'_>,
    meter: &MeterName,
    status: &QuotaStatus,
) -> Result<(), DbError> {
    let limits = news.terms.plan.meters.get(meter);
    let (before, after) = (status.announced_state(), status.state(limits.map(Arc::as_ref)));
    let judged = limits.map(|limits| Judged { version: Arc::clone(&limits.version), state: after });
    usage_counters::set_judged(tx, meter, status.period, judged.as_ref()).await?;
    if let Some(limits) = limits {
        let reached = ReachedThresholds {
            meter,
            period: status.period,
            thresholds: &limits.reached(status.used),
            version: &limits.version,
            used: status.used,
        };
        let unannounced = usage_alerts::insert(tx, &reached).await?;
        news.add_thresholds(tx, meter, status, &unannounced).await?;
    }
    match (before.is_shut(), after.is_shut()) {
        (false, true) => news.add_pause(tx, meter, status).await,
        (true, false) => news.add_resumption(tx, meter, status).await,
        (true, true) | (false, false) => Ok(()),
    }
}
