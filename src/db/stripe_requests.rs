//! Requests to Stripe: `billing.stripe_requests`, committed before they are sent.

use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::ids::StripeRequestId;
use crate::domain::stripe::intent::Intent;

/// A request as stored.
#[derive(Debug, Clone)]
pub struct StripeRequestRow {
    /// Id; the object that it makes carries it as `metadata[intent_id]`.
    pub id: Uuid,
    /// What is to be done.
    pub operation: String,
    /// To which object.
    pub target: Option<String>,
    /// The parameters, as Stripe names them.
    pub params: Value,
    /// The fact of the business that it stands for.
    pub key: String,
    /// Number of the idempotency key.
    pub revision: i32,
    /// `waiting`, `done` or `refused`.
    pub state: String,
    /// Whether it has gone out under this revision, as far as anybody knows.
    pub was_sent: bool,
    /// Whether that is so long ago that Stripe may have forgotten the key.
    pub is_old: bool,
    /// When it was first sent, in seconds since 1970.
    pub first_sent_s: Option<i64>,
    /// What came of it.
    pub result: Option<Value>,
    /// Why Stripe refused.
    pub error_code: Option<String>,
    /// The same, for people.
    pub error_detail: Option<String>,
}

/// After so many hours a key may be forgotten: Stripe keeps one for at least 24.
const OLD_AFTER_H: i32 = 23;

/// Writes an intent down, unless that was done before; returns the row.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, intent: &Intent) -> Result<StripeRequestRow, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.stripe_requests (tenant_id, id, operation, target, params, key)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, key) DO NOTHING",
        tenant,
        clock::new_id::<StripeRequestId>().uuid(),
        intent.operation.as_str(),
        intent.target.as_deref(),
        intent.params,
        intent.key
    )
    .execute(tx.connection()?)
    .await?;
    find(tx, &intent.key).await?.ok_or(DbError::Corrupt("stripe request"))
}

/// The request of a key.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, key: &str) -> Result<Option<StripeRequestRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        StripeRequestRow,
        r#"SELECT id, operation, target, params, key, revision, state, first_sent_at IS NOT NULL AS "was_sent!",
                  coalesce(first_sent_at <= clock_timestamp() - make_interval(hours => $3), false) AS "is_old!",
                  floor(extract(epoch FROM first_sent_at))::bigint AS first_sent_s, result, error_code, error_detail
           FROM billing.stripe_requests WHERE tenant_id = $1 AND key = $2"#,
        tenant,
        key,
        OLD_AFTER_H
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Up to `n` requests that were sent over a minute ago and whose outcome nobody knows.
///
/// # Errors
/// [`DbError`].
pub async fn list_unsettled(tx: &mut TenantTx, n: i64) -> Result<Vec<StripeRequestRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        StripeRequestRow,
        r#"SELECT id, operation, target, params, key, revision, state, true AS "was_sent!",
                  coalesce(first_sent_at <= clock_timestamp() - make_interval(hours => $2), false) AS "is_old!",
                  floor(extract(epoch FROM first_sent_at))::bigint AS first_sent_s, result, error_code, error_detail
           FROM billing.stripe_requests
           WHERE tenant_id = $1 AND state = 'waiting' AND first_sent_at IS NOT NULL
             AND last_sent_at <= clock_timestamp() - interval '1 minute'
           ORDER BY last_sent_at LIMIT $3"#,
        tenant,
        OLD_AFTER_H,
        n
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Requests whose keys begin so and whose outcome nobody knows, the first sent first.
///
/// # Errors
/// [`DbError`].
pub async fn list_sent(tx: &mut TenantTx, prefix: &str) -> Result<Vec<StripeRequestRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        StripeRequestRow,
        r#"SELECT id, operation, target, params, key, revision, state, true AS "was_sent!",
                  coalesce(first_sent_at <= clock_timestamp() - make_interval(hours => $2), false) AS "is_old!",
                  floor(extract(epoch FROM first_sent_at))::bigint AS first_sent_s, result, error_code, error_detail
           FROM billing.stripe_requests
           WHERE tenant_id = $1 AND state = 'waiting' AND first_sent_at IS NOT NULL AND starts_with(key, $3)
           ORDER BY first_sent_at"#,
        tenant,
        OLD_AFTER_H,
        prefix
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Notes that it is about to be sent; false if it has been settled, or sent under another revision, meanwhile.
///
/// # Errors
/// [`DbError`].
pub async fn note_sending(tx: &mut TenantTx, row: &StripeRequestRow) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.stripe_requests
         SET first_sent_at = coalesce(first_sent_at, clock_timestamp()), last_sent_at = clock_timestamp(), n_attempts = n_attempts + 1
         WHERE tenant_id = $1 AND id = $2 AND revision = $3 AND state = 'waiting'",
        tenant,
        row.id,
        row.revision
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Begins a new idempotency key, because it is known that nothing was done under the present one; false if somebody else did.
///
/// # Errors
/// [`DbError`].
pub async fn renew_key(tx: &mut TenantTx, row: &StripeRequestRow) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.stripe_requests SET revision = revision + 1, first_sent_at = NULL, last_sent_at = NULL
         WHERE tenant_id = $1 AND id = $2 AND revision = $3 AND state = 'waiting'",
        tenant,
        row.id,
        row.revision
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Stores what came of it. Who comes second changes nothing: Stripe answered both alike.
///
/// # Errors
/// [`DbError`].
pub async fn settle_done(tx: &mut TenantTx, id: StripeRequestId, result: &Value) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_requests SET state = 'done', result = $3, settled_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND state = 'waiting'",
        tenant,
        id.uuid(),
        result
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Stores that Stripe refused for good, and why.
///
/// # Errors
/// [`DbError`].
pub async fn settle_refused(tx: &mut TenantTx, id: StripeRequestId, code: &str, detail: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_requests
         SET state = 'refused', error_code = left($3, 100), error_detail = left($4, 500), settled_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND state = 'waiting'",
        tenant,
        id.uuid(),
        code,
        detail
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
