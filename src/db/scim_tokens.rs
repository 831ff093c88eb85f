//! Tokens of tenants' identity providers: `auth.scim_tokens`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::api_key::{ApiKeyHash, ApiKeyName};
use crate::domain::identity::Role;
use crate::domain::ids::{ScimTokenId, UserId};
use crate::domain::scim::token::{MAX_LIVE_TOKENS, ScimToken};

/// A token to be.
#[derive(Debug)]
pub struct NewScimToken<'a> {
    /// Id.
    pub id: ScimTokenId,
    /// Name.
    pub name: &'a ApiKeyName,
    /// Hash of its text.
    pub hash: ApiKeyHash,
    /// Rank of who makes it.
    pub rank: Role,
    /// Who makes it.
    pub created_by: UserId,
}

/// A token as its tenant's admins see it.
#[derive(Debug, Clone)]
pub struct ScimTokenRow {
    /// Id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Rank of who made it.
    pub rank: String,
    /// Who made it.
    pub created_by: Uuid,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last used, up to a minute late.
    pub last_used_at: Option<DateTime<Utc>>,
}

fn max_live_tokens() -> i64 {
    i64::try_from(MAX_LIVE_TOKENS).unwrap_or(i64::MAX)
}

/// Adds a token; returns when, or `None` if the tenant has as many as it may. Two callers at once wait for each other.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewScimToken<'_>) -> Result<Option<DateTime<Utc>>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM platform.tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    Ok(sqlx::query_scalar!(
        "INSERT INTO auth.scim_tokens (tenant_id, id, name, secret_hash, rank, created_by)
         SELECT $1, $2, $3, $4, $5, $6
         WHERE (SELECT count(*) FROM auth.scim_tokens WHERE tenant_id = $1 AND revoked_at IS NULL) < $7
         RETURNING created_at",
        tenant,
        new.id.uuid(),
        new.name.as_str(),
        new.hash.as_slice(),
        new.rank.as_str(),
        new.created_by.uuid(),
        max_live_tokens()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Tokens that were not revoked, with the hashes of their texts.
///
/// # Errors
/// [`DbError`].
pub async fn list_live(tx: &mut TenantTx) -> Result<Vec<(ApiKeyHash, ScimToken)>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT id, secret_hash, rank FROM auth.scim_tokens WHERE tenant_id = $1 AND revoked_at IS NULL
         ORDER BY id LIMIT $2",
        tenant,
        max_live_tokens()
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let hash = ApiKeyHash::try_from(row.secret_hash.as_slice())
                .map_err(|_length: std::array::TryFromSliceError| DbError::Corrupt("scim_tokens.secret_hash"))?;
            let rank = Role::parse(&row.rank).ok_or(DbError::Corrupt("scim_tokens.rank"))?;
            Ok((hash, ScimToken { id: row.id.into(), rank }))
        })
        .collect()
}

/// The tokens that were not revoked, oldest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<ScimTokenRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        ScimTokenRow,
        "SELECT id, name, rank, created_by, created_at, last_used_at FROM auth.scim_tokens
         WHERE tenant_id = $1 AND revoked_at IS NULL ORDER BY id",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Revokes a token; returns its name, or `None` if there is no such token (any more). Every node hears of it by the config log.
///
/// # Errors
/// [`DbError`].
pub async fn revoke(tx: &mut TenantTx, id: ScimTokenId, by: UserId) -> Result<Option<String>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "UPDATE auth.scim_tokens SET revoked_at = now(), revoked_by = $3
         WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING name",
        tenant,
        id.uuid(),
        by.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Writes down when tokens were last used. A time that is older than the one stored changes nothing.
///
/// # Errors
/// [`DbError`].
pub async fn record_uses(tx: &mut TenantTx, uses: &[(ScimTokenId, DateTime<Utc>)]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = uses.iter().map(|(id, at)| (id.uuid(), *at)).unzip();
    sqlx::query!(
        "UPDATE auth.scim_tokens AS t SET last_used_at = u.at
         FROM unnest($2::uuid[], $3::timestamptz[]) AS u (id, at)
         WHERE t.tenant_id = $1 AND t.id = u.id AND (t.last_used_at IS NULL OR t.last_used_at < u.at)",
        tenant,
        &ids,
        &times
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
