//! Tenants: `platform.tenants`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::tenant::{Slug, Tenant, TenantConfig, TenantName, TenantState};

struct TenantRow {
    tenant_id: Uuid,
    slug: String,
    name: String,
    region: String,
    plan: String,
    state: String,
    epoch: i64,
    config: Value,
    config_version: i64,
    created_at: DateTime<Utc>,
    delete_after: Option<DateTime<Utc>>,
}

impl TryFrom<TenantRow> for Tenant {
    type Error = DbError;

    fn try_from(row: TenantRow) -> Result<Self, DbError> {
        let TenantRow {
            tenant_id,
            slug,
            name,
            region,
            plan,
            state,
            epoch,
            config,
            config_version,
            created_at,
            delete_after,
        } = row;
        Ok(Self {
            id: tenant_id.into(),
            slug: Slug::parse(&slug)
                .map_err(|_slug: crate::domain::tenant::TenantError| DbError::Corrupt("tenants.slug"))?,
            name,
            region,
            plan,
            state: TenantState::parse(&state).ok_or(DbError::Corrupt("tenants.state"))?,
            epoch,
            config: serde_json::from_value::<TenantConfig>(config)
                .map_err(|_json: serde_json::Error| DbError::Corrupt("tenants.config"))?,
            config_version,
            created_at,
            delete_after,
        })
    }
}

/// The transaction's tenant; `None` if it is not there (any more).
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx) -> Result<Option<Tenant>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        TenantRow,
        "SELECT tenant_id, slug, name, region, plan, state, epoch, config, config_version, created_at, delete_after
         FROM platform.tenants WHERE tenant_id = $1",
        tenant
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(Tenant::try_from)
    .transpose()
}

/// A tenant to be.
#[derive(Debug)]
pub struct NewTenant<'a> {
    /// Its subdomain.
    pub slug: &'a Slug,
    /// Its display name.
    pub name: &'a TenantName,
    /// Where its data lives.
    pub region: &'a str,
    /// Name of its plan.
    pub plan: &'a str,
}

/// Inserts the transaction's tenant. A taken subdomain violates `directory_slug_key`.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewTenant<'_>) -> Result<DateTime<Utc>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan) VALUES ($1, $2, $3, $4, $5) RETURNING created_at",
        tenant,
        new.slug.as_str(),
        new.name.as_str(),
        new.region,
        new.plan
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Changes name and region where given; returns the version after.
///
/// # Errors
/// [`DbError`].
pub async fn update(tx: &mut TenantTx, name: Option<&TenantName>, region: Option<&str>) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "UPDATE platform.tenants SET name = coalesce($2, name), region = coalesce($3, region),
                config_version = config_version + 1, updated_at = now()
         WHERE tenant_id = $1 RETURNING config_version",
        tenant,
        name.map(TenantName::as_str),
        region
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Replaces the configuration if it is still at `version`; returns the version after, `None` if it had moved on.
///
/// # Errors
/// [`DbError`].
pub async fn replace_config(tx: &mut TenantTx, version: i64, config: &Value) -> Result<Option<i64>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "UPDATE platform.tenants SET config = $3, config_version = config_version + 1, updated_at = now()
         WHERE tenant_id = $1 AND config_version = $2 RETURNING config_version",
        tenant,
        version,
        config
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Name of the transaction's tenant's plan, as it is committed; `None` if the tenant is not there (any more).
///
/// # Errors
/// [`DbError`].
pub async fn find_plan(tx: &mut TenantTx) -> Result<Option<String>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!("SELECT plan FROM platform.tenants WHERE tenant_id = $1", tenant)
        .fetch_optional(tx.connection()?)
        .await?)
}

/// Locks the tenant's row until the transaction's end; returns its plan, and since when it is there. Whatever belongs to the tenant is
/// locked after it.
///
/// # Errors
/// [`DbError`].
pub async fn lock_plan(tx: &mut TenantTx) -> Result<LockedTenant, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "SELECT plan, slug, created_at FROM platform.tenants WHERE tenant_id = $1 FOR NO KEY UPDATE",
        tenant
    )
    .fetch_one(tx.connection()?)
    .await?;
    let slug =
        Slug::parse(&row.slug).map_err(|_slug: crate::domain::tenant::TenantError| DbError::Corrupt("tenants.slug"))?;
    Ok(LockedTenant { plan: row.plan, slug, created_at: row.created_at })
}

/// A tenant whose row is locked.
#[derive(Debug)]
pub struct LockedTenant {
    /// Name of its plan.
    pub plan: String,
    /// Its subdomain.
    pub slug: Slug,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Writes down the name of the tenant's plan, and has every node read the tenant again; returns the version of its configuration
/// then.
///
/// # Errors
/// [`DbError`].
pub async fn set_plan(tx: &mut TenantTx, plan: &str) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "UPDATE platform.tenants SET plan = $2, config_version = config_version + 1, updated_at = now()
         WHERE tenant_id = $1 RETURNING config_version",
        tenant,
        plan
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Moves the tenant to a state, if it is in one of `from`. Raises the epoch, so that every token issued before dies.
/// Returns whether it moved.
///
/// # Errors
/// [`DbError`].
pub async fn set_state(
    tx: &mut TenantTx,
    from: &[TenantState],
    to: TenantState,
    delete_after: Option<DateTime<Utc>>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let from: Vec<String> = from.iter().map(|state| state.as_str().to_owned()).collect();
    let result = sqlx::query!(
        "UPDATE platform.tenants SET state = $3, delete_after = $4, epoch = epoch + 1,
                config_version = config_version + 1, updated_at = now()
         WHERE tenant_id = $1 AND state = ANY($2)",
        tenant,
        &from,
        to.as_str(),
        delete_after
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}
