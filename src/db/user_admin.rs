//! Changes of users: `auth.users`. A deleted user is an empty shell, whom [`super::users`] does not find.

use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use super::users::{User, UserRow};
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::UserId;

/// Which users are wanted.
#[derive(Debug, Default)]
pub struct UserFilter<'a> {
    /// Part of the address, as it is compared.
    pub email_part: Option<&'a str>,
    /// Only with this role.
    pub role: Option<Role>,
    /// Only suspended ones, or only others.
    pub is_suspended: Option<bool>,
}

/// Up to `n` users after an id, in the order in which they were made.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, filter: &UserFilter<'_>, after: UserId, n: i64) -> Result<Vec<User>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        UserRow,
        "SELECT id, email, name, role, state, password_hash, email_verified_at, created_at FROM auth.users
         WHERE tenant_id = $1 AND state <> 'deleted' AND id > $2
               AND ($3::text IS NULL OR strpos(email_norm, $3) > 0) AND ($4::text IS NULL OR role = $4)
               AND ($5::boolean IS NULL OR (state = 'suspended') = $5)
         ORDER BY id LIMIT $6",
        tenant,
        after.uuid(),
        filter.email_part,
        filter.role.map(Role::as_str),
        filter.is_suspended,
        n
    )
    .fetch_all(tx.connection()?)
    .await?
    .into_iter()
    .map(User::try_from)
    .collect()
}

/// Locks the users of a role who could sign in, and returns them. Who changes one of them calls this first, and sees in it what
/// others have committed: of two who would each leave the other as the last one, the second sees that it is the last.
///
/// # Errors
/// [`DbError`].
pub async fn lock_able(tx: &mut TenantTx, role: Role) -> Result<Vec<UserId>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "SELECT id FROM auth.users
         WHERE tenant_id = $1 AND role = $2 AND state = 'active'
               AND (password_hash IS NOT NULL OR email_verified_at IS NOT NULL)
         ORDER BY id FOR NO KEY UPDATE",
        tenant,
        role.as_str()
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(ids.into_iter().map(UserId::from).collect())
}

/// Addresses of the owners and admins who may sign in and were shown to read their mail.
///
/// # Errors
/// [`DbError`].
pub async fn list_admins_mail(tx: &mut TenantTx) -> Result<Vec<String>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "SELECT email FROM auth.users
         WHERE tenant_id = $1 AND role IN ('owner', 'admin') AND state = 'active' AND email_verified_at IS NOT NULL
         ORDER BY id",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Locks a user and returns them as they are now. Everywhere the same order, so that no two transactions wait for each other: failed
/// attempts at the account, the user, what is theirs (links, invitations, waiting sign-ins, factors), sessions. The lock lets
/// others refer to the user meanwhile: rows of a session or a factor that are being inserted do not wait for it.
///
/// # Errors
/// [`DbError`].
pub async fn lock(tx: &mut TenantTx, id: UserId) -> Result<Option<User>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        UserRow,
        "SELECT id, email, name, role, state, password_hash, email_verified_at, created_at FROM auth.users
         WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted' FOR NO KEY UPDATE",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(User::try_from)
    .transpose()
}

/// What an admin changes of a user; `None` stays.
#[derive(Debug, Default)]
pub struct UserChange<'a> {
    /// Display name.
    pub name: Option<&'a str>,
    /// Role.
    pub role: Option<Role>,
    /// Switched off, or on again.
    pub is_suspended: Option<bool>,
}

/// Changes a user.
///
/// # Errors
/// [`DbError`].
pub async fn update(tx: &mut TenantTx, id: UserId, change: &UserChange<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let state = change.is_suspended.map(|is_suspended| if is_suspended { "suspended" } else { "active" });
    sqlx::query!(
        "UPDATE auth.users SET name = coalesce($3, name), role = coalesce($4, role), state = coalesce($5, state),
                updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND state <> 'deleted'",
        tenant,
        id.uuid(),
        change.name,
        change.role.map(Role::as_str),
        state
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Sets an active user's password.
///
/// # Errors
/// [`DbError`].
pub async fn set_password(tx: &mut TenantTx, id: UserId, hash: &str) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.users SET password_hash = $3, updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND state = 'active'",
        tenant,
        id.uuid(),
        hash
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Replaces a password's hash by another of the same password, unless the password was changed meanwhile; returns whether.
///
/// # Errors
/// [`DbError`].
pub async fn upgrade_hash(tx: &mut TenantTx, id: UserId, old: &str, new: &str) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.users SET password_hash = $4 WHERE tenant_id = $1 AND id = $2 AND password_hash = $3",
        tenant,
        id.uuid(),
        old,
        new
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Notes that mail to an address is read, if it is the user's, or makes a proven address the user's. A taken one violates
/// `users_email_key`.
///
/// # Errors
/// [`DbError`].
pub async fn set_verified_email(tx: &mut TenantTx, id: UserId, email: &EmailAddress) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.users SET email = $3, email_norm = $4, email_verified_at = clock_timestamp(),
                updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND state = 'active'",
        tenant,
        id.uuid(),
        email.as_str(),
        email.norm()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Inserts a user unless the address is taken; returns whether.
///
/// # Errors
/// [`DbError`].
pub async fn insert_if_free(
    tx: &mut TenantTx,
    id: UserId,
    email: &EmailAddress,
    name: Option<&str>,
    role: Role,
    password_hash: &str,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let inserted: Option<Uuid> = sqlx::query_scalar!(
        "INSERT INTO auth.users (tenant_id, id, email, email_norm, name, role, password_hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING RETURNING id",
        tenant,
        id.uuid(),
        email.as_str(),
        email.norm(),
        name,
        role.as_str(),
        password_hash
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(inserted.is_some())
}
