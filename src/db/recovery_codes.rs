//! Recovery codes: `auth.recovery_codes`, as hashes.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::UserId;
use crate::domain::recovery_code::CodeHash;

/// Puts a new set in place of the user's codes.
///
/// # Errors
/// [`DbError`].
pub async fn replace(tx: &mut TenantTx, user: UserId, hashes: &[CodeHash]) -> Result<(), DbError> {
    delete_all(tx, user).await?;
    let tenant = tx.tenant().uuid();
    let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
    sqlx::query!(
        "INSERT INTO auth.recovery_codes (tenant_id, user_id, code_hash) SELECT $1, $2, unnest($3::bytea[])",
        tenant,
        user.uuid(),
        &hashes
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Forgets the user's codes.
///
/// # Errors
/// [`DbError`].
pub async fn delete_all(tx: &mut TenantTx, user: UserId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("DELETE FROM auth.recovery_codes WHERE tenant_id = $1 AND user_id = $2", tenant, user.uuid())
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// Uses up a code: of any number of callers with one code one gets true.
///
/// # Errors
/// [`DbError`].
pub async fn use_up(tx: &mut TenantTx, user: UserId, hash: &CodeHash) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.recovery_codes SET used_at = clock_timestamp()
         WHERE tenant_id = $1 AND user_id = $2 AND code_hash = $3 AND used_at IS NULL",
        tenant,
        user.uuid(),
        hash.as_slice()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// How many of the user's codes are left.
///
/// # Errors
/// [`DbError`].
pub async fn count_unused(tx: &mut TenantTx, user: UserId) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM auth.recovery_codes WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL"#,
        tenant,
        user.uuid()
    )
    .fetch_one(tx.connection()?)
    .await?)
}
