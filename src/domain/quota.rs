//! Limits of a meter under a plan, and what is made of the usage.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

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
    /// Grows with each change of the row behind this: of two statuses the one with the larger figure is newer.
    pub revision: i64,
}

impl QuotaStatus {
    /// Whether an admin lifted the pause that these limits brought. A later version of them pauses anew.
    #[must_use]
    pub fn is_resumed(&self, limits: &MeterLimits) -> bool {
        self.resumed_version.as_ref() == Some(&limits.version)
    }
}

/// A tenant's quotas by meter; a meter that was not used in the present period is not in it.
pub type Quotas = BTreeMap<MeterName, QuotaStatus>;

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
    let state = limits
        .map_or(QuotaState::Ok, |limits| limits.state(used, present.is_some_and(|status| status.is_resumed(limits))));
    Standing { period, used, reserved: present.map_or(0, |status| status.reserved), limits: limits.cloned(), state }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(soft: Option<i64>, hard: Option<i64>, on_exceed: OnExceed) -> MeterLimits {
        MeterLimits {
            version: "free@1".into(),
            included: 0,
            soft,
            hard,
            thresholds: vec![50, 80, 100, 120],
            on_exceed,
            throttle_per_minute: 10,
        }
    }

    #[test]
    fn states_follow_the_limits() {
        let plan = limits(Some(1_000), Some(2_000), OnExceed::Pause);
        let table = [
            (0, false, QuotaState::Ok),
            (799, false, QuotaState::Ok),
            (800, false, QuotaState::Warn),
            (999, false, QuotaState::Warn),
            (1_000, false, QuotaState::Paused),
            (1_000, true, QuotaState::Soft),
            (1_999, true, QuotaState::Soft),
            (2_000, true, QuotaState::Hard),
        ];
        for (used, is_resumed, state) in table {
            assert_eq!(plan.state(used, is_resumed), state, "{used} {is_resumed}");
        }
        assert_eq!(limits(Some(10), None, OnExceed::Throttle).state(10, false), QuotaState::Throttled);
        assert_eq!(limits(Some(10), None, OnExceed::Notify).state(10, false), QuotaState::Soft);
        assert_eq!(limits(None, None, OnExceed::Pause).state(i64::MAX, false), QuotaState::Ok);
        assert_eq!(limits(Some(0), None, OnExceed::Pause).state(0, false), QuotaState::Paused, "nothing is included");
    }

    fn status(period: Period, used: i64, resumed_version: Option<&str>) -> QuotaStatus {
        QuotaStatus { period, used, reserved: 7, resumed_version: resumed_version.map(Arc::from), revision: 1 }
    }

    #[test]
    fn a_resumed_pause_returns_with_the_next_version_of_the_limits() {
        let plan = Arc::new(limits(Some(1_000), None, OnExceed::Pause));
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let stands = |resumed| standing(Some(&plan), Some(&status(Period::containing(now), 1_000, resumed)), now).state;
        assert_eq!(stands(None), QuotaState::Paused);
        assert_eq!(stands(Some("free@1")), QuotaState::Soft);
        assert_eq!(stands(Some("free@0")), QuotaState::Paused);
    }

    #[test]
    fn a_status_of_another_month_counts_as_nothing_used() {
        let plan = Arc::new(limits(Some(1_000), Some(2_000), OnExceed::Pause));
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
        let present = Period::containing(now);
        let full = standing(Some(&plan), Some(&status(present, 2_000, None)), now);
        assert_eq!((full.used, full.reserved, full.state), (2_000, 7, QuotaState::Hard));
        for other in [present.previous(), Period::containing(present.end)] {
            let empty = standing(Some(&plan), Some(&status(other, 2_000, None)), now);
            assert_eq!((empty.used, empty.reserved, empty.state, empty.period), (0, 0, QuotaState::Ok, present));
        }
        assert_eq!(standing(None, Some(&status(present, i64::MAX, None)), now).state, QuotaState::Ok, "no limits");
        assert_eq!(standing(Some(&plan), None, now).period, present, "never used");
    }

    proptest! {
        #[test]
        fn however_usage_is_cut_into_steps_each_threshold_is_crossed_once(steps in prop::collection::vec(0_i64..700, 0..40)) {
            let plan = limits(Some(1_000), None, OnExceed::Notify);
            let (mut used, mut crossed) = (0, Vec::new());
            for step in steps {
                crossed.extend(plan.crossed(used, used + step));
                used += step;
            }
            let expected: Vec<u16> = plan.thresholds.iter().copied().filter(|percent| plan.has_reached(*percent, used)).collect();
            prop_assert_eq!(crossed, expected);
        }
    }
}
