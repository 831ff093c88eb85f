//! Passkeys: `auth.passkeys`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{FactorId, UserId};

/// A passkey as stored.
#[derive(Debug, Clone)]
pub struct Passkey {
    /// Id.
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// What the user calls it.
    pub name: String,
    /// Public key, counter, flags.
    pub credential: Value,
    /// When it was enrolled.
    pub created_at: DateTime<Utc>,
    /// When it was used last.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A passkey to be.
#[derive(Debug)]
pub struct NewPasskey<'a> {
    /// Id.
    pub id: FactorId,
    /// Whose.
    pub user: UserId,
    /// What the user calls it.
    pub name: &'a str,
    /// What the authenticator calls it.
    pub credential_id: &'a [u8],
    /// Public key, counter, flags.
    pub credential: &'a Value,
}

/// Adds a passkey. One that the tenant knows already violates `passkeys_credential_key`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewPasskey<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.passkeys (tenant_id, id, user_id, name, credential_id, credential)
         VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        new.id.uuid(),
        new.user.uuid(),
        new.name,
        new.credential_id,
        new.credential
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// The user's passkeys, the oldest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, user: UserId) -> Result<Vec<Passkey>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Passkey,
        "SELECT id, user_id, name, credential, created_at, last_used_at FROM auth.passkeys
         WHERE tenant_id = $1 AND user_id = $2 ORDER BY created_at, id",
        tenant,
        user.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// The passkey that an authenticator calls by this name.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_credential(tx: &mut TenantTx, credential_id: &[u8]) -> Result<Option<Passkey>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Passkey,
        "SELECT id, user_id, name, credential, created_at, last_used_at FROM auth.passkeys
         WHERE tenant_id = $1 AND credential_id = $2 FOR UPDATE",
        tenant,
        credential_id
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Writes down a use, with the counter and flags that came with it.
///
/// # Errors
/// [`DbError`].
pub async fn update_used(tx: &mut TenantTx, id: Uuid, credential: &Value) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.passkeys SET credential = $3, last_used_at = clock_timestamp() WHERE tenant_id = $1 AND id = $2",
        tenant,
        id,
        credential
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Forgets one of the user's passkeys; false if it is none of theirs.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, user: UserId, id: FactorId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM auth.passkeys WHERE tenant_id = $1 AND user_id = $2 AND id = $3",
        tenant,
        user.uuid(),
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}
