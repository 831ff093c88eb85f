//! Who people are at a provider, and here: `auth.sso_identities`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{ConnectionId, UserId};

/// The user who is `subject` at the connection's provider, whatever has become of them.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, connection: ConnectionId, subject: &str) -> Result<Option<UserId>, DbError> {
    let tenant = tx.tenant().uuid();
    let user: Option<Uuid> = sqlx::query_scalar!(
        "SELECT user_id FROM auth.sso_identities WHERE tenant_id = $1 AND connection_id = $2 AND subject = $3",
        tenant,
        connection.uuid(),
        subject
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(user.map(UserId::from))
}

/// Notes that somebody signed in as `subject`.
///
/// # Errors
/// [`DbError`].
pub async fn touch(tx: &mut TenantTx, connection: ConnectionId, subject: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.sso_identities SET last_used_at = clock_timestamp()
         WHERE tenant_id = $1 AND connection_id = $2 AND subject = $3",
        tenant,
        connection.uuid(),
        subject
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Makes `subject` the user's; false if it is somebody else's already. What was a deleted user's is nobody's.
///
/// # Errors
/// [`DbError`].
pub async fn link(tx: &mut TenantTx, connection: ConnectionId, subject: &str, user: UserId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "INSERT INTO auth.sso_identities AS i (tenant_id, connection_id, subject, user_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, connection_id, subject) DO UPDATE
         SET user_id = excluded.user_id, last_used_at = clock_timestamp()
         WHERE i.user_id = excluded.user_id OR EXISTS (
             SELECT FROM auth.users u WHERE u.tenant_id = $1 AND u.id = i.user_id AND u.state = 'deleted')",
        tenant,
        connection.uuid(),
        subject,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// How many people the user is at the connection's provider: one, where nothing went wrong.
///
/// # Errors
/// [`DbError`].
pub async fn count_of(tx: &mut TenantTx, connection: ConnectionId, user: UserId) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM auth.sso_identities
           WHERE tenant_id = $1 AND connection_id = $2 AND user_id = $3"#,
        tenant,
        connection.uuid(),
        user.uuid()
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Whom a user is at a provider.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The connection.
    pub connection: ConnectionId,
    /// The connection's name.
    pub name: String,
    /// Whether one can sign in by it.
    pub is_enabled: bool,
    /// What the provider calls the person.
    pub subject: String,
    /// When it was linked.
    pub linked_at: DateTime<Utc>,
    /// When the user last signed in by it.
    pub last_used_at: DateTime<Utc>,
}

/// Whom the user is at the tenant's providers.
///
/// # Errors
/// [`DbError`].
pub async fn list_of(tx: &mut TenantTx, user: UserId) -> Result<Vec<Identity>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Identity,
        "SELECT i.connection_id AS connection, c.name, c.is_enabled, i.subject, i.created_at AS linked_at, i.last_used_at
         FROM auth.sso_identities i
         JOIN auth.sso_connections c ON c.tenant_id = i.tenant_id AND c.id = i.connection_id
         WHERE i.tenant_id = $1 AND i.user_id = $2 ORDER BY c.name, i.subject",
        tenant,
        user.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Forgets whom the user is at the connection's provider; returns how many people that were.
///
/// # Errors
/// [`DbError`].
pub async fn delete_of(tx: &mut TenantTx, connection: ConnectionId, user: UserId) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM auth.sso_identities WHERE tenant_id = $1 AND connection_id = $2 AND user_id = $3",
        tenant,
        connection.uuid(),
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// Whether somebody who can do everything, an owner or an operator, is linked to a connection.
///
/// # Errors
/// [`DbError`].
pub async fn has_guarded(tx: &mut TenantTx, connection: ConnectionId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM auth.sso_identities i JOIN auth.users u ON u.tenant_id = $1 AND u.id = i.user_id
                         WHERE i.tenant_id = $1 AND i.connection_id = $2 AND u.role IN ('owner', 'operator')
                               AND u.state <> 'deleted') AS "has!""#,
        tenant,
        connection.uuid()
    )
    .fetch_one(tx.connection()?)
    .await?)
}
