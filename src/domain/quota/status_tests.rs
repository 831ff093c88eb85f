use chrono::DateTime;

use super::*;
use crate::domain::quota::OnExceed;

fn limits(version: &str, soft: i64) -> MeterLimits {
    MeterLimits {
        version: version.into(),
        included: 0,
        soft: Some(soft),
        hard: None,
        thresholds: vec![50, 80, 100],
        on_exceed: OnExceed::Pause,
        throttle_per_minute: 10,
    }
}

fn at(used: i64, judged: Option<(&str, QuotaState)>) -> QuotaStatus {
    let period = Period::containing(DateTime::from_timestamp(1_800_000_000, 0).expect("in range"));
    let judged = judged.map(|(version, state)| Judged { version: version.into(), state });
    QuotaStatus { period, used, reserved: 0, resumed_version: None, judged, revision: 1 }
}

#[test]
fn what_changes_nothing_is_not_judged() {
    let plan = limits("free@1", 100);
    assert!(!at(49, None).is_to_judge(Some(&plan), 0), "below all");
    assert!(!at(60, Some(("free@1", QuotaState::Ok))).is_to_judge(Some(&plan), 51), "between two");
    assert!(!at(140, Some(("free@1", QuotaState::Paused))).is_to_judge(Some(&plan), 110), "past all");
    assert!(!at(i64::MAX, None).is_to_judge(None, 0), "no limits");
}

#[test]
fn thresholds_states_and_new_limits_are_judged() {
    let plan = limits("free@1", 100);
    assert!(at(50, None).is_to_judge(Some(&plan), 49), "the first threshold");
    assert!(at(50, None).is_to_judge(Some(&plan), 50), "it was passed unseen");
    assert!(at(80, Some(("free@1", QuotaState::Ok))).is_to_judge(Some(&plan), 79), "the second");
    assert!(at(90, Some(("free@1", QuotaState::Paused))).is_to_judge(Some(&plan), 90), "another state");
    assert!(at(60, Some(("free@1", QuotaState::Ok))).is_to_judge(Some(&limits("free@2", 100)), 60), "a newer version");
    assert!(at(60, Some(("basic@7", QuotaState::Ok))).is_to_judge(Some(&plan), 60), "another plan");
    assert!(at(100, Some(("free@1", QuotaState::Paused))).is_to_judge(None, 100), "the limits are gone");
}

#[test]
fn a_process_with_older_figures_says_nothing_more() {
    let judged = Some(("free@10", QuotaState::Ok));
    assert!(!at(100, judged).is_to_judge(Some(&limits("free@9", 100)), 99));
    assert!(at(100, judged).is_to_judge(Some(&limits("free@11", 100)), 99));
    assert!(
        at(100, judged).is_to_judge(Some(&limits("basic@1", 100)), 99),
        "versions of different plans are not compared"
    );
    assert!(at(100, Some(("", QuotaState::Ok))).is_to_judge(Some(&limits("free@1", 100)), 99), "to be judged anew");
}
