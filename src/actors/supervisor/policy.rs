//! When to start again and when to give up: arithmetic only.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How many restarts are tolerated, and how they are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts tolerated within `period`; one more and the failure is handed up. Zero: never restart.
    pub intensity: u32,
    /// Length of the sliding window in which restarts are counted.
    pub period: Duration,
    /// Upper bound of the wait before the first restart in a window. It doubles with each further one.
    pub backoff_initial: Duration,
    /// The doubling stops here.
    pub backoff_max: Duration,
}

impl RestartPolicy {
    /// For the children of the root, which are few and on which everything else stands: 3 in 60 s.
    pub const ROOT: Self = Self { intensity: 3, period: Duration::from_secs(60), ..Self::CHILD };

    /// For any other child: 5 in 30 s, waiting 50 ms, then 100 ms, … and never more than 5 s.
    pub const CHILD: Self = Self {
        intensity: 5,
        period: Duration::from_secs(30),
        backoff_initial: Duration::from_millis(50),
        backoff_max: Duration::from_secs(5),
    };
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self::CHILD
    }
}

/// What to do about one more failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Build a fresh child after this wait.
    RestartAfter(Duration),
    /// Too many failures: leave the child down.
    GiveUp,
}

/// The restarts of the recent past, under one policy.
#[derive(Debug)]
pub struct RestartWindow {
    policy: RestartPolicy,
    restarts: VecDeque<Instant>,
}

impl RestartWindow {
    /// An empty window.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, restarts: VecDeque::new() }
    }

    /// Takes note of a failure at `now`. `jitter`, any number, spreads the waits of children that fail together over
    /// the upper half of the back-off.
    pub fn record(&mut self, now: Instant, jitter: u64) -> Decision {
        while self.restarts.front().is_some_and(|at| now.duration_since(*at) >= self.policy.period) {
            self.restarts.pop_front();
        }
        let n_restarts = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        if n_restarts >= self.policy.intensity {
            return Decision::GiveUp;
        }
        self.restarts.push_back(now);
        let doubled = self.policy.backoff_initial.saturating_mul(2_u32.saturating_pow(n_restarts));
        let half = doubled.min(self.policy.backoff_max) / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
        Decision::RestartAfter(half + Duration::from_nanos(jitter % spread))
    }

    /// Forgets the past, after somebody above took the failure upon itself.
    pub fn clear(&mut self) {
        self.restarts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        intensity: 3,
        period: Duration::from_secs(10),
        backoff_initial: Duration::from_millis(100),
        backoff_max: Duration::from_millis(300),
    };

    fn waits(jitter: u64) -> Vec<Decision> {
        let mut window = RestartWindow::new(POLICY);
        let now = Instant::now();
        (0..4).map(|_| window.record(now, jitter)).collect()
    }

    #[test]
    fn the_back_off_doubles_up_to_its_bound_and_then_the_window_gives_up() {
        let after = |ms| Decision::RestartAfter(Duration::from_millis(ms));
        assert_eq!(waits(0), [after(50), after(100), after(150), Decision::GiveUp]);
    }

    #[test]
    fn the_jitter_stays_within_the_upper_half_of_the_back_off() {
        for jitter in [1, 7_777_777, 50_000_000, u64::MAX] {
            let Decision::RestartAfter(wait) = waits(jitter)[0] else { panic!("gave up at once") };
            assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&wait), "{wait:?}");
        }
        assert_ne!(waits(0)[0], waits(7_777_777)[0]);
    }

    #[test]
    fn a_restart_older_than_the_period_no_longer_counts() {
        let mut window = RestartWindow::new(POLICY);
        let start = Instant::now();
        for second in 0..3 {
            window.record(start + Duration::from_secs(second), 0);
        }
        assert_eq!(window.record(start + Duration::from_secs(9), 0), Decision::GiveUp);
        assert_ne!(window.record(start + Duration::from_secs(10), 0), Decision::GiveUp);
    }

    #[test]
    fn an_intensity_of_zero_never_restarts() {
        let mut window = RestartWindow::new(RestartPolicy { intensity: 0, ..POLICY });
        assert_eq!(window.record(Instant::now(), 0), Decision::GiveUp);
    }
}
