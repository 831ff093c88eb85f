//! The documents of invoices, made once: `billing.invoice_files`.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::InvoiceId;

/// The document, if it was made.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: InvoiceId) -> Result<Option<Vec<u8>>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "SELECT pdf FROM billing.invoice_files WHERE tenant_id = $1 AND invoice_id = $2",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Keeps a document, unless one is kept, and returns the one that is.
///
/// # Errors
/// [`DbError`].
pub async fn insert_or_find(tx: &mut TenantTx, id: InvoiceId, pdf: &[u8], sha256: &[u8]) -> Result<Vec<u8>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO billing.invoice_files (tenant_id, invoice_id, pdf, sha256) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, invoice_id) DO NOTHING",
        tenant,
        id.uuid(),
        pdf,
        sha256
    )
    .execute(tx.connection()?)
    .await?;
    find(tx, id).await?.ok_or(DbError::Corrupt("invoice_files"))
}
