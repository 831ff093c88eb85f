//! Where a tenant stands with a meter, as its row says.

use std::sync::Arc;

use super::{MeterLimits, QuotaState};
use crate::domain::period::Period;

/// What was last said of a meter: its thresholds and state, under one version of the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The version.
    pub version: Arc<str>,
    /// The state then.
    pub state: QuotaState,
}

impl Judged {
    /// Whether it was said under a later version of the same plan: by a process that was started with newer figures.
    #[must_use]
    pub fn is_ahead_of(&self, limits: &MeterLimits) -> bool {
        match (parts(&self.version), parts(&limits.version)) {
            (Some((plan, judged)), Some((ours, version))) => plan == ours && judged > version,
            _ => false,
        }
    }
}

/// `free@3` → `free`, 3.
fn parts(version: &str) -> Option<(&str, u32)> {
    let (plan, n) = version.rsplit_once('@')?;
    Some((plan, n.parse().ok()?))
}

/// Where a tenant stands with one meter in the present period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaStatus {
    /// The period.
    pub period: Period,
    /// Used so far.
    pub used: i64,
    /// Set aside for calls under way.
    pub reserved: i64,
    /// The version of the limits for which an admin lifted the pause.
    pub resumed_version: Option<Arc<str>>,
    /// What was last said of it; None = nothing in this period.
    pub judged: Option<Judged>,
    /// Grows with each change of the row behind this: of two statuses the one with the larger figure is newer.
    pub revision: i64,
}

impl QuotaStatus {
    /// Whether an admin lifted the pause that these limits brought. A later version of them pauses anew.
    #[must_use]
    pub fn is_resumed(&self, limits: &MeterLimits) -> bool {
        self.resumed_version.as_ref() == Some(&limits.version)
    }

    /// The state under these limits.
    #[must_use]
    pub fn state(&self, limits: Option<&MeterLimits>) -> QuotaState {
        limits.map_or(QuotaState::Ok, |limits| limits.state(self.used, self.is_resumed(limits)))
    }

    /// The state that was last announced.
    #[must_use]
    pub fn announced_state(&self) -> QuotaState {
        self.judged.as_ref().map_or(QuotaState::Ok, |judged| judged.state)
    }

    /// Whether there may be something to announce after the figure has moved from `before`: a threshold was crossed, the state
    /// is another one, or the limits are not those that it was judged by.
    #[must_use]
    pub fn is_to_judge(&self, limits: Option<&MeterLimits>, before: i64) -> bool {
        let is_same_state = self.state(limits) == self.announced_state();
        match (limits, &self.judged) {
            (None, _) => !is_same_state,
            // Nothing was said so far, so whatever is reached is news.
            (Some(limits), None) => {
                !is_same_state || limits.thresholds.iter().any(|p| limits.has_reached(*p, self.used))
            }
            (Some(limits), Some(judged)) if judged.is_ahead_of(limits) => false,
            (Some(limits), Some(judged)) => {
                judged.version != limits.version || !is_same_state || !limits.crossed(before, self.used).is_empty()
            }
        }
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
