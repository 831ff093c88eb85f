//! Reading what was used.

use chrono::NaiveDate;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::period::Period;

/// A period's figure of one meter.
#[derive(Debug, Clone)]
pub struct UsedRow {
    /// The meter.
    pub meter: String,
    /// Used.
    pub used: i64,
    /// Set aside for calls under way.
    pub reserved: i64,
    /// What came in after the period was closed.
    pub late: i64,
    /// The version of the limits for which an admin lifted the pause.
    pub resumed_version: Option<String>,
}

/// A day's figure of one meter.
#[derive(Debug, Clone)]
pub struct DayRow {
    /// The meter.
    pub meter: String,
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The hours' quantities, added.
    pub total: i64,
    /// The largest of them.
    pub largest: i64,
    /// The last of them.
    pub last: i64,
}

/// What the tenant used in a period, by meter.
///
/// # Errors
/// [`DbError`].
pub async fn list_used(tx: &mut TenantTx, period: Period) -> Result<Vec<UsedRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        UsedRow,
        "SELECT meter, used, reserved, late, resumed_version FROM billing.usage_counters
         WHERE tenant_id = $1 AND period_start = $2",
        tenant,
        period.start,
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// What the tenant used on each day of a period on which it used anything, by meter and day.
///
/// # Errors
/// [`DbError`].
pub async fn list_days(tx: &mut TenantTx, period: Period) -> Result<Vec<DayRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DayRow,
        r#"SELECT meter, (hour AT TIME ZONE 'UTC')::date AS "day!", sum(quantity)::bigint AS "total!",
                  max(quantity) AS "largest!", (array_agg(quantity ORDER BY hour DESC))[1] AS "last!"
           FROM billing.usage_hours WHERE tenant_id = $1 AND hour >= $2 AND hour < $3
           GROUP BY meter, (hour AT TIME ZONE 'UTC')::date
           ORDER BY meter, (hour AT TIME ZONE 'UTC')::date"#,
        tenant,
        period.start,
        period.end,
    )
    .fetch_all(tx.connection()?)
    .await?)
}
