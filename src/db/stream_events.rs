//! What admins' usage streams show, numbered for each tenant in the order of commits.

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
