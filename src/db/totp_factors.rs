//! Authenticator apps: `auth.totp_factors`. `app_rw` never reads the secret; `app_secrets` reads nothing else.

use chrono::{DateTime, Utc};

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{FactorId, UserId};

/// An enrolment that begins.
#[derive(Debug)]
pub struct NewTotpFactor<'a> {
    /// Id.
    pub id: FactorId,
    /// Whose.
    pub user: UserId,
    /// The secret in its envelope.
    pub secret_enc: &'a [u8],
    /// Version of the data key that sealed it.
    pub key_version: i32,
}

/// Begins an enrolment in place of one that was not confirmed.
///
/// # Errors
/// [`DbError`].
pub async fn insert_pending(tx: &mut TenantTx, new: &NewTotpFactor<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.totp_factors WHERE tenant_id = $1 AND user_id = $2 AND state = 'pending'",
        tenant,
        new.user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    sqlx::query!(
        "INSERT INTO auth.totp_factors (tenant_id, id, user_id, secret_enc, key_version) VALUES ($1, $2, $3, $4, $5)",
        tenant,
        new.id.uuid(),
        new.user.uuid(),
        new.secret_enc,
        new.key_version
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// The user's enrolment that waits for its first code, if it began after `since`.
///
/// # Errors
/// [`DbError`].
pub async fn find_pending(tx: &mut TenantTx, user: UserId, since: DateTime<Utc>) -> Result<Option<FactorId>, DbError> {
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        "SELECT id FROM auth.totp_factors WHERE tenant_id = $1 AND user_id = $2 AND state = 'pending' AND created_at > $3",
        tenant,
        user.uuid(),
        since
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(id.map(FactorId::from))
}

/// The user's authenticator app.
///
/// # Errors
/// [`DbError`].
pub async fn find_active(tx: &mut TenantTx, user: UserId) -> Result<Option<FactorId>, DbError> {
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        "SELECT id FROM auth.totp_factors WHERE tenant_id = $1 AND user_id = $2 AND state = 'active'",
        tenant,
        user.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(id.map(FactorId::from))
}

/// Makes a pending enrolment the user's authenticator app, in place of the one before; `step` is that of the code which proved
/// it. False if it is pending no more.
///
/// # Errors
/// [`DbError`].
pub async fn confirm(tx: &mut TenantTx, user: UserId, id: FactorId, step: i64) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.totp_factors f WHERE f.tenant_id = $1 AND f.user_id = $2 AND f.state = 'active'
           AND EXISTS (SELECT FROM auth.totp_factors p
                       WHERE p.tenant_id = $1 AND p.user_id = $2 AND p.id = $3 AND p.state = 'pending')",
        tenant,
        user.uuid(),
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    let result = sqlx::query!(
        "UPDATE auth.totp_factors SET state = 'active', confirmed_at = clock_timestamp(), last_step = $4
         WHERE tenant_id = $1 AND user_id = $2 AND id = $3 AND state = 'pending'",
        tenant,
        user.uuid(),
        id.uuid(),
        step
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Uses up the code of a step, by compare-and-set: of any number of callers with one code one gets true, and a code of an
/// earlier step than the last one used is dead (RFC 6238 §5.2).
///
/// # Errors
/// [`DbError`].
pub async fn use_step(tx: &mut TenantTx, id: FactorId, step: i64) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.totp_factors SET last_step = $3
         WHERE tenant_id = $1 AND id = $2 AND state = 'active' AND last_step < $3",
        tenant,
        id.uuid(),
        step
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Forgets the user's authenticator app; returns its id if there was one. A pending enrolment goes too.
///
/// # Errors
/// [`DbError`].
pub async fn delete(tx: &mut TenantTx, user: UserId) -> Result<Option<FactorId>, DbError> {
    delete_pending(tx, user).await?;
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        "DELETE FROM auth.totp_factors WHERE tenant_id = $1 AND user_id = $2 RETURNING id",
        tenant,
        user.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(id.map(FactorId::from))
}

/// Forgets the user's enrolment that was not confirmed: another factor came first.
///
/// # Errors
/// [`DbError`].
pub async fn delete_pending(tx: &mut TenantTx, user: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "DELETE FROM auth.totp_factors WHERE tenant_id = $1 AND user_id = $2 AND state = 'pending'",
        tenant,
        user.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// A secret as stored.
#[derive(Debug)]
pub struct SealedSecret {
    /// The envelope.
    pub sealed: Vec<u8>,
    /// Version of the data key that sealed it.
    pub key_version: i32,
}

/// The secret of a factor; needs [`TenantTx::begin_secrets`].
///
/// # Errors
/// [`DbError`].
pub async fn find_secret(tx: &mut TenantTx, id: FactorId) -> Result<Option<SealedSecret>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        SealedSecret,
        "SELECT secret_enc AS sealed, key_version FROM auth.totp_factors WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}
