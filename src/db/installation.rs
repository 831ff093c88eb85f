//! The one row that says which master key this installation was begun with.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::error::DbError;
use super::pool::Db;

/// The recorded fingerprint, asked as administrator before anything is changed; `None` where nothing was begun yet.
///
/// # Errors
/// [`DbError`].
pub async fn peek_fingerprint(admin: &PgConnectOptions) -> Result<Option<String>, DbError> {
    let mut connection = match admin.connect().await {
        Ok(connection) => connection,
        // The database itself is not there yet (3D000, invalid_catalog_name).
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000") => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let table: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('platform.installation')::text").fetch_one(&mut connection).await?;
    let fingerprint = match table {
        None => None,
        Some(_) => {
            sqlx::query_scalar("SELECT master_fingerprint FROM platform.installation")
                .fetch_optional(&mut connection)
                .await?
        }
    };
    connection.close().await?;
    Ok(fingerprint)
}

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
