//! The mailer's and the operators' side of `platform.mail_outbox`: claiming, settling, looking.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::ids::{MailId, TenantId};

/// A mail that this process may send now.
#[derive(Debug, Clone)]
pub struct ClaimedMail {
    /// Id.
    pub id: Uuid,
    /// What it is about.
    pub kind: String,
    /// Address.
    pub recipient: String,
    /// What the template says besides the tenant's name.
    pub detail: Value,
    /// The row that the link's token stands for.
    pub row_id: Option<Uuid>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Attempts, with this one. Only who made the latest attempt settles the mail.
    pub n_attempts: i32,
}

/// Tenants with mail that is due, the longest waiting first.
///
/// # Errors
/// [`DbError`].
pub async fn list_due_tenants(tx: &SystemTx<'_>, n: i64) -> Result<Vec<TenantId>, DbError> {
    let rows =
        sqlx::query_scalar!(r#"SELECT tenant_id AS "tenant_id!" FROM platform.list_tenants_with_due_mail($1)"#, n)
            .fetch_all(tx.pool)
            .await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}

/// Tenants with mail that was sent over a week ago, the oldest first.
///
/// # Errors
/// [`DbError`].
pub async fn list_tenants_with_old(tx: &SystemTx<'_>, n: i64) -> Result<Vec<TenantId>, DbError> {
    let rows =
        sqlx::query_scalar!(r#"SELECT tenant_id AS "tenant_id!" FROM platform.list_tenants_with_old_mail($1)"#, n)
            .fetch_all(tx.pool)
            .await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}

/// Deletes up to `n` of the tenant's mails that were sent over a week ago, the oldest first; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn delete_old(tx: &mut TenantTx, n: i64) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM platform.mail_outbox
         WHERE tenant_id = $1 AND id IN (
             SELECT id FROM platform.mail_outbox
             WHERE tenant_id = $1 AND sent_at <= clock_timestamp() - interval '7 days'
             ORDER BY sent_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        tenant,
        n
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// Claims up to `n` of the tenant's due mails: each is counted as attempted, and nobody else gets it for `lease_s` seconds. What is
/// being claimed elsewhere at this moment is passed over.
///
/// # Errors
/// [`DbError`].
pub async fn claim(tx: &mut TenantTx, n: i64, lease_s: f64) -> Result<Vec<ClaimedMail>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        ClaimedMail,
        "UPDATE platform.mail_outbox SET n_attempts = n_attempts + 1,
                next_attempt_at = clock_timestamp() + make_interval(secs => $3)
         WHERE tenant_id = $1 AND id IN (
             SELECT id FROM platform.mail_outbox
             WHERE tenant_id = $1 AND sent_at IS NULL AND dead_at IS NULL AND next_attempt_at <= clock_timestamp()
             ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING id, kind, recipient, detail, row_id, created_at, n_attempts",
        tenant,
        n,
        lease_s
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Settlement<'a> {
    /// It was handed over.
    Sent,
    /// It is tried again in so many seconds.
    PutOff {
        /// Seconds from now.
        wait_s: i64,
        /// Why.
        error: &'a str,
    },
    /// It is given up.
    Dead {
        /// Why.
        error: &'a str,
    },
}

/// Writes down what came of an attempt; false if somebody else has attempted the mail since.
///
/// # Errors
/// [`DbError`].
pub async fn settle(tx: &mut TenantTx, mail: &ClaimedMail, settlement: &Settlement<'_>) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let (is_sent, is_dead, wait_s, error) = match settlement {
        Settlement::Sent => (true, false, 0, None),
        Settlement::PutOff { wait_s, error } => (false, false, *wait_s, Some(*error)),
        Settlement::Dead { error } => (false, true, 0, Some(*error)),
    };
    let result = sqlx::query!(
        "UPDATE platform.mail_outbox
         SET sent_at = CASE WHEN $4 THEN clock_timestamp() END, dead_at = CASE WHEN $5 THEN clock_timestamp() END,
             next_attempt_at = clock_timestamp() + $6::bigint * interval '1 second', last_error = $7
         WHERE tenant_id = $1 AND id = $2 AND n_attempts = $3 AND sent_at IS NULL AND dead_at IS NULL",
        tenant,
        mail.id,
        mail.n_attempts,
        is_sent,
        is_dead,
        wait_s,
        error
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Has a dead mail tried again, with all its attempts; false if there is no such dead mail.
///
/// # Errors
/// [`DbError`].
pub async fn revive(tx: &mut TenantTx, id: MailId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE platform.mail_outbox
         SET dead_at = NULL, n_attempts = 0, next_attempt_at = clock_timestamp(), created_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND dead_at IS NOT NULL",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Mails that wait or are dead, after an id, in the order of ids.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &SystemTx<'_>, is_dead: bool, after: MailId, n: i64) -> Result<Vec<(TenantId, MailId)>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT tenant_id AS "tenant_id!", id AS "id!" FROM platform.list_mail_queue($1, $2, $3)"#,
        is_dead,
        after.uuid(),
        n
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id.into(), row.id.into())).collect())
}

/// A mail as operators see it: to which domain, not to whom.
#[derive(Debug, Clone)]
pub struct MailStatus {
    /// Id.
    pub id: Uuid,
    /// What it is about.
    pub kind: String,
    /// What stands behind the `@`.
    pub recipient_domain: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Attempts so far.
    pub n_attempts: i32,
    /// When the next one is due.
    pub next_attempt_at: DateTime<Utc>,
    /// When it was given up.
    pub dead_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// The tenant's mails with these ids.
///
/// # Errors
/// [`DbError`].
pub async fn list_status(tx: &mut TenantTx, ids: &[Uuid]) -> Result<Vec<MailStatus>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        MailStatus,
        r#"SELECT id, kind, split_part(recipient, '@', -1) AS "recipient_domain!", created_at, n_attempts, next_attempt_at,
                  dead_at, last_error
           FROM platform.mail_outbox WHERE tenant_id = $1 AND id = ANY ($2) ORDER BY id"#,
        tenant,
        ids
    )
    .fetch_all(tx.connection()?)
    .await?)
}
