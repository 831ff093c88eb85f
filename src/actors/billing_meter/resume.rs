//! An admin lifts a pause: a transaction, not an actor.

use std::sync::Arc;

use super::news::{News, Terms, about};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::{Db, DbError, TenantTx, audit, tenants, usage_counters};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::{Judged, QuotaState, QuotaStatus};

/// A pause was not lifted.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// There is none; a hard limit is not lifted so.
    #[error("the meter is not paused but {}", state.as_str())]
    NotPaused {
        /// The meter's state.
        state: QuotaState,
    },
    /// The plan was changed this moment, and with it what the pause is measured by.
    #[error("the plan was changed meanwhile")]
    PlanChanged,
    /// The database did not do it.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Lifts the pause of a meter until the present period ends or its limits change; returns how it stands then.
///
/// # Errors
/// [`ResumeError`].
pub async fn resume(
    db: &Db,
    view: &TenantView,
    meter: &MeterName,
    actor: AuditActor,
    source: AuditSource,
) -> Result<QuotaStatus, ResumeError> {
    let not_paused = |state| ResumeError::NotPaused { state };
    let limits = view.plan.meters.get(meter).ok_or_else(|| not_paused(QuotaState::Ok))?;
    let mut tx = TenantTx::begin(db, view.tenant.id).await?;
    let mut status = usage_counters::lock(&mut tx, meter, Period::containing(clock::now())).await?;
    // Asked under the counter's lock: a change of plan commits before it is given, or waits for it.
    if tenants::find_plan(&mut tx).await?.as_deref() != Some(&view.plan.name) {
        return Err(ResumeError::PlanChanged);
    }
    let state = status.state(Some(limits));
    if state != QuotaState::Paused {
        return Err(not_paused(state));
    }
    status.resumed_version = Some(Arc::clone(&limits.version));
    let judged = Judged { version: Arc::clone(&limits.version), state: status.state(Some(limits)) };
    usage_counters::set_resumed(&mut tx, meter, status.period, &judged).await?;
    status.judged = Some(judged);
    status.revision += 1;
    let mut news = News::new(Terms::of(view));
    let facts = news.add_resumed(meter, &status);
    audit::insert(&mut tx, &about(actor, "usage.resume", meter, source, facts)).await?;
    news.publish(&mut tx).await?;
    tx.commit().await?;
    Ok(status)
}
