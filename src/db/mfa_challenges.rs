//! Sign-ins that wait for a second factor: `auth.mfa_challenges`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::audit::AuditSource;
use crate::domain::ids::{ConnectionId, UserId};

/// Adds a challenge, and forgets those of the user that ran out. `connection`: where the first factor was shown, if it was not a
/// password.
///
/// # Errors
/// [`DbError`].
pub async fn insert(
    tx: &mut TenantTx,
    id: Uuid,
    user: UserId,
    connection: Option<ConnectionId>,
    expires_at: DateTime<Utc>,
    source: &AuditSource,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.mfa_challenges WHERE tenant_id = $1 AND user_id = $2 AND expires_at < clock_timestamp()",
        tenant,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    let ip = source.ip.map(|ip| ip.to_string());
    sqlx::query!(
        "INSERT INTO auth.mfa_challenges (tenant_id, id, user_id, expires_at, ip, user_agent, connection_id)
         VALUES ($1, $2, $3, $4, $5::text::inet, $6, $7)",
        tenant,
        id,
        user.uuid(),
        expires_at,
        ip.as_deref(),
        source.user_agent.as_deref(),
        connection.map(ConnectionId::uuid)
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// A challenge that was met.
#[derive(Debug, Clone, Copy)]
pub struct MetChallenge {
    /// Where the first factor was shown; none = it was a password.
    pub connection: Option<ConnectionId>,
}

/// Whose sign-in it is, if it still waits.
///
/// # Errors
/// [`DbError`].
pub async fn find_open(tx: &mut TenantTx, id: Uuid, max_attempts: i32) -> Result<Option<UserId>, DbError> {
    let tenant = tx.tenant().uuid();
    let user = sqlx::query_scalar!(
        "SELECT user_id FROM auth.mfa_challenges WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL
                AND n_attempts < $3 AND expires_at > clock_timestamp()",
        tenant,
        id,
        max_attempts
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(user.map(UserId::from))
}

/// Counts an attempt, before it is looked at; `None` if the challenge waits no more or has had its attempts.
///
/// # Errors
/// [`DbError`].
pub async fn claim_attempt(tx: &mut TenantTx, id: Uuid, max_attempts: i32) -> Result<Option<UserId>, DbError> {
    let tenant = tx.tenant().uuid();
    let user = sqlx::query_scalar!(
        "UPDATE auth.mfa_challenges SET n_attempts = n_attempts + 1
         WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND n_attempts < $3 AND expires_at > clock_timestamp()
         RETURNING user_id",
        tenant,
        id,
        max_attempts
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(user.map(UserId::from))
}

/// Ends the challenge as met: of any number of callers one gets it.
///
/// # Errors
/// [`DbError`].
pub async fn use_up(tx: &mut TenantTx, id: Uuid) -> Result<Option<MetChallenge>, DbError> {
    let tenant = tx.tenant().uuid();
    let met = sqlx::query!(
        "UPDATE auth.mfa_challenges SET used_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND expires_at > clock_timestamp() RETURNING connection_id",
        tenant,
        id
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(met.map(|row| MetChallenge { connection: row.connection_id.map(ConnectionId::from) }))
}

/// Ends every sign-in of the user that waits: for a change of password or of factors, after which the proof so far is worth
/// nothing.
///
/// # Errors
/// [`DbError`].
pub async fn delete_all(tx: &mut TenantTx, user: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM auth.mfa_challenges WHERE tenant_id = $1 AND user_id = $2", tenant, user.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// Ends every sign-in that waits and whose first factor was shown by this connection: the user's, or everybody's.
///
/// # Errors
/// [`DbError`].
pub async fn delete_of_connection(
    tx: &mut TenantTx,
    connection: ConnectionId,
    user: Option<UserId>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.mfa_challenges
         WHERE tenant_id = $1 AND connection_id = $2 AND ($3::uuid IS NULL OR user_id = $3)",
        tenant,
        connection.uuid(),
        user.map(UserId::uuid)
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Deletes the tenant's challenges that ran out; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn delete_expired(tx: &mut TenantTx) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result =
        sqlx::query!("DELETE FROM auth.mfa_challenges WHERE tenant_id = $1 AND expires_at < clock_timestamp()", tenant)
            .execute(tx.connection()?)
            .await?;
    Ok(result.rows_affected())
}
