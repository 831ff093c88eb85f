//! The inbox of Stripe's events: `billing.stripe_events`, all of them the platform's own tenant's.

use chrono::{DateTime, Utc};

use super::error::DbError;
use super::tx::TenantTx;

/// An event as it came.
#[derive(Debug, Clone)]
pub struct NewStripeEvent<'a> {
    /// Stripe's id.
    pub id: &'a str,
    /// What happened, such as `invoice.paid`.
    pub kind: &'a str,
    /// Kind of the object that it happened to.
    pub object_kind: Option<&'a str>,
    /// Its id.
    pub object_id: Option<&'a str>,
    /// When, as Stripe says.
    pub occurred_at: DateTime<Utc>,
    /// The bytes.
    pub raw: &'a [u8],
}

/// An object to which something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueObject {
    /// Its kind.
    pub kind: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// The events that say so, waiting and due.
    pub events: Vec<String>,
}

/// Takes an event in; false if it is here already.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, event: &NewStripeEvent<'_>) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let NewStripeEvent { id, kind, object_kind, object_id, occurred_at, raw } = event;
    let result = sqlx::query!(
        "INSERT INTO billing.stripe_events (tenant_id, id, kind, object_kind, object_id, occurred_at, raw)
         VALUES ($1, $2, left($3, 255), left($4, 255), $5, $6, $7) ON CONFLICT (tenant_id, id) DO NOTHING",
        tenant,
        *id,
        *kind,
        *object_kind,
        *object_id,
        *occurred_at,
        *raw
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Up to `n` objects with events that are due, the longest waiting first.
///
/// # Errors
/// [`DbError`].
pub async fn list_due(tx: &mut TenantTx, n: i64) -> Result<Vec<DueObject>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DueObject,
        r#"SELECT object_kind AS kind, object_id AS id, array_agg(id) AS "events!"
           FROM billing.stripe_events
           WHERE tenant_id = $1 AND status = 'waiting' AND next_attempt_at <= clock_timestamp()
           GROUP BY object_kind, object_id ORDER BY min(next_attempt_at) LIMIT $2"#,
        tenant,
        n
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Settles events: `status` is `done` or `ignored`.
///
/// # Errors
/// [`DbError`].
pub async fn settle(tx: &mut TenantTx, events: &[String], status: &'static str) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.stripe_events SET status = $3, last_error = NULL
         WHERE tenant_id = $1 AND id = ANY($2) AND status = 'waiting'",
        tenant,
        events,
        status
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// Puts events off after an attempt that failed: twice as long each time, an hour at most.
///
/// # Errors
/// [`DbError`].
pub async fn put_off(tx: &mut TenantTx, events: &[String], error: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_events
         SET n_attempts = n_attempts + 1, last_error = left($3, 500),
             next_attempt_at = clock_timestamp() + least(interval '1 hour', interval '1 second' * 2 ^ least(n_attempts, 12))
         WHERE tenant_id = $1 AND id = ANY($2) AND status = 'waiting'",
        tenant,
        events,
        error
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Deletes up to `n` settled events that came over 90 days ago, when nobody tells them any more; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn delete_old(tx: &mut TenantTx, n: i64) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM billing.stripe_events
         WHERE tenant_id = $1 AND id IN (
             SELECT id FROM billing.stripe_events
             WHERE tenant_id = $1 AND status <> 'waiting' AND received_at <= clock_timestamp() - interval '90 days'
             ORDER BY received_at LIMIT $2)",
        tenant,
        n
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// Up to when a list of Stripe's has been gone through.
///
/// # Errors
/// [`DbError`].
pub async fn find_cursor(tx: &mut TenantTx, name: &str) -> Result<Option<DateTime<Utc>>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "SELECT seen_until FROM billing.stripe_cursors WHERE tenant_id = $1 AND name = $2",
        tenant,
        name
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Moves a cursor on; it never goes back.
///
/// # Errors
/// [`DbError`].
pub async fn upsert_cursor(tx: &mut TenantTx, name: &str, seen_until: DateTime<Utc>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.stripe_cursors (tenant_id, name, seen_until) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, name) DO UPDATE SET seen_until = greatest(stripe_cursors.seen_until, excluded.seen_until)",
        tenant,
        name,
        seen_until
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
