//! How many codes were tried for a user lately: `auth.code_attempts`.

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::factor::{CODE_WINDOW_S, CodePurpose, MAX_CODE_DOUBLINGS, MAX_CODES};
use crate::domain::ids::UserId;

/// Counts an attempt before it is looked at; returns how many there are in this window now. The error value is the number of seconds
/// until the next one is let through.
///
/// # Errors
/// [`DbError`].
pub async fn claim(tx: &mut TenantTx, user: UserId, purpose: CodePurpose) -> Result<Result<i32, u64>, DbError> {
    let tenant = tx.tenant().uuid();
    let claimed = sqlx::query_scalar!(
        "INSERT INTO auth.code_attempts AS a (tenant_id, user_id, purpose) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, user_id, purpose) DO UPDATE
             SET (n, n_filled, window_began) = (
                 SELECT CASE WHEN w.is_open THEN a.n + 1 ELSE 1 END,
                        CASE WHEN w.is_open OR a.n < $5 THEN a.n_filled ELSE least(a.n_filled + 1, 1000) END,
                        CASE WHEN w.is_open THEN a.window_began ELSE clock_timestamp() END
                 FROM (SELECT a.window_began > clock_timestamp()
                              - $4::bigint * (1 << least(a.n_filled, $6)) * interval '1 second' AS is_open) w)
             WHERE a.n < $5
                   OR a.window_began <= clock_timestamp() - $4::bigint * (1 << least(a.n_filled, $6)) * interval '1 second'
         RETURNING a.n",
        tenant,
        user.uuid(),
        purpose.as_str(),
        CODE_WINDOW_S,
        MAX_CODES,
        MAX_CODE_DOUBLINGS
    )
    .fetch_optional(tx.connection()?)
    .await?;
    if let Some(n) = claimed {
        return Ok(Ok(n));
    }
    let left_s = sqlx::query_scalar!(
        r#"SELECT ceil(extract(epoch FROM window_began - clock_timestamp()))::bigint
                  + $4::bigint * (1 << least(n_filled, $5)) AS "left_s!"
           FROM auth.code_attempts WHERE tenant_id = $1 AND user_id = $2 AND purpose = $3"#,
        tenant,
        user.uuid(),
        purpose.as_str(),
        CODE_WINDOW_S,
        MAX_CODE_DOUBLINGS
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(Err(left_s.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0).max(1)))
}

/// Takes an attempt back that turned out right: only wrong codes count. Windows are of the first length again.
///
/// # Errors
/// [`DbError`].
pub async fn forgive(tx: &mut TenantTx, user: UserId, purpose: CodePurpose) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE auth.code_attempts SET n = greatest(n - 1, 0), n_filled = 0
         WHERE tenant_id = $1 AND user_id = $2 AND purpose = $3",
        tenant,
        user.uuid(),
        purpose.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
