//! The one row that says which master key this installation was begun with.

use super::error::DbError;
use super::pool::Db;

/// Records the fingerprint on first use, and returns the one that is recorded.
///
/// # Errors
/// [`DbError`].
pub async fn claim_fingerprint(db: &Db, fingerprint: &str) -> Result<String, DbError> {
    sqlx::query!(
        "INSERT INTO platform.installation (master_fingerprint) VALUES ($1) ON CONFLICT (only_row) DO NOTHING",
        fingerprint
    )
    .execute(&db.secrets)
    .await?;
    Ok(sqlx::query_scalar!("SELECT master_fingerprint FROM platform.installation").fetch_one(&db.secrets).await?)
}
