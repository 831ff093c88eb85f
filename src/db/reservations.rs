//! Usage that is set aside for calls under way: `billing.quota_reservations`, and its sums in `billing.usage_counters`.
//!
//! A counter's row is locked before its reservations, by everybody.

use std::time::Duration;

use uuid::Uuid;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use super::usage_counters::CounterRow;
use crate::domain::ids::{ReservationId, TenantId};
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::QuotaStatus;

/// Usage to be set aside.
#[derive(Debug)]
pub struct NewReservation<'a> {
    /// Its id.
    pub id: ReservationId,
    /// The meter.
    pub meter: &'a MeterName,
    /// The period that it counts in.
    pub period: Period,
    /// How much, 0 and up.
    pub quantity: i64,
    /// What used and set aside must not pass together.
    pub hard: i64,
    /// How long it is kept.
    pub ttl: Duration,
}

/// Sets usage aside, if it fits under the hard limit; `None` if it does not. One statement, so that of any number at once no more
/// than fit come through.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewReservation<'_>) -> Result<Option<QuotaStatus>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        CounterRow,
        r#"WITH counter AS (
               INSERT INTO billing.usage_counters AS counters (tenant_id, meter, period_start, period_end, reserved)
               SELECT $1, $2, $3, $4, $6::bigint WHERE $6::bigint <= $7::bigint
               ON CONFLICT (tenant_id, meter, period_start) DO UPDATE
               SET reserved = counters.reserved + $6::bigint, revision = counters.revision + 1, updated_at = now()
               WHERE $6::bigint <= $7::bigint - counters.used - counters.reserved
               RETURNING meter, period_start, period_end, used, reserved, resumed_version, judged_version, judged_state,
                         revision
           ), reservation AS (
               INSERT INTO billing.quota_reservations (tenant_id, id, meter, period_start, quantity, expires_at)
               SELECT $1, $5, meter, period_start, $6::bigint, clock_timestamp() + make_interval(secs => $8) FROM counter
           )
           SELECT meter AS "meter!", period_start AS "period_start!", period_end AS "period_end!", used AS "used!",
                  reserved AS "reserved!", resumed_version, judged_version, judged_state, revision AS "revision!"
           FROM counter"#,
        tenant,
        new.meter.as_str(),
        new.period.start,
        new.period.end,
        new.id.uuid(),
        new.quantity,
        new.hard,
        new.ttl.as_secs_f64()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (_, status) = row.try_into()?;
    Ok(Some(status))
}

/// Gives back what was set aside. Each reservation is given back once: one that was given back before, or whose time was over,
/// changes nothing. In a transaction that counts, call it after the counting: it locks counters.
///
/// # Errors
/// [`DbError`].
pub async fn give_back(tx: &mut TenantTx, ids: &[ReservationId]) -> Result<(), DbError> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    lock_counters(tx, &ids).await?;
    delete(tx, &ids).await?;
    Ok(())
}

/// Gives back up to `n` reservations whose time is over; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn give_back_expired(tx: &mut TenantTx, n: i64) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "SELECT id FROM billing.quota_reservations WHERE tenant_id = $1 AND expires_at <= clock_timestamp()
         ORDER BY expires_at LIMIT $2",
        tenant,
        n
    )
    .fetch_all(tx.connection()?)
    .await?;
    lock_counters(tx, &ids).await?;
    delete(tx, &ids).await
}

async fn lock_counters(tx: &mut TenantTx, ids: &[Uuid]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "SELECT meter FROM billing.usage_counters
         WHERE tenant_id = $1 AND (meter, period_start) IN (
             SELECT meter, period_start FROM billing.quota_reservations WHERE tenant_id = $1 AND id = ANY ($2))
         ORDER BY meter, period_start FOR NO KEY UPDATE",
        tenant,
        ids
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(())
}

async fn delete(tx: &mut TenantTx, ids: &[Uuid]) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let n = sqlx::query_scalar!(
        r#"WITH gone AS (
               DELETE FROM billing.quota_reservations WHERE tenant_id = $1 AND id = ANY ($2)
               RETURNING meter, period_start, quantity
           ), sums AS (
               SELECT meter, period_start, sum(quantity)::bigint AS quantity FROM gone GROUP BY meter, period_start
           ), counters AS (
               UPDATE billing.usage_counters c
               SET reserved = c.reserved - sums.quantity, revision = c.revision + 1, updated_at = now()
               FROM sums
               WHERE c.tenant_id = $1 AND c.meter = sums.meter AND c.period_start = sums.period_start
           )
           SELECT count(*) AS "n!" FROM gone"#,
        tenant,
        ids
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok(u64::try_from(n).unwrap_or(0))
}

/// Up to `n` tenants with reservations whose time is over, the longest past first.
///
/// # Errors
/// [`DbError`].
pub async fn list_tenants_with_expired(tx: &SystemTx<'_>, n: i64) -> Result<Vec<TenantId>, DbError> {
    let rows = sqlx::query_scalar!(
        r#"SELECT tenant_id AS "tenant_id!" FROM billing.list_tenants_with_expired_reservations($1)"#,
        n
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}
