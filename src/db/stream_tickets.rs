//! Tickets that open a stream of usage: `billing.stream_tickets`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{SessionId, UserId};

/// What a ticket stands for: what of an access token matters for as long as a stream is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TicketHolder {
    /// The user.
    pub user: UserId,
    /// Their session.
    pub session: SessionId,
    /// The tenant's epoch at the token's issue.
    pub epoch: i64,
    /// When the token runs out, and with it the stream.
    pub token_expires_at: DateTime<Utc>,
}

/// Inserts a ticket that is good for `ttl_s` seconds. The tenant's tickets that ran out over an hour ago are forgotten on the way.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, id: Uuid, holder: &TicketHolder, ttl_s: f64) -> Result<(), DbError> {
    forget_old(tx, 100).await?;
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.stream_tickets (tenant_id, id, user_id, session_id, epoch, token_expires_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))",
        tenant,
        id,
        holder.user.uuid(),
        holder.session.uuid(),
        holder.epoch,
        holder.token_expires_at,
        ttl_s
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Uses a ticket up; of any number of callers, in any number of processes, one gets its holder.
///
/// # Errors
/// [`DbError`].
pub async fn spend(tx: &mut TenantTx, id: Uuid) -> Result<Option<TicketHolder>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "UPDATE billing.stream_tickets SET used_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND expires_at > clock_timestamp()
         RETURNING user_id, session_id, epoch, token_expires_at",
        tenant,
        id
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(row.map(|row| TicketHolder {
        user: row.user_id.into(),
        session: row.session_id.into(),
        epoch: row.epoch,
        token_expires_at: row.token_expires_at,
    }))
}

/// Deletes up to `n` of the tenant's tickets that ran out over an hour ago, used or not; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn forget_old(tx: &mut TenantTx, n: i64) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM billing.stream_tickets WHERE tenant_id = $1 AND id IN (
             SELECT id FROM billing.stream_tickets
             WHERE tenant_id = $1 AND expires_at < clock_timestamp() - interval '1 hour'
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        tenant,
        n
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}
