//! Tenants' signing keys: `auth.signing_keys`. `app_rw` adds them and sees their public halves, `app_secrets` reads
//! all and turns them over.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::ids::TenantId;
use crate::domain::key_rotation::{KeyState, KeyTimes};
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

/// A signing key without its private half.
#[derive(Debug, Clone)]
pub struct PublicKeyRow {
    /// Id of the key.
    pub kid: String,
    /// `ES256` or `EdDSA`.
    pub algorithm: String,
    /// `pending`, `active` or `retiring`.
    pub state: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it began to sign.
    pub activated_at: Option<DateTime<Utc>>,
    /// When it ceased to.
    pub retired_at: Option<DateTime<Utc>>,
}

/// All keys of the transaction's tenant without their private halves, newest first.
///
/// # Errors
/// [`DbError`].
pub async fn list_public(tx: &mut TenantTx) -> Result<Vec<PublicKeyRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        PublicKeyRow,
        "SELECT kid, algorithm, state, created_at, activated_at, retired_at FROM auth.signing_keys
         WHERE tenant_id = $1 ORDER BY created_at DESC, kid",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// All keys of the transaction's tenant as far as their rotation is concerned.
///
/// # Errors
/// [`DbError`].
pub async fn list_times(tx: &mut TenantTx) -> Result<Vec<KeyTimes>, DbError> {
    let times = |row: PublicKeyRow| {
        let PublicKeyRow { kid, algorithm: _, state, created_at, activated_at, retired_at } = row;
        let state = KeyState::parse(&state).ok_or(DbError::Corrupt("signing_keys.state"))?;
        Ok(KeyTimes { kid, state, created_at, activated_at, retired_at })
    };
    list_public(tx).await?.into_iter().map(times).collect()
}

/// Keeps everybody else from turning the tenant's keys over until the transaction ends. What is read after it is current.
///
/// # Errors
/// [`DbError`].
pub async fn lock(tx: &mut TenantTx) -> Result<(), DbError> {
    let name = format!("signing_keys {}", tx.tenant());
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name).execute(tx.connection()?).await?;
    Ok(())
}

/// Adds a key that is published and does not sign yet; needs [`TenantTx::begin_secrets`], as all below does.
///
/// # Errors
/// [`DbError`].
pub async fn insert_pending(tx: &mut TenantTx, new: &NewSigningKey<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.signing_keys (tenant_id, kid, algorithm, state, public_jwk, private_key_enc)
         VALUES ($1, $2, $3, 'pending', $4, $5)",
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

/// Has a pending key sign; the one that did retires.
///
/// # Errors
/// [`DbError`].
pub async fn activate(tx: &mut TenantTx, kid: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.signing_keys SET state = 'retiring', retired_at = now() WHERE tenant_id = $1 AND state = 'active'",
        tenant
    )
    .execute(tx.connection()?)
    .await?;
    sqlx::query!(
        "UPDATE auth.signing_keys SET state = 'active', activated_at = now()
         WHERE tenant_id = $1 AND kid = $2 AND state = 'pending'",
        tenant,
        kid
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Forgets a key.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, kid: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM auth.signing_keys WHERE tenant_id = $1 AND kid = $2", tenant, kid)
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// Forgets every key of the transaction's tenant.
///
/// # Errors
/// [`DbError`].
pub async fn delete_all(tx: &mut TenantTx) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM auth.signing_keys WHERE tenant_id = $1", tenant).execute(tx.connection()?).await?;
    Ok(())
}

/// Says when the tenant's keys are to be looked at next. Any change of a key, before or after, says "soon".
///
/// # Errors
/// [`DbError`].
pub async fn schedule(tx: &mut TenantTx, due: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("SELECT auth.schedule_keys($1)", due).execute(tx.connection()?).await?;
    Ok(())
}

/// Up to `n` tenants whose keys are due, for this caller alone for a minute.
///
/// # Errors
/// [`DbError`].
pub async fn claim_due(tx: &SystemTx<'_>, n: i64) -> Result<Vec<TenantId>, DbError> {
    let rows = sqlx::query_scalar!(r#"SELECT platform.claim_due_keys($1) AS "tenant!""#, n).fetch_all(tx.pool).await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}
