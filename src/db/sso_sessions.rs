//! By which connection sessions came: `auth.sso_sessions`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{ConnectionId, SessionId, UserId};

/// Notes that a session came by a connection.
///
/// # Errors
/// [`DbError`].
pub async fn insert(
    tx: &mut TenantTx,
    session: SessionId,
    connection: ConnectionId,
    user: UserId,
    ends_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.sso_sessions (tenant_id, session_id, connection_id, user_id, ends_at) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        session.uuid(),
        connection.uuid(),
        user.uuid(),
        ends_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// The connection that a session came by, if it came by one.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, session: SessionId) -> Result<Option<ConnectionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let id: Option<Uuid> = sqlx::query_scalar!(
        "SELECT connection_id FROM auth.sso_sessions WHERE tenant_id = $1 AND session_id = $2",
        tenant,
        session.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(id.map(ConnectionId::from))
}

/// The sessions that came by a connection, dead ones among them.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, connection: ConnectionId) -> Result<Vec<SessionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "SELECT session_id FROM auth.sso_sessions WHERE tenant_id = $1 AND connection_id = $2 AND ends_at > clock_timestamp()",
        tenant,
        connection.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(ids.into_iter().map(SessionId::from).collect())
}

/// The user's sessions that came by a connection, dead ones among them.
///
/// # Errors
/// [`DbError`].
pub async fn list_of(tx: &mut TenantTx, connection: ConnectionId, user: UserId) -> Result<Vec<SessionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "SELECT session_id FROM auth.sso_sessions
         WHERE tenant_id = $1 AND connection_id = $2 AND user_id = $3 AND ends_at > clock_timestamp()",
        tenant,
        connection.uuid(),
        user.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(ids.into_iter().map(SessionId::from).collect())
}
