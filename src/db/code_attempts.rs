//! How many codes were tried for a user lately: `auth.code_attempts`.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::factor::{CODE_WINDOW_S, CodePurpose, MAX_CODES};
use crate::domain::ids::UserId;

/// Counts an attempt before it is looked at; the error value is the number of seconds until the next one is let through.
///
/// # Errors
/// [`DbError`].
pub async fn claim(tx: &mut TenantTx, user: UserId, purpose: CodePurpose) -> Result<Result<(), u64>, DbError> {
    let tenant = tx.tenant().uuid();
    let claimed = sqlx::query_scalar!(
        "INSERT INTO auth.code_attempts AS a (tenant_id, user_id, purpose) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, user_id, purpose) DO UPDATE
             SET n = CASE WHEN a.window_began > clock_timestamp() - $4::bigint * interval '1 second' THEN a.n + 1 ELSE 1 END,
                 window_began = CASE WHEN a.window_began > clock_timestamp() - $4::bigint * interval '1 second'
                                     THEN a.window_began ELSE clock_timestamp() END
             WHERE a.n < $5 OR a.window_began <= clock_timestamp() - $4::bigint * interval '1 second'
         RETURNING a.n",
        tenant,
        user.uuid(),
        purpose.as_str(),
        CODE_WINDOW_S,
        MAX_CODES
    )
    .fetch_optional(tx.connection()?)
    .await?;
    if claimed.is_some() {
        return Ok(Ok(()));
    }
    let left_s = sqlx::query_scalar!(
        r#"SELECT ceil(extract(epoch FROM window_began - clock_timestamp()))::bigint + $4::bigint AS "left_s!"
           FROM auth.code_attempts WHERE tenant_id = $1 AND user_id = $2 AND purpose = $3"#,
        tenant,
        user.uuid(),
        purpose.as_str(),
        CODE_WINDOW_S
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(Err(left_s.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0).max(1)))
}

/// Takes an attempt back that turned out right: only wrong codes count.
///
/// # Errors
/// [`DbError`].
pub async fn forgive(tx: &mut TenantTx, user: UserId, purpose: CodePurpose) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.code_attempts SET n = greatest(n - 1, 0) WHERE tenant_id = $1 AND user_id = $2 AND purpose = $3",
        tenant,
        user.uuid(),
        purpose.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
