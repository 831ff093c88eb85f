//! Who people are at a provider, and here: `auth.sso_identities`.

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
