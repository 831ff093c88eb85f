//! Sessions: `auth.sessions`, one row for each refresh-token family.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{SessionId, UserId};

/// A session to be.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Ends without a refresh before then.
    pub idle_expires_at: DateTime<Utc>,
    /// Ends then.
    pub absolute_expires_at: DateTime<Utc>,
    /// How strongly the user proved who they are.
    pub acr: &'a str,
    /// By what means.
    pub amr: &'a [String],
    /// When.
    pub auth_time: DateTime<Utc>,
    /// The tenant's epoch at sign-in.
    pub epoch: i64,
    /// Client address.
    pub ip: Option<String>,
    /// Client program.
    pub user_agent: Option<&'a str>,
}

/// A session as stored, with what its user may do now.
#[derive(Debug, Clone)]
pub struct Session {
    /// Id.
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// Number of the current refresh token.
    pub refresh_ctr: i64,
    /// Milliseconds since it was given out, by the database's clock.
    pub since_rotation_ms: i64,
    /// How strongly the user proved who they are.
    pub acr: String,
    /// By what means.
    pub amr: Vec<String>,
    /// When.
    pub auth_time: DateTime<Utc>,
    /// The tenant's epoch at sign-in; a session of an earlier one is dead.
    pub epoch: i64,
    /// When it was ended.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The user's role.
    pub role: String,
    /// The user's state.
    pub user_state: String,
}

/// Inserts a session.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewSession<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.sessions (tenant_id, id, user_id, idle_expires_at, absolute_expires_at, acr, amr, auth_time, ip,
                                    user_agent, epoch)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::inet, $10, $11)",
        tenant,
        new.id.uuid(),
        new.user.uuid(),
        new.idle_expires_at,
        new.absolute_expires_at,
        new.acr,
        new.amr,
        new.auth_time,
        new.ip.as_deref(),
        new.user_agent,
        new.epoch
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// The session with this id, and its user.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: SessionId) -> Result<Option<Session>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Session,
        r#"SELECT s.id, s.user_id, s.refresh_ctr, s.acr, s.amr, s.auth_time, s.epoch, s.revoked_at, u.role, u.state AS user_state,
                  (extract(epoch FROM clock_timestamp() - s.rotated_at) * 1000)::bigint AS "since_rotation_ms!"
         FROM auth.sessions s JOIN auth.users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
         WHERE s.tenant_id = $1 AND s.id = $2"#,
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Rotates the family by compare-and-set on its counter: of any number of callers with the same token one gets `true`.
///
/// # Errors
/// [`DbError`].
pub async fn rotate(
    tx: &mut TenantTx,
    id: SessionId,
    counter: i64,
    idle_expires_at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.sessions SET refresh_ctr = refresh_ctr + 1, rotated_at = clock_timestamp(),
                idle_expires_at = least($4, absolute_expires_at)
         WHERE tenant_id = $1 AND id = $2 AND refresh_ctr = $3 AND revoked_at IS NULL
               AND clock_timestamp() < least(idle_expires_at, absolute_expires_at)",
        tenant,
        id.uuid(),
        counter,
        idle_expires_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Ends a session; returns whether it was still open. It is the same row that a refresh updates, so the two cannot
/// interleave.
///
/// # Errors
/// [`DbError`].
pub async fn revoke(tx: &mut TenantTx, id: SessionId, reason: &str) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.sessions SET revoked_at = clock_timestamp(), revoked_reason = $3
         WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant,
        id.uuid(),
        reason
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Ends every open session of a user; returns their ids.
///
/// # Errors
/// [`DbError`].
pub async fn revoke_all(tx: &mut TenantTx, user: UserId, reason: &str) -> Result<Vec<SessionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_scalar!(
        "UPDATE auth.sessions SET revoked_at = clock_timestamp(), revoked_reason = $3
         WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL RETURNING id",
        tenant,
        user.uuid(),
        reason
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows.into_iter().map(SessionId::from).collect())
}

/// Sessions ended within the last `seconds`, by the database's clock: those whose access tokens may still be alive.
///
/// # Errors
/// [`DbError`].
pub async fn list_revoked_within(tx: &mut TenantTx, seconds: i64) -> Result<Vec<SessionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows =
        sqlx::query_scalar!("SELECT id FROM auth.sessions WHERE tenant_id = $1 AND revoked_at > clock_timestamp() - $2::bigint * interval '1 second'", tenant, seconds)
            .fetch_all(tx.connection()?)
            .await?;
    Ok(rows.into_iter().map(SessionId::from).collect())
}
