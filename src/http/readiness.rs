//! Whether the server may be sent requests, and if not, why.

use std::sync::Mutex;
use std::sync::PoisonError;

/// Parts of the program that say whether they work.
#[derive(Debug, Default)]
pub struct Readiness {
    /// Part → what is wrong with it.
    failing: Mutex<Vec<(&'static str, String)>>,
}

impl Readiness {
    /// Notes that a part fails, and how.
    pub fn fail(&self, part: &'static str, why: impl Into<String>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.retain(|(name, _)| *name != part);
        failing.push((part, why.into()));
    }

    /// Notes that a part works (again).
    pub fn recover(&self, part: &'static str) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| *name != part);
    }

    /// The failing parts.
    #[must_use]
    pub fn failing(&self) -> Vec<(&'static str, String)> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
