//! Invitations: `auth.invitations`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::{InvitationId, UserId};

/// What somebody is invited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvitationKind {
    /// To be a user of the tenant.
    User,
    /// To found a tenant; only in the tenant of the platform.
    Tenant,
}

impl InvitationKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Tenant => "tenant",
        }
    }
}

/// An invitation as stored.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Id.
    pub id: InvitationId,
    /// Address as typed.
    pub email: String,
    /// Display name.
    pub name: Option<String>,
    /// Role that the user will have.
    pub role: Role,
    /// The user who was made beforehand, if any.
    pub user: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When it was withdrawn.
    pub revoked_at: Option<DateTime<Utc>>,
}

struct InvitationRow {
    id: Uuid,
    email: String,
    name: Option<String>,
    role: String,
    user_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    accepted_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<InvitationRow> for Invitation {
    type Error = DbError;

    fn try_from(row: InvitationRow) -> Result<Self, DbError> {
        let InvitationRow { id, email, name, role, user_id, created_at, expires_at, accepted_at, revoked_at } = row;
        let role = Role::parse(&role).ok_or(DbError::Corrupt("invitations.role"))?;
        let (id, user) = (id.into(), user_id.map(UserId::from));
        Ok(Self { id, email, name, role, user, created_at, expires_at, accepted_at, revoked_at })
    }
}

/// An invitation to be.
#[derive(Debug)]
pub struct NewInvitation<'a> {
    /// Id.
    pub id: InvitationId,
    /// To what.
    pub kind: InvitationKind,
    /// Address.
    pub email: &'a EmailAddress,
    /// Display name.
    pub name: Option<&'a str>,
    /// Role that the user will have.
    pub role: Role,
    /// The user who was made beforehand, if any.
    pub user: Option<UserId>,
    /// Who invites.
    pub invited_by: Option<UserId>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Inserts an invitation in place of an open one for the same address. Two at once violate `invitations_open_key`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewInvitation<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.invitations SET revoked_at = clock_timestamp()
         WHERE tenant_id = $1 AND kind = $2 AND email_norm = $3 AND accepted_at IS NULL AND revoked_at IS NULL",
        tenant,
        new.kind.as_str(),
        new.email.norm()
    )
    .execute(tx.connection()?)
    .await?;
    sqlx::query!(
        "INSERT INTO auth.invitations (tenant_id, id, kind, email, email_norm, name, role, user_id, invited_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant,
        new.id.uuid(),
        new.kind.as_str(),
        new.email.as_str(),
        new.email.norm(),
        new.name,
        new.role.as_str(),
        new.user.map(UserId::uuid),
        new.invited_by.map(UserId::uuid),
        new.expires_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// The invitation with this id, in whatever state.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, kind: InvitationKind, id: InvitationId) -> Result<Option<Invitation>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        InvitationRow,
        "SELECT id, email, name, role, user_id, created_at, expires_at, accepted_at, revoked_at FROM auth.invitations
         WHERE tenant_id = $1 AND id = $2 AND kind = $3",
        tenant,
        id.uuid(),
        kind.as_str()
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(Invitation::try_from)
    .transpose()
}

/// Up to `n` invitations of users after an id, in the order in which they were made; `open` = only those that can be accepted.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, open: bool, after: InvitationId, n: i64) -> Result<Vec<Invitation>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        InvitationRow,
        "SELECT id, email, name, role, user_id, created_at, expires_at, accepted_at, revoked_at FROM auth.invitations
         WHERE tenant_id = $1 AND kind = 'user' AND id > $3
               AND (NOT $2 OR (accepted_at IS NULL AND revoked_at IS NULL AND expires_at > clock_timestamp()))
         ORDER BY id LIMIT $4",
        tenant,
        open,
        after.uuid(),
        n
    )
    .fetch_all(tx.connection()?)
    .await?
    .into_iter()
    .map(Invitation::try_from)
    .collect()
}

/// Accepts an open invitation; of any number of callers one gets it.
///
/// # Errors
/// [`DbError`].
pub async fn accept(tx: &mut TenantTx, kind: InvitationKind, id: InvitationId) -> Result<Option<Invitation>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        InvitationRow,
        "UPDATE auth.invitations SET accepted_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND kind = $3 AND accepted_at IS NULL AND revoked_at IS NULL
               AND expires_at > clock_timestamp()
         RETURNING id, email, name, role, user_id, created_at, expires_at, accepted_at, revoked_at",
        tenant,
        id.uuid(),
        kind.as_str()
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(Invitation::try_from)
    .transpose()
}

/// Opens an accepted invitation again, because what it was accepted for did not come about.
///
/// # Errors
/// [`DbError`]; `invitations_open_key` is violated when the address was invited anew meanwhile.
pub async fn reopen(tx: &mut TenantTx, id: InvitationId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("UPDATE auth.invitations SET accepted_at = NULL WHERE tenant_id = $1 AND id = $2", tenant, id.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// Withdraws an invitation that was not accepted; false if there is none.
///
/// # Errors
/// [`DbError`].
pub async fn revoke(tx: &mut TenantTx, id: InvitationId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.invitations SET revoked_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND kind = 'user' AND accepted_at IS NULL AND revoked_at IS NULL",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Withdraws every open invitation that would give this user a password.
///
/// # Errors
/// [`DbError`].
pub async fn revoke_of_user(tx: &mut TenantTx, user: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.invitations SET revoked_at = clock_timestamp()
         WHERE tenant_id = $1 AND user_id = $2 AND accepted_at IS NULL AND revoked_at IS NULL",
        tenant,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Withdraws the open invitations that a user made.
///
/// # Errors
/// [`DbError`].
pub async fn revoke_made_by(tx: &mut TenantTx, user: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.invitations SET revoked_at = clock_timestamp()
         WHERE tenant_id = $1 AND invited_by = $2 AND accepted_at IS NULL AND revoked_at IS NULL",
        tenant,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Withdraws every open invitation that has to do with a user: those that they made, those that would give them a password, and those
/// that were sent to their address.
///
/// # Errors
/// [`DbError`].
pub async fn revoke_around(tx: &mut TenantTx, user: UserId) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.invitations SET revoked_at = clock_timestamp()
         WHERE tenant_id = $1 AND kind = 'user' AND accepted_at IS NULL AND revoked_at IS NULL
               AND (invited_by = $2 OR user_id = $2
                    OR email_norm = (SELECT email_norm FROM auth.users WHERE tenant_id = $1 AND id = $2))",
        tenant,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// Gives an open invitation, also one past its time, a new end.
///
/// # Errors
/// [`DbError`].
pub async fn renew(
    tx: &mut TenantTx,
    id: InvitationId,
    expires_at: DateTime<Utc>,
) -> Result<Option<Invitation>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        InvitationRow,
        "UPDATE auth.invitations SET expires_at = $3
         WHERE tenant_id = $1 AND id = $2 AND kind = 'user' AND accepted_at IS NULL AND revoked_at IS NULL
         RETURNING id, email, name, role, user_id, created_at, expires_at, accepted_at, revoked_at",
        tenant,
        id.uuid(),
        expires_at
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(Invitation::try_from)
    .transpose()
}
