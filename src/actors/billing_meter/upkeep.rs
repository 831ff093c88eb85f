//! Looking after the tables of usage: months ahead, months too old, keys that nobody may send again.

use chrono::TimeDelta;

use crate::clock;
use crate::db::{Db, DbError, SystemReason, SystemTx, usage_upkeep};

/// Months of events that are made ahead.
const MONTHS_AHEAD: i32 = 3;
/// Keys that are deleted at once.
const KEYS_AT_ONCE: i64 = 10_000;

/// Makes sure that events of now and of the next months have a place; returns how many months were made.
///
/// # Errors
/// [`DbError`].
pub async fn make_months(db: &Db) -> Result<u64, DbError> {
    let system = SystemTx::new(db, SystemReason::KeepUsage);
    Ok(count(usage_upkeep::make_partitions(&system, MONTHS_AHEAD).await?))
}

/// Makes months ahead, and drops those that lie more than `kept` months back; returns how many were made or dropped. The figures of
/// hours and periods stay.
///
/// # Errors
/// [`DbError`].
pub async fn keep_months(db: &Db, kept: u32) -> Result<u64, DbError> {
    let n_made = make_months(db).await?;
    let system = SystemTx::new(db, SystemReason::KeepUsage);
    let n_dropped = usage_upkeep::drop_partitions(&system, i32::try_from(kept).unwrap_or(i32::MAX)).await?;
    Ok(n_made + count(n_dropped))
}

/// Deletes keys of events that came in over `days` days ago; returns how many.
///
/// # Errors
/// [`DbError`]. What was deleted before it stays deleted.
pub async fn forget_keys(db: &Db, days: u32) -> Result<u64, DbError> {
    let system = SystemTx::new(db, SystemReason::KeepUsage);
    let before = clock::now() - TimeDelta::days(i64::from(days));
    let mut n_forgotten = 0;
    loop {
        let n = usage_upkeep::forget_keys(&system, before, KEYS_AT_ONCE).await?;
        n_forgotten += n.unsigned_abs();
        if n < KEYS_AT_ONCE {
            return Ok(n_forgotten);
        }
    }
}

fn count(n: i32) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
