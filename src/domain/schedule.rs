//! When jobs run: at whole multiples of a period since 1970, so that every process names the same slots.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Once in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    every_ms: i64,
}

impl Schedule {
    /// Once in each `every`; less than a millisecond counts as one.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self { every_ms: i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1) }
    }

    /// The length of a period.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_millis(self.every_ms.unsigned_abs())
    }

    /// The slot that `now` lies in: its first instant.
    #[must_use]
    pub fn slot(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let now_ms = now.timestamp_millis();
        DateTime::from_timestamp_millis(now_ms - now_ms.rem_euclid(self.every_ms)).unwrap_or(now)
    }

    /// The slot after that.
    #[must_use]
    pub fn next(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let next_ms = self.slot(now).timestamp_millis().saturating_add(self.every_ms);
        DateTime::from_timestamp_millis(next_ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instant_lies_in_one_slot(now_ms in 0_i64..4_000_000_000_000, every_ms in 1_u64..10_000_000_000) {
            let schedule = Schedule::every(Duration::from_millis(every_ms));
            let now = DateTime::from_timestamp_millis(now_ms).expect("in range");
            let (slot, next) = (schedule.slot(now), schedule.next(now));
            prop_assert!(slot <= now && now < next);
            prop_assert_eq!(schedule.slot(next), next);
            prop_assert_eq!(schedule.next(slot), next);
        }
    }
}
