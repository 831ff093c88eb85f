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
fn states_read_back_and_only_the_last_two_refuse_calls() {
    for state in QuotaState::ALL {
        assert_eq!(QuotaState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).expect("a word"), state.as_str());
        assert_eq!(state.is_shut(), matches!(state, QuotaState::Paused | QuotaState::Hard), "{state:?}");
    }
    assert_eq!(QuotaState::parse("open"), None);
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
    QuotaStatus {
        period,
        used,
        reserved: 7,
        resumed_version: resumed_version.map(Arc::from),
        judged: None,
        revision: 1,
    }
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

#[test]
fn older_news_change_nothing_and_other_meters_stay() {
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
    let present = Period::containing(now);
    let of = |name: &str, period, used, revision| {
        let meter = MeterName::parse(name).expect("a name");
        Quotas::from([(meter, QuotaStatus { revision, ..status(period, used, None) })])
    };
    let known = merge(&of("a", present, 10, 5), &of("b", present, 1, 1));
    assert_eq!(known.len(), 2);
    for older in [of("a", present, 9, 4), of("a", present, 9, 5), of("a", present.previous(), 99, 50)] {
        assert_eq!(merge(&known, &older), known, "{older:?}");
    }
    for newer in [of("a", present, 11, 6), of("a", Period::containing(present.end), 1, 1)] {
        let merged = merge(&known, &newer);
        assert_eq!((merged.get("a"), merged.get("b")), (newer.get("a"), known.get("b")));
    }
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
