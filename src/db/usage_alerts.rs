//! Thresholds that were announced: `billing.usage_alerts`.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::meter::MeterName;
use crate::domain::period::Period;

/// Thresholds of one meter that its usage has reached.
#[derive(Debug)]
pub struct ReachedThresholds<'a> {
    /// The meter.
    pub meter: &'a MeterName,
    /// When.
    pub period: Period,
    /// Percentages of the limit.
    pub thresholds: &'a [u16],
    /// Version of the limits.
    pub version: &'a str,
    /// The figure that reached them.
    pub used: i64,
}

/// Notes them; returns those that nobody has noted before, ascending. Whoever gets one announces it.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, reached: &ReachedThresholds<'_>) -> Result<Vec<u16>, DbError> {
    let tenant = tx.tenant().uuid();
    let ReachedThresholds { meter, period, thresholds, version, used } = *reached;
    let thresholds: Vec<i16> = thresholds.iter().filter_map(|threshold| i16::try_from(*threshold).ok()).collect();
    let mut inserted: Vec<u16> = sqlx::query_scalar!(
        "INSERT INTO billing.usage_alerts (tenant_id, meter, period_start, threshold, limit_version, used)
         SELECT $1, $2, $3, threshold, $5, $6 FROM unnest($4::smallint[]) AS threshold
         ON CONFLICT DO NOTHING RETURNING threshold",
        tenant,
        meter.as_str(),
        period.start,
        &thresholds,
        version,
        used
    )
    .fetch_all(tx.connection()?)
    .await?
    .into_iter()
    .filter_map(|threshold| u16::try_from(threshold).ok())
    .collect();
    inserted.sort_unstable();
    Ok(inserted)
}
