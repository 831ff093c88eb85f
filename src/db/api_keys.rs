//! API keys: `auth.api_keys`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::api_key::{ApiKey, ApiKeyHash, ApiKeyName, MAX_LIVE_KEYS};
use crate::domain::ids::{ApiKeyId, UserId};
use crate::domain::scope::Scope;

/// A key to be.
#[derive(Debug)]
pub struct NewApiKey<'a> {
    /// Id.
    pub id: ApiKeyId,
    /// Name.
    pub name: &'a ApiKeyName,
    /// Hash of its text.
    pub hash: ApiKeyHash,
    /// What it may do.
    pub scopes: &'a [Scope],
    /// Who makes it.
    pub created_by: UserId,
    /// Refused from then on.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key as its tenant's admins see it.
#[derive(Debug, Clone)]
pub struct ApiKeyRow {
    /// Id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Who made it.
    pub created_by: Uuid,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Refused from then on.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, up to a minute late.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Adds a key; returns when, or `None` if the tenant has as many live keys as it may. Two callers at once wait for each other,
/// so that they do not both take the last place.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewApiKey<'_>) -> Result<Option<DateTime<Utc>>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("SELECT tenant_id FROM platform.tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant)
        .fetch_one(tx.connection()?)
        .await?;
    let scopes: Vec<String> = new.scopes.iter().map(Scope::to_string).collect();
    Ok(sqlx::query_scalar!(
        "INSERT INTO auth.api_keys (tenant_id, id, name, secret_hash, scopes, created_by, expires_at)
         SELECT $1, $2, $3, $4, $5, $6, $7
         WHERE (SELECT count(*) FROM auth.api_keys
                WHERE tenant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) < $8
         RETURNING created_at",
        tenant,
        new.id.uuid(),
        new.name.as_str(),
        new.hash.as_slice(),
        &scopes,
        new.created_by.uuid(),
        new.expires_at,
        max_live_keys()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

fn max_live_keys() -> i64 {
    i64::try_from(MAX_LIVE_KEYS).unwrap_or(i64::MAX)
}

/// Keys that were neither revoked nor have run out, with the hashes of their texts.
///
/// # Errors
/// [`DbError`].
pub async fn list_live(tx: &mut TenantTx) -> Result<Vec<(ApiKeyHash, ApiKey)>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT id, secret_hash, scopes, created_by, expires_at FROM auth.api_keys
         WHERE tenant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
         ORDER BY id LIMIT $2",
        tenant,
        max_live_keys()
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let hash = ApiKeyHash::try_from(row.secret_hash.as_slice())
                .map_err(|_length: std::array::TryFromSliceError| DbError::Corrupt("api_keys.secret_hash"))?;
            let key = ApiKey {
                id: row.id.into(),
                created_by: row.created_by.into(),
                // A scope that only a newer version knows permits nothing here.
                scopes: row.scopes.iter().filter_map(|text| Scope::parse(text).ok()).collect(),
                expires_at: row.expires_at,
            };
            Ok((hash, key))
        })
        .collect()
}

/// A page of the keys that were not revoked, oldest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, after: Option<ApiKeyId>, limit: i64) -> Result<Vec<ApiKeyRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        ApiKeyRow,
        "SELECT id, name, scopes, created_by, created_at, expires_at, last_used_at FROM auth.api_keys
         WHERE tenant_id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
        tenant,
        after.map(ApiKeyId::uuid),
        limit
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Revokes a key; returns its name, or `None` if there is no such key (any more). Every node hears of it by the config log.
///
/// # Errors
/// [`DbError`].
pub async fn revoke(tx: &mut TenantTx, id: ApiKeyId, by: UserId) -> Result<Option<String>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "UPDATE auth.api_keys SET revoked_at = now(), revoked_by = $3
         WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL RETURNING name",
        tenant,
        id.uuid(),
        by.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Writes down when keys were last used. A time that is older than the one stored changes nothing.
///
/// # Errors
/// [`DbError`].
pub async fn record_uses(tx: &mut TenantTx, uses: &[(ApiKeyId, DateTime<Utc>)]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let (ids, times): (Vec<Uuid>, Vec<DateTime<Utc>>) = uses.iter().map(|(id, at)| (id.uuid(), *at)).unzip();
    sqlx::query!(
        "UPDATE auth.api_keys AS k SET last_used_at = u.at
         FROM unnest($2::uuid[], $3::timestamptz[]) AS u (id, at)
         WHERE k.tenant_id = $1 AND k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at)",
        tenant,
        &ids,
        &times
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Revokes the keys that a user made; returns them. `by` is who does it: a user, or the provider's token.
///
/// # Errors
/// [`DbError`].
pub async fn revoke_made_by(tx: &mut TenantTx, user: UserId, by: Uuid) -> Result<Vec<ApiKeyId>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "UPDATE auth.api_keys SET revoked_at = now(), revoked_by = $3
         WHERE tenant_id = $1 AND created_by = $2 AND revoked_at IS NULL RETURNING id",
        tenant,
        user.uuid(),
        by
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(ids.into_iter().map(ApiKeyId::from).collect())
}
