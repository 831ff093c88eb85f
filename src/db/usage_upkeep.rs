//! Upkeep of usage events over all tenants: months made ahead and dropped, keys forgotten.

use chrono::{DateTime, Utc};

use super::error::DbError;
use super::tx::SystemTx;

/// Sees to it that this month and the `n_ahead` (0 to 24) after it can take usage events; returns how many months were made.
/// May be repeated, and by several processes at once.
///
/// # Errors
/// [`DbError`].
pub async fn make_partitions(tx: &SystemTx<'_>, n_ahead: i32) -> Result<i32, DbError> {
    let made = sqlx::query_scalar!(r#"SELECT billing.make_usage_partitions($1) AS "n!""#, n_ahead);
    Ok(made.fetch_one(tx.pool).await?)
}

/// Drops the events of months that lie more than `n_months` (at least 3) back; returns how many months. The figures of hours
/// and periods stay. May be repeated.
///
/// # Errors
/// [`DbError`]; [`DbError::Timeout`] if those who write did not make way within two seconds.
pub async fn drop_partitions(tx: &SystemTx<'_>, n_months: i32) -> Result<i32, DbError> {
    let dropped = sqlx::query_scalar!(r#"SELECT billing.drop_usage_partitions($1) AS "n!""#, n_months);
    Ok(dropped.fetch_one(tx.pool).await?)
}

/// Forgets up to `n` keys of events that came in before `before`; returns how many. Fewer than `n` means that none is left. An
/// event whose key is forgotten must be too old to be taken in again.
///
/// # Errors
/// [`DbError`].
pub async fn forget_keys(tx: &SystemTx<'_>, before: DateTime<Utc>, n: i64) -> Result<i64, DbError> {
    let forgotten = sqlx::query_scalar!(r#"SELECT billing.forget_usage_keys($1, $2) AS "n!""#, before, n);
    Ok(forgotten.fetch_one(tx.pool).await?)
}
