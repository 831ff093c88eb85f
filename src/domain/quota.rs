//! Limits of a meter under a plan, and what is made of the usage.

mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use status::{Judged, QuotaStatus};

use super::meter::MeterName;
use super::period::Period;

/// What happens at the soft limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExceed {
    /// Answers say so, nothing else.
    #[default]
    Notify,
    /// Calls that the meter counts are slowed to a rate.
    Throttle,
    /// Routes that name the meter in `pauses_with` refuse calls, until the period ends, the plan changes or an admin resumes.
    Pause,
}

/// A plan's figures for one meter, in the meter's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterLimits {
    /// The plan and its version that set these, such as `free@1`. A threshold is announced once for each.
    pub version: Arc<str>,
    /// What the price of the plan includes.
    pub included: i64,
    /// Where [`OnExceed`] begins, and what thresholds are percent of. None = nothing to exceed.
    pub soft: Option<i64>,
    /// What is never passed. None = no such limit.
    pub hard: Option<i64>,
    /// Percentages of the soft limit (of the hard one, where there is no soft one) that are announced, ascending.
    pub thresholds: Vec<u16>,
    /// What happens at the soft limit.
    pub on_exceed: OnExceed,
    /// Calls a minute while throttled.
    pub throttle_per_minute: u32,
}

/// Where a tenant stands with one meter. Ordered from free to shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QuotaState {
    /// Below every warning.
    Ok,
    /// Past the first threshold at or above [`WARN_PERCENT`].
    Warn,
    /// At or past the soft limit.
    Soft,
    /// At or past the soft limit, and slowed for it.
    Throttled,
    /// At or past the soft limit, and paused for it.
    Paused,
    /// At the hard limit.
    Hard,
}

impl QuotaState {
    const ALL: [Self; 6] = [Self::Ok, Self::Warn, Self::Soft, Self::Throttled, Self::Paused, Self::Hard];

    /// The word in the database and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Soft => "soft",
            Self::Throttled => "throttled",
            Self::Paused => "paused",
            Self::Hard => "hard",
        }
    }

    /// The state that a word means.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether calls are refused for it: paused, or at the hard limit.
    #[must_use]
    pub fn is_shut(self) -> bool {
        self >= Self::Paused
    }
}

/// A threshold from here on up is a warning; lower ones are announced only.
pub const WARN_PERCENT: u16 = 80;

impl MeterLimits {
    /// What percentages are of: the soft limit, else the hard one.
    #[must_use]
    pub fn reference(&self) -> Option<i64> {
        self.soft.or(self.hard)
    }

    /// Whether `used` has reached `percent` of the reference.
    #[must_use]
    pub fn has_reached(&self, percent: u16, used: i64) -> bool {
        self.reference().is_some_and(|limit| i128::from(used) * 100 >= i128::from(limit) * i128::from(percent))
    }

    /// The thresholds that `used` has reached, ascending.
    #[must_use]
    pub fn reached(&self, used: i64) -> Vec<u16> {
        self.thresholds.iter().filter(|percent| self.has_reached(**percent, used)).copied().collect()
    }

    /// The thresholds that lie in `(before, after]`, ascending.
    #[must_use]
    pub fn crossed(&self, before: i64, after: i64) -> Vec<u16> {
        let is_crossed = |percent: &&u16| !self.has_reached(**percent, before) && self.has_reached(**percent, after);
        self.thresholds.iter().filter(is_crossed).copied().collect()
    }

    /// The state at `used`; `is_resumed` if an admin lifted the pause for this period and version of the limits.
    #[must_use]
    pub fn state(&self, used: i64, is_resumed: bool) -> QuotaState {
        if self.hard.is_some_and(|hard| used >= hard) {
            return QuotaState::Hard;
        }
        if self.soft.is_some_and(|soft| used >= soft) {
            return match self.on_exceed {
                OnExceed::Notify => QuotaState::Soft,
                OnExceed::Throttle => QuotaState::Throttled,
                OnExceed::Pause if is_resumed => QuotaState::Soft,
                OnExceed::Pause => QuotaState::Paused,
            };
        }
        let warns = self.thresholds.iter().any(|percent| *percent >= WARN_PERCENT && self.has_reached(*percent, used));
        if warns { QuotaState::Warn } else { QuotaState::Ok }
    }
}

/// A tenant's quotas by meter; a meter that was not used in the present period is not in it.
pub type Quotas = BTreeMap<MeterName, QuotaStatus>;

/// What is known, and whatever of the news is newer.
#[must_use]
pub fn merge(known: &Quotas, news: &Quotas) -> Quotas {
    let mut merged = known.clone();
    for (meter, status) in news {
        let is_newer = known.get(meter).is_none_or(|old| (old.period, old.revision) < (status.period, status.revision));
        if is_newer {
            merged.insert(meter.clone(), status.clone());
        }
    }
    merged
}

/// Where a tenant stands with one meter at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The period that the moment lies in.
    pub period: Period,
    /// Used so far in it.
    pub used: i64,
    /// Set aside for calls under way.
    pub reserved: i64,
    /// The plan's limits; None = counted and not limited.
    pub limits: Option<Arc<MeterLimits>>,
    /// What follows.
    pub state: QuotaState,
}

/// Where a tenant stands at `now`. A status of another period is no news of this one: a new month begins at zero before anybody
/// has written its row.
#[must_use]
pub fn standing(limits: Option<&Arc<MeterLimits>>, status: Option<&QuotaStatus>, now: DateTime<Utc>) -> Standing {
    let present = status.filter(|status| status.period.contains(now));
    let period = present.map_or_else(|| Period::containing(now), |status| status.period);
    let used = present.map_or(0, |status| status.used);
    let is_resumed = |limits: &MeterLimits| present.is_some_and(|status| status.is_resumed(limits));
    let state = limits.map_or(QuotaState::Ok, |limits| limits.state(used, is_resumed(limits)));
    Standing { period, used, reserved: present.map_or(0, |status| status.reserved), limits: limits.cloned(), state }
}

#[cfg(test)]
mod tests;
