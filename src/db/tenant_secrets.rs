//! Secrets that tenants give the platform: `platform.tenant_secrets`. `app_rw` never reads the envelopes.

use chrono::{DateTime, Utc};

use super::error::DbError;
use super::totp_factors::SealedSecret;
use super::tx::TenantTx;
use crate::domain::tenant_secret::{MAX_SECRETS, SecretName};

/// A secret as its tenant's admins see it.
#[derive(Debug, Clone)]
pub struct TenantSecretRow {
    /// Name.
    pub name: String,
    /// What it is for, in its admin's words.
    pub purpose: String,
    /// When it was first stored.
    pub created_at: DateTime<Utc>,
    /// When its value was last replaced.
    pub updated_at: DateTime<Utc>,
}

/// The tenant's secrets, by name.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<TenantSecretRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        TenantSecretRow,
        "SELECT name, purpose, created_at, updated_at FROM platform.tenant_secrets WHERE tenant_id = $1 ORDER BY name",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Stores a secret, in place of one of that name. `None` if the tenant has as many as it may. Two callers at once wait for each other,
/// so that they do not both take the last place.
///
/// # Errors
/// [`DbError`].
pub async fn upsert(
    tx: &mut TenantTx,
    name: &SecretName,
    purpose: &str,
    secret: &SealedSecret,
) -> Result<Option<TenantSecretRow>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM platform.tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    // Not `excluded.secret_enc`: that would be reading it, which this role may not.
    Ok(sqlx::query_as!(
        TenantSecretRow,
        "INSERT INTO platform.tenant_secrets (tenant_id, name, purpose, secret_enc, key_version)
         SELECT $1, $2, $3, $4, $5
         WHERE (SELECT count(*) FROM platform.tenant_secrets WHERE tenant_id = $1 AND name <> $2) < $6
         ON CONFLICT (tenant_id, name) DO UPDATE
         SET purpose = $3, secret_enc = $4, key_version = $5, updated_at = now()
         RETURNING name, purpose, created_at, updated_at",
        tenant,
        name.as_str(),
        purpose,
        &secret.sealed,
        secret.key_version,
        i64::try_from(MAX_SECRETS).unwrap_or(i64::MAX)
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Forgets a secret; false if there is none of that name.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, name: &SecretName) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result =
        sqlx::query!("DELETE FROM platform.tenant_secrets WHERE tenant_id = $1 AND name = $2", tenant, name.as_str())
            .execute(tx.connection()?)
            .await?;
    Ok(result.rows_affected() == 1)
}

/// The envelope of a secret; needs [`TenantTx::begin_secrets`].
///
/// # Errors
/// [`DbError`].
pub async fn find_sealed(tx: &mut TenantTx, name: &SecretName) -> Result<Option<SealedSecret>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        SealedSecret,
        "SELECT secret_enc AS sealed, key_version FROM platform.tenant_secrets WHERE tenant_id = $1 AND name = $2",
        tenant,
        name.as_str()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// All secrets with their envelopes; needs [`TenantTx::begin_secrets`].
///
/// # Errors
/// [`DbError`].
pub async fn list_sealed(tx: &mut TenantTx) -> Result<Vec<(SecretName, SealedSecret)>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT name, secret_enc, key_version FROM platform.tenant_secrets WHERE tenant_id = $1 ORDER BY name LIMIT $2",
        tenant,
        i64::try_from(MAX_SECRETS).unwrap_or(i64::MAX)
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let name = SecretName::parse(&row.name)
                .map_err(|_name: crate::domain::tenant_secret::SecretError| DbError::Corrupt("tenant_secrets.name"))?;
            Ok((name, SealedSecret { sealed: row.secret_enc, key_version: row.key_version }))
        })
        .collect()
}
