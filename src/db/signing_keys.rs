//! Tenants' signing keys: `auth.signing_keys`. `app_rw` adds them and sees their public halves, `app_secrets` reads all.

use serde_json::Value;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::token::KeyAlgorithm;

/// A signing key, its private half in its envelope.
#[derive(Debug, Clone)]
pub struct SigningKeyRow {
    /// Id of the key.
    pub kid: String,
    /// `ES256` or `EdDSA`.
    pub algorithm: String,
    /// `pending`, `active` or `retiring`.
    pub state: String,
    /// Public half.
    pub public_jwk: Value,
    /// Private half, enveloped.
    pub private_key_enc: Vec<u8>,
}

/// A key to be.
#[derive(Debug)]
pub struct NewSigningKey<'a> {
    /// Id of the key.
    pub kid: &'a str,
    /// Algorithm.
    pub algorithm: KeyAlgorithm,
    /// Public half.
    pub public_jwk: &'a Value,
    /// Private half, enveloped.
    pub private_key_enc: &'a [u8],
}

/// Adds a key that signs at once.
///
/// # Errors
/// [`DbError`].
pub async fn insert_active(tx: &mut TenantTx, new: &NewSigningKey<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.signing_keys (tenant_id, kid, algorithm, state, public_jwk, private_key_enc, activated_at)
         VALUES ($1, $2, $3, 'active', $4, $5, now())",
        tenant,
        new.kid,
        new.algorithm.as_str(),
        new.public_jwk,
        new.private_key_enc
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// All keys of the transaction's tenant, newest first; needs [`TenantTx::begin_secrets`].
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<SigningKeyRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        SigningKeyRow,
        "SELECT kid, algorithm, state, public_jwk, private_key_enc FROM auth.signing_keys
         WHERE tenant_id = $1 ORDER BY created_at DESC",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}
