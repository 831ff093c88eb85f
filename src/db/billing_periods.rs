//! Closed periods, what of their usage was billed, and what was taken off: `billing.billing_periods`, `billing.period_usage`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::closing::Used;
use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::price::UnitPrice;
use crate::domain::rating::MeterPrice;

/// Closes a period, with what held at its end. `false` if it is closed already; another close of it waits for this one's end.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, period: Period, plan: &str, plan_version: u32) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "INSERT INTO billing.billing_periods (tenant_id, period_start, period_end, plan, plan_version)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, period_start) DO NOTHING",
        tenant,
        period.start,
        period.end,
        plan,
        i32::try_from(plan_version).unwrap_or(i32::MAX)
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// What was used in a period and was not billed, and what was used in closed ones since they were. The counters stay locked until the transaction's
/// end, so that nothing is counted between the look and the bill.
///
/// # Errors
/// [`DbError`].
pub async fn lock_unbilled(tx: &mut TenantTx, period: Period) -> Result<Vec<Used>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"SELECT c.meter, c.period_start, c.period_end, c.used + c.late AS "quantity!", u.billed AS "billed?",
                  u.included AS "included?", u.unit_price
           FROM billing.usage_counters c
           LEFT JOIN billing.period_usage u
           ON u.tenant_id = c.tenant_id AND u.period_start = c.period_start AND u.meter = c.meter
           WHERE c.tenant_id = $1 AND c.used + c.late > coalesce(u.billed, 0)
             AND (c.period_start = $2 OR EXISTS (SELECT FROM billing.billing_periods p
                                                 WHERE p.tenant_id = $1 AND p.period_start = c.period_start))
           ORDER BY c.meter, c.period_start FOR NO KEY UPDATE OF c"#,
        tenant,
        period.start
    )
    .fetch_all(tx.connection()?)
    .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let meter = MeterName::parse(&row.meter)
            .map_err(|_name: crate::domain::meter::MeterNameError| DbError::Corrupt("usage_counters.meter"))?;
        let overage = match row.unit_price.as_deref().map(UnitPrice::parse).transpose() {
            Ok(overage) => overage,
            Err(_price) => return Err(DbError::Corrupt("period_usage.unit_price")),
        };
        let price = row.included.map(|included| MeterPrice { included, overage });
        let period = Period { start: row.period_start, end: row.period_end };
        found.push(Used { meter, period, quantity: row.quantity, billed: row.billed.zip(price) });
    }
    Ok(found)
}

/// Writes down that usage is billed now, all of it. Its period is closed.
///
/// # Errors
/// [`DbError`].
pub async fn set_billed(tx: &mut TenantTx, used: &Used, price: MeterPrice) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.period_usage (tenant_id, period_start, meter, billed, included, unit_price)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, period_start, meter) DO UPDATE SET billed = $4",
        tenant,
        used.period.start,
        used.meter.as_str(),
        used.quantity,
        price.included,
        price.overage.map(|price| price.to_string())
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// A tenant whose periods are not all closed.
#[derive(Debug, Clone, Copy)]
pub struct ToClose {
    /// The tenant.
    pub tenant: TenantId,
    /// When it was onboarded.
    pub created_at: DateTime<Utc>,
    /// The end of its last closed period.
    pub closed_until: Option<DateTime<Utc>>,
}

/// Up to `n` tenants behind `after` that were there before `until` and whose periods are not closed up to it.
///
/// # Errors
/// [`DbError`].
pub async fn list_to_close(
    tx: &SystemTx<'_>,
    until: DateTime<Utc>,
    after: Option<TenantId>,
    n: i64,
) -> Result<Vec<ToClose>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT tenant_id AS "tenant_id!", created_at AS "created_at!", closed_until
           FROM billing.list_tenants_to_close($1, $2, $3)"#,
        until,
        after.map_or(Uuid::nil(), TenantId::uuid),
        n
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ToClose { tenant: row.tenant_id.into(), created_at: row.created_at, closed_until: row.closed_until })
        .collect())
}

/// Up to where the tenant's periods are closed.
///
/// # Errors
/// [`DbError`].
pub async fn find_closed_until(tx: &mut TenantTx) -> Result<Option<DateTime<Utc>>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!("SELECT max(period_end) FROM billing.billing_periods WHERE tenant_id = $1", tenant)
        .fetch_one(tx.connection()?)
        .await?)
}

/// What invoices have taken off for a period so far: those of its checkouts, and the one that had its prices ahead. That one may also
/// have taken something off the prorations of its own period, which does not count; so it counts with no more than its other lines come to.
/// In the currency's smallest unit.
///
/// # Errors
/// [`DbError`].
pub async fn sum_discounts_of(tx: &mut TenantTx, period: Period) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(sum(CASE i.kind WHEN 'interim' THEN i.discount_minor ELSE least(i.discount_minor, greatest(0, (
                      SELECT coalesce(sum(l.amount_minor), 0) FROM billing.invoice_lines l
                      WHERE l.tenant_id = $1 AND l.invoice_id = i.id
                      AND NOT (l.kind = 'proration' AND l.period_start >= i.period_start AND l.period_start < i.period_end))))
                  END), 0)::bigint AS "sum!"
           FROM billing.invoices i
           WHERE i.tenant_id = $1 AND ((i.kind = 'interim' AND i.period_start >= $2 AND i.period_start < $3)
                                       OR (i.kind = 'cycle' AND i.period_end = $2))"#,
        tenant,
        period.start,
        period.end
    )
    .fetch_one(tx.connection()?)
    .await?)
}
