//! Wrapped data keys: `platform.data_keys`. `app_rw` adds, `app_secrets` reads.

use super::error::DbError;
use super::tx::TenantTx;

/// A data key, still wrapped.
#[derive(Debug, Clone)]
pub struct DataKeyRow {
    /// Version, from 1.
    pub version: i32,
    /// The key under the master key; none = destroyed.
    pub wrapped: Option<Vec<u8>>,
}

/// Adds a data key.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, version: i32, wrapped: &[u8], fingerprint: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO platform.data_keys (tenant_id, version, wrapped, master_fingerprint) VALUES ($1, $2, $3, $4)",
        tenant,
        version,
        wrapped,
        fingerprint
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// All data keys of the transaction's tenant; needs [`TenantTx::begin_secrets`].
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx) -> Result<Vec<DataKeyRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        DataKeyRow,
        "SELECT version, wrapped FROM platform.data_keys WHERE tenant_id = $1 ORDER BY version",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}
