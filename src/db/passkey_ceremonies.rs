//! Halves of WebAuthn ceremonies: `auth.passkey_ceremonies`. A row is read once.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::UserId;

/// A ceremony that waits for the authenticator.
#[derive(Debug)]
pub struct NewCeremony<'a> {
    /// Id.
    pub id: Uuid,
    /// Whose; none = the authenticator will tell.
    pub user: Option<UserId>,
    /// `register`, `sign_in`, `step_up` or `passwordless`.
    pub purpose: &'a str,
    /// The sign-in by password that it finishes.
    pub challenge: Option<Uuid>,
    /// What the answer is checked against.
    pub state: &'a Value,
    /// Until when it waits.
    pub expires_at: DateTime<Utc>,
}

/// Adds a ceremony, and forgets those of the tenant that ran out.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewCeremony<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    delete_expired(tx).await?;
    sqlx::query!(
        "INSERT INTO auth.passkey_ceremonies (tenant_id, id, user_id, purpose, challenge, state, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        new.id,
        new.user.map(UserId::uuid),
        new.purpose,
        new.challenge,
        new.state,
        new.expires_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Deletes the tenant's ceremonies that ran out; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn delete_expired(tx: &mut TenantTx) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let sql = sqlx::query!(
        "DELETE FROM auth.passkey_ceremonies WHERE tenant_id = $1 AND expires_at < clock_timestamp()",
        tenant
    );
    Ok(sql.execute(tx.connection()?).await?.rows_affected())
}

/// Takes the state of a ceremony away, if it waits for this purpose, user and sign-in: of any number of callers one gets it.
///
/// # Errors
/// [`DbError`].
pub async fn take(
    tx: &mut TenantTx,
    id: Uuid,
    purpose: &str,
    user: Option<UserId>,
    challenge: Option<Uuid>,
) -> Result<Option<Value>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "DELETE FROM auth.passkey_ceremonies
         WHERE tenant_id = $1 AND id = $2 AND purpose = $3 AND user_id IS NOT DISTINCT FROM $4
               AND challenge IS NOT DISTINCT FROM $5 AND expires_at > clock_timestamp()
         RETURNING state",
        tenant,
        id,
        purpose,
        user.map(UserId::uuid),
        challenge
    )
    .fetch_optional(tx.connection()?)
    .await?)
}
