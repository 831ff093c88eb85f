//! How many retries a worker may add to its load.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::balance;

/// Retries in hundredths that are banked at most, and that each second adds: ten.
const RESERVE: u64 = 10 * 100;

/// A budget of retries, one for each worker thread: a share of the requests plus ten a second, so that retries neither
/// multiply an outage nor fail a quiet gateway.
#[derive(Debug)]
struct Budget {
    hundredths: u64,
    refilled: Instant,
}

impl Budget {
    fn full(now: Instant) -> Self {
        Self { hundredths: RESERVE, refilled: now }
    }

    fn deposit(&mut self, percent: u32) {
        self.hundredths = (self.hundredths + u64::from(percent)).min(RESERVE);
    }

    fn withdraw(&mut self, now: Instant) -> bool {
        let elapsed_ms = u64::try_from(now.saturating_duration_since(self.refilled).as_millis()).unwrap_or(u64::MAX);
        // Hundredths gained are rounded down, so the clock only moves when something was gained.
        let gained = elapsed_ms.saturating_mul(RESERVE) / 1_000;
        if gained > 0 {
            self.refilled = now;
            self.hundredths = self.hundredths.saturating_add(gained).min(RESERVE);
        }
        match self.hundredths.checked_sub(100) {
            Some(left) => {
                self.hundredths = left;
                true
            }
            None => false,
        }
    }
}

thread_local! {
    static BUDGET: RefCell<Budget> = RefCell::new(Budget::full(Instant::now()));
}

/// Counts a request that retries may be added to.
pub fn deposit(percent: u32) {
    BUDGET.with_borrow_mut(|budget| budget.deposit(percent));
}

/// Asks for one retry.
pub fn withdraw() -> bool {
    BUDGET.with_borrow_mut(|budget| budget.withdraw(Instant::now()))
}

/// A pause before the same endpoint is tried again: 10 to 30 ms, spread so that retries do not come in step.
pub fn backoff() -> Duration {
    Duration::from_millis(10 + balance::next_random() % 21)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_requests_plus_ten_a_second() {
        let start = Instant::now();
        let mut budget = Budget::full(start);
        assert_eq!((0..20).filter(|_| budget.withdraw(start)).count(), 10, "the reserve");
        for _ in 0..50 {
            budget.deposit(20);
        }
        assert_eq!((0..20).filter(|_| budget.withdraw(start)).count(), 10, "20 % of 50");
        assert!(!budget.withdraw(start + Duration::from_millis(99)));
        assert!(budget.withdraw(start + Duration::from_millis(199)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..20).filter(|_| budget.withdraw(later)).count(), 10, "no more than a second's worth is banked");
    }
}
