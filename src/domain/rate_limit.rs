//! Rate limits by the generic cell rate algorithm (GCRA, ITU-T I.371): one number of state, no windows to jump at.

use std::time::Duration;

/// So many requests in a period, all of which may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePolicy {
    limit: u32,
    period_ns: u64,
}

impl RatePolicy {
    /// `limit` (at least 1) requests a minute.
    #[must_use]
    pub fn per_minute(limit: u32) -> Self {
        Self { limit: limit.max(1), period_ns: 60_000_000_000 }
    }

    /// The number of requests.
    #[must_use]
    pub fn limit(self) -> u32 {
        self.limit
    }

    /// The period.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_nanos(self.period_ns)
    }

    /// Decides about one request at `now_ns`, given the theoretical arrival time `tat_ns` that the last allowed request
    /// left behind (0 at first). Both count from the same origin. A refusal changes nothing: refused requests do not count.
    #[must_use]
    pub fn take(self, tat_ns: u64, now_ns: u64) -> Decision {
        self.take_many(1, tat_ns, now_ns)
    }

    /// The same for `n` requests that pass or are refused together. More than the limit never pass.
    #[must_use]
    pub fn take_many(self, n: u32, tat_ns: u64, now_ns: u64) -> Decision {
        let increment = self.period_ns / u64::from(self.limit);
        let tat = tat_ns.max(now_ns);
        let next = tat.saturating_add(increment.saturating_mul(u64::from(n)));
        let earliest = next.saturating_sub(self.period_ns);
        if earliest > now_ns {
            return Decision::Refused { retry_after: Duration::from_nanos(earliest - now_ns) };
        }
        let room = (now_ns + self.period_ns).saturating_sub(next) / increment;
        let reset = Duration::from_nanos(next - now_ns);
        Decision::Allowed { tat_ns: next, remaining: u32::try_from(room).unwrap_or(u32::MAX), reset }
    }
}

/// What [`RatePolicy::take`] decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The request may pass.
    Allowed {
        /// State to keep.
        tat_ns: u64,
        /// Requests that could follow at once.
        remaining: u32,
        /// Time until the whole limit is free again.
        reset: Duration,
    },
    /// The request is over the limit.
    Refused {
        /// Time until as many requests are free again.
        retry_after: Duration,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn run(policy: RatePolicy, times: &[u64]) -> Vec<bool> {
        let mut tat = 0;
        times
            .iter()
            .map(|now| match policy.take(tat, *now) {
                Decision::Allowed { tat_ns, .. } => {
                    tat = tat_ns;
                    true
                }
                Decision::Refused { .. } => false,
            })
            .collect()
    }

    #[test]
    fn the_whole_limit_may_come_at_once_and_no_more() {
        let allowed = run(RatePolicy::per_minute(10), &[5 * SECOND; 12]);
        assert_eq!(allowed.iter().filter(|allowed| **allowed).count(), 10);
    }

    #[test]
    fn remaining_counts_down_to_nought() {
        let policy = RatePolicy::per_minute(3);
        let mut tat = 0;
        let mut seen = Vec::new();
        for _ in 0..3 {
            if let Decision::Allowed { tat_ns, remaining, .. } = policy.take(tat, SECOND) {
                tat = tat_ns;
                seen.push(remaining);
            }
        }
        assert_eq!(seen, [2, 1, 0]);
    }

    #[test]
    fn retry_after_is_long_enough_and_not_longer() {
        let policy = RatePolicy::per_minute(60);
        let mut tat = 0;
        while let Decision::Allowed { tat_ns, .. } = policy.take(tat, 0) {
            tat = tat_ns;
        }
        let Decision::Refused { retry_after } = policy.take(tat, 0) else { panic!("over the limit") };
        let wait = u64::try_from(retry_after.as_nanos()).expect("small");
        assert!(matches!(policy.take(tat, wait), Decision::Allowed { .. }));
        assert!(matches!(policy.take(tat, wait - 1), Decision::Refused { .. }));
    }

    #[test]
    fn many_pass_or_are_refused_together() {
        let policy = RatePolicy::per_minute(60);
        let Decision::Allowed { tat_ns, remaining, .. } = policy.take_many(45, 0, 0) else { panic!("45 of 60") };
        assert_eq!(remaining, 15);
        assert!(matches!(policy.take_many(15, tat_ns, 0), Decision::Allowed { remaining: 0, .. }));
        let Decision::Refused { retry_after } = policy.take_many(25, tat_ns, 0) else { panic!("15 are left") };
        assert_eq!(retry_after, Duration::from_secs(10));
        assert!(matches!(policy.take_many(25, tat_ns, 10 * SECOND), Decision::Allowed { remaining: 0, .. }));
        assert!(matches!(policy.take_many(61, 0, u64::MAX / 2), Decision::Refused { .. }), "more than the limit");
    }

    proptest! {
        #[test]
        fn no_period_lets_more_than_twice_the_limit_pass(limit in 1u32..50, mut times in prop::collection::vec(0..180 * SECOND, 1..400)) {
            times.sort_unstable();
            let allowed = run(RatePolicy::per_minute(limit), &times);
            for start in &times {
                let in_window = times.iter().zip(&allowed).filter(|(at, ok)| **ok && **at >= *start && **at < start + 60 * SECOND).count();
                prop_assert!(in_window <= 2 * limit as usize);
            }
        }

        #[test]
        fn a_sender_below_the_rate_is_never_refused(limit in 1u32..200, n in 1u64..300) {
            let step = 60 * SECOND / u64::from(limit) + 1;
            let times: Vec<u64> = (0..n).map(|i| i * step).collect();
            prop_assert!(run(RatePolicy::per_minute(limit), &times).into_iter().all(|ok| ok));
        }
    }
}
