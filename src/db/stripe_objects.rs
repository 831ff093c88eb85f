//! Stripe's objects as they were when they were last fetched: `billing.stripe_objects`.

use serde_json::Value;

use super::error::DbError;
use super::tx::TenantTx;

/// An object that is known.
#[derive(Debug, Clone)]
pub struct StripeObjectRow {
    /// What it was like.
    pub data: Value,
    /// Grows with each change.
    pub revision: i64,
}

/// An object, if it is known.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: &str) -> Result<Option<StripeObjectRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        StripeObjectRow,
        "SELECT data, revision FROM billing.stripe_objects WHERE tenant_id = $1 AND id = $2",
        tenant,
        id
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Serialises those who write one object, until the transaction ends.
///
/// # Errors
/// [`DbError`].
pub async fn lock(tx: &mut TenantTx, id: &str) -> Result<(), DbError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('stripe object ' || $1, 0))", id)
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// Writes what was fetched, if the object is still as it was `before` the fetch (none = unknown); false if it is not.
///
/// # Errors
/// [`DbError`].
pub async fn replace(
    tx: &mut TenantTx,
    id: &str,
    kind: &str,
    data: &Value,
    before: Option<i64>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = match before {
        None => {
            sqlx::query!(
                "INSERT INTO billing.stripe_objects (tenant_id, id, kind, data) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (tenant_id, id) DO NOTHING",
                tenant,
                id,
                kind,
                data
            )
            .execute(tx.connection()?)
            .await?
        }
        Some(before) => {
            sqlx::query!(
                "UPDATE billing.stripe_objects SET data = $3, revision = revision + 1, fetched_at = clock_timestamp()
                 WHERE tenant_id = $1 AND id = $2 AND revision = $4",
                tenant,
                id,
                data,
                before
            )
            .execute(tx.connection()?)
            .await?
        }
    };
    Ok(result.rows_affected() == 1)
}
