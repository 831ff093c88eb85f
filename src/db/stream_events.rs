//! What admins' usage streams show, numbered for each tenant in the order of commits.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::error::DbError;
use super::tx::TenantTx;

/// Adds an event to the tenant's stream, as a part of the transaction; returns its number. Holds the tenant's head until the
/// commit, so that numbers are committed in their order: do it last.
///
/// # Errors
/// [`DbError`].
pub async fn append(tx: &mut TenantTx, kind: &str, payload: &Value) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        r#"WITH head AS (
               INSERT INTO billing.stream_heads AS heads (tenant_id, last_id) VALUES ($1, 1)
               ON CONFLICT (tenant_id) DO UPDATE SET last_id = heads.last_id + 1
               RETURNING last_id
           )
           INSERT INTO billing.stream_events (tenant_id, id, kind, payload)
           SELECT $1, last_id, $2, $3 FROM head
           RETURNING id"#,
        tenant,
        kind,
        payload,
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok(id)
}

/// Deletes up to `n` of the tenant's oldest events, none that was made after `before`; returns how many. What is left has no
/// holes, so that a reader can tell by the first number whether something is missing.
///
/// # Errors
/// [`DbError`].
pub async fn forget_old(tx: &mut TenantTx, before: DateTime<Utc>, n: i64) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM billing.stream_events WHERE tenant_id = $1 AND id IN (
             SELECT id FROM billing.stream_events
             WHERE tenant_id = $1 AND id < coalesce(
                 (SELECT id FROM billing.stream_events WHERE tenant_id = $1 AND created_at >= $2 ORDER BY id LIMIT 1),
                 9223372036854775807)
             ORDER BY id LIMIT $3)",
        tenant,
        before,
        n
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}
