//! Users: `auth.users`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::UserId;

/// A user as stored.
#[derive(Debug, Clone)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// Address as typed.
    pub email: String,
    /// Display name.
    pub name: Option<String>,
    /// Role.
    pub role: Role,
    /// Whether an admin switched the user off.
    pub is_suspended: bool,
    /// argon2id (or, imported, argon2i or bcrypt) hash in PHC form; none = no password.
    pub password_hash: Option<String>,
    /// When mail to the address was shown to be read.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// When the user was made.
    pub created_at: DateTime<Utc>,
}

pub(super) struct UserRow {
    pub(super) id: Uuid,
    pub(super) email: String,
    pub(super) name: Option<String>,
    pub(super) role: String,
    pub(super) state: String,
    pub(super) password_hash: Option<String>,
    pub(super) email_verified_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
}

impl TryFrom<UserRow> for User {
    type Error = DbError;

    fn try_from(row: UserRow) -> Result<Self, DbError> {
        let UserRow { id, email, name, role, state, password_hash, email_verified_at, created_at } = row;
        let role = Role::parse(&role).ok_or(DbError::Corrupt("users.role"))?;
        let is_suspended = state != "active";
        Ok(Self { id: id.into(), email, name, role, is_suspended, password_hash, email_verified_at, created_at })
    }
}

/// The user with this address.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_email(tx: &mut TenantTx, email: &EmailAddress) -> Result<Option<User>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        UserRow,
        "SELECT id, email, name, role, state, password_hash, email_verified_at, created_at FROM auth.users
         WHERE tenant_id = $1 AND email_norm = $2 AND state <> 'deleted'",
        tenant,
        email.norm()
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(User::try_from)
    .transpose()
}

/// The user with this id.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: UserId) -> Result<Option<User>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        UserRow,
        "SELECT id, email, name, role, state, password_hash, email_verified_at, created_at FROM auth.users
         WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted'",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(User::try_from)
    .transpose()
}

/// A user to be.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Id.
    pub id: UserId,
    /// Address.
    pub email: &'a EmailAddress,
    /// Display name.
    pub name: Option<&'a str>,
    /// Role.
    pub role: Role,
    /// argon2id hash in PHC form; none = cannot sign in by password yet.
    pub password_hash: Option<&'a str>,
    /// Whether mail to the address was shown to be read.
    pub is_verified: bool,
}

/// Inserts a user. A taken address violates `users_email_key`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewUser<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.users (tenant_id, id, email, email_norm, name, role, password_hash, email_verified_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN clock_timestamp() END)",
        tenant,
        new.id.uuid(),
        new.email.as_str(),
        new.email.norm(),
        new.name,
        new.role.as_str(),
        new.password_hash,
        new.is_verified
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
