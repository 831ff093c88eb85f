//! The clock: the only caller of `now`, and so of everything that reads the time, such as UUIDv7.

use std::sync::OnceLock;
use std::time::Instant;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The present moment.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Seconds since 1970, for tokens.
#[must_use]
pub fn now_s() -> i64 {
    now().timestamp()
}

/// Nanoseconds since the process first asked, from a clock that never goes back: for limits and latencies.
#[must_use]
pub fn monotonic_ns() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let elapsed = ORIGIN.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// A new UUIDv7, as one of the id types.
#[must_use]
pub fn new_id<T: From<Uuid>>() -> T {
    Uuid::now_v7().into()
}
