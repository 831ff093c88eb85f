//! What a tenant has used in a period, by meter: `billing.usage_counters`.
//!
//! Everybody locks in one order, so that no two transactions wait for each other: the tenant's row, its counters by meter and period,
//! its reservations, the head of its stream.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::{Judged, QuotaState, QuotaStatus, Quotas};

/// A counter that a transaction has changed; its row stays locked until the transaction's end.
#[derive(Debug, Clone)]
pub struct CounterChange {
    /// The meter.
    pub meter: MeterName,
    /// Its figure before.
    pub before: i64,
    /// The row as it is now.
    pub now: QuotaStatus,
}

/// A counter's row, as far as readers are concerned.
pub(super) struct CounterRow {
    pub(super) meter: String,
    pub(super) period_start: DateTime<Utc>,
    pub(super) period_end: DateTime<Utc>,
    pub(super) used: i64,
    pub(super) reserved: i64,
    pub(super) resumed_version: Option<String>,
    pub(super) judged_version: Option<String>,
    pub(super) judged_state: Option<String>,
    pub(super) revision: i64,
}

impl TryFrom<CounterRow> for (MeterName, QuotaStatus) {
    type Error = DbError;

    fn try_from(row: CounterRow) -> Result<Self, DbError> {
        let CounterRow {
            meter,
            period_start,
            period_end,
            used,
            reserved,
            resumed_version,
            judged_version,
            judged_state,
            revision,
        } = row;
        let meter = MeterName::parse(&meter)
            .map_err(|_name: crate::domain::meter::MeterNameError| DbError::Corrupt("usage_counters.meter"))?;
        let judged = match (judged_version, judged_state) {
            (Some(version), Some(state)) => Some(Judged {
                version: version.into(),
                state: QuotaState::parse(&state).ok_or(DbError::Corrupt("usage_counters.judged_state"))?,
            }),
            _ => None,
        };
        let period = Period { start: period_start, end: period_end };
        let resumed_version = resumed_version.map(Arc::from);
        Ok((meter, QuotaStatus { period, used, reserved, resumed_version, judged, revision }))
    }
}

/// The counters of the period that `at` lies in.
///
/// # Errors
/// [`DbError`].
pub async fn list_current(tx: &mut TenantTx, at: DateTime<Utc>) -> Result<Quotas, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        CounterRow,
        "SELECT meter, period_start, period_end, used, reserved, resumed_version, judged_version, judged_state, revision
         FROM billing.usage_counters WHERE tenant_id = $1 AND period_start <= $2 AND period_end > $2",
        tenant,
        at
    )
    .fetch_all(tx.connection()?)
    .await?
    .into_iter()
    .map(TryFrom::try_from)
    .collect()
}

/// Locks the counters of the period that `at` lies in, and returns them as they are then.
///
/// # Errors
/// [`DbError`].
pub async fn lock_current(tx: &mut TenantTx, at: DateTime<Utc>) -> Result<Quotas, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        CounterRow,
        "SELECT meter, period_start, period_end, used, reserved, resumed_version, judged_version, judged_state, revision
         FROM billing.usage_counters WHERE tenant_id = $1 AND period_start <= $2 AND period_end > $2
         ORDER BY meter, period_start FOR NO KEY UPDATE",
        tenant,
        at
    )
    .fetch_all(tx.connection()?)
    .await?
    .into_iter()
    .map(TryFrom::try_from)
    .collect()
}

/// Locks one counter, which is made at zero if nothing was counted yet, and returns it as it is then.
///
/// # Errors
/// [`DbError`].
pub async fn lock(tx: &mut TenantTx, meter: &MeterName, period: Period) -> Result<QuotaStatus, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.usage_counters (tenant_id, meter, period_start, period_end) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, meter, period_start) DO NOTHING",
        tenant,
        meter.as_str(),
        period.start,
        period.end
    )
    .execute(tx.connection()?)
    .await?;
    let row = sqlx::query_as!(
        CounterRow,
        "SELECT meter, period_start, period_end, used, reserved, resumed_version, judged_version, judged_state, revision
         FROM billing.usage_counters WHERE tenant_id = $1 AND meter = $2 AND period_start = $3 FOR NO KEY UPDATE",
        tenant,
        meter.as_str(),
        period.start
    )
    .fetch_one(tx.connection()?)
    .await?;
    let (_, status) = row.try_into()?;
    Ok(status)
}

/// Notes what is said of a counter from now on; `None` = nothing. Every node hears of another state.
///
/// # Errors
/// [`DbError`].
pub async fn set_judged(
    tx: &mut TenantTx,
    meter: &MeterName,
    period: Period,
    judged: Option<&Judged>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.usage_counters SET judged_version = $4, judged_state = $5
         WHERE tenant_id = $1 AND meter = $2 AND period_start = $3",
        tenant,
        meter.as_str(),
        period.start,
        judged.map(|judged| &*judged.version),
        judged.map(|judged| judged.state.as_str())
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Has counters judged anew by whoever counts next, whatever that one knows them to be judged by. What was last said of them stays.
///
/// # Errors
/// [`DbError`].
pub async fn distrust(tx: &mut TenantTx, meters: &[String], period: Period) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.usage_counters SET judged_version = '', judged_state = coalesce(judged_state, 'ok')
         WHERE tenant_id = $1 AND meter = ANY ($2) AND period_start = $3",
        tenant,
        meters,
        period.start
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Lifts the pause that a version of the limits brought, and notes what is said of the counter then. Every node hears of it.
///
/// # Errors
/// [`DbError`].
pub async fn set_resumed(tx: &mut TenantTx, meter: &MeterName, period: Period, judged: &Judged) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.usage_counters
         SET resumed_version = $4, judged_version = $4, judged_state = $5, revision = revision + 1, updated_at = now()
         WHERE tenant_id = $1 AND meter = $2 AND period_start = $3",
        tenant,
        meter.as_str(),
        period.start,
        &*judged.version,
        judged.state.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
