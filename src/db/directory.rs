//! The directory: which tenant a slug or id means, before a tenant is known.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::SystemTx;
use crate::domain::ids::TenantId;

/// What the directory knows of a tenant: nothing personal.
#[derive(Debug, Clone)]
pub struct DirectoryRow {
    /// Its id.
    pub tenant_id: Uuid,
    /// Its subdomain.
    pub slug: String,
    /// Its region.
    pub region: String,
    /// The database cluster that holds it.
    pub cell: String,
    /// Its state.
    pub state: String,
    /// Version of its configuration.
    pub config_version: i64,
    /// When it was onboarded.
    pub created_at: DateTime<Utc>,
}

/// The tenant with this subdomain.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_slug(tx: &SystemTx<'_>, slug: &str) -> Result<Option<TenantId>, DbError> {
    let id = sqlx::query_scalar!("SELECT platform.find_tenant_by_slug($1)", slug).fetch_one(tx.pool).await?;
    Ok(id.map(TenantId::from))
}

/// The tenant that has proved this host.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_host(tx: &SystemTx<'_>, host: &str) -> Result<Option<TenantId>, DbError> {
    let id = sqlx::query_scalar!("SELECT platform.find_tenant_by_host($1)", host).fetch_one(tx.pool).await?;
    Ok(id.map(TenantId::from))
}

/// The tenant with this id, if there is one.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_id(tx: &SystemTx<'_>, id: TenantId) -> Result<Option<TenantId>, DbError> {
    let id = sqlx::query_scalar!("SELECT platform.find_tenant_by_id($1)", id.uuid()).fetch_one(tx.pool).await?;
    Ok(id.map(TenantId::from))
}

/// Up to `n` tenants after a slug, in the order of slugs.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &SystemTx<'_>, after: &str, state: Option<&str>, n: i64) -> Result<Vec<DirectoryRow>, DbError> {
    let rows = sqlx::query_as!(
        DirectoryRow,
        r#"SELECT tenant_id AS "tenant_id!", slug AS "slug!", region AS "region!", cell AS "cell!", state AS "state!",
                  config_version AS "config_version!", created_at AS "created_at!"
           FROM platform.list_directory($1, $2, $3)"#,
        after,
        state,
        n
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows)
}
