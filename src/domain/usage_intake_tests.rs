use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn rules() -> IntakeRules {
    let rule =
        |aggregation, unique_by: Option<&str>| MeterRule { aggregation, unique_by: unique_by.map(str::to_owned) };
    let meter = |name: &str| MeterName::parse(name).expect("a name");
    IntakeRules {
        meters: BTreeMap::from([
            (meter("calls"), rule(Aggregation::Sum, None)),
            (meter("people"), rule(Aggregation::Unique, Some("user"))),
        ]),
        max_age: TimeDelta::days(62),
        late_grace: TimeDelta::hours(72),
    }
}

fn event() -> UsageEvent {
    UsageEvent {
        source: "api".to_owned(),
        key: "a".to_owned(),
        meter: MeterName::parse("calls").expect("a name"),
        quantity: 3,
        occurred_at: None,
        dims: BTreeMap::new(),
        reservation: None,
    }
}

#[test]
fn an_event_belongs_to_the_period_in_which_it_occurred() {
    let now = at("2026-12-03T23:59:59Z");
    for (occurred, period, is_late) in [
        (None, "2026-12", false),
        (Some("2026-12-04T00:04:59Z"), "2026-12", false),
        (Some("2026-11-30T23:59:59.999999Z"), "2026-11", false),
        (Some("2026-10-31T23:59:59Z"), "2026-10", true),
        (Some("2026-10-03T00:00:00Z"), "2026-10", true),
    ] {
        let placed = rules().place(&UsageEvent { occurred_at: occurred.map(at), ..event() }, now).expect("taken in");
        assert_eq!((placed.period.name().as_str(), placed.counted.is_late), (period, is_late), "{occurred:?}");
    }
    let yesterday = UsageEvent { occurred_at: Some(at("2026-11-30T12:34:56Z")), ..event() };
    let a_second_later = rules().place(&yesterday, now + TimeDelta::seconds(1)).expect("taken in");
    assert!(a_second_later.counted.is_late, "the grace is over");
    assert_eq!(a_second_later.hour(), at("2026-11-30T12:00:00Z"));
}

#[test]
fn what_cannot_be_counted_is_refused_with_the_field() {
    let now = at("2026-12-03T12:00:00Z");
    let dims = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let many = (0..17).map(|n| (n.to_string(), String::new())).collect();
    for (wrong, field) in [
        (UsageEvent { meter: MeterName::parse("nothing").expect("a name"), ..event() }, "meter"),
        (UsageEvent { quantity: -1, ..event() }, "quantity"),
        (UsageEvent { quantity: i64::MAX, ..event() }, "quantity"),
        (UsageEvent { occurred_at: Some(at("2026-12-03T12:05:01Z")), ..event() }, "occurred_at"),
        (UsageEvent { occurred_at: Some(at("2026-10-02T11:59:59Z")), ..event() }, "occurred_at"),
        (UsageEvent { occurred_at: Some(DateTime::<Utc>::MIN_UTC), ..event() }, "occurred_at"),
        (UsageEvent { occurred_at: Some(DateTime::<Utc>::MAX_UTC), ..event() }, "occurred_at"),
        (UsageEvent { key: String::new(), ..event() }, "id"),
        (UsageEvent { key: "a\0".to_owned(), ..event() }, "id"),
        (UsageEvent { source: "x".repeat(256), ..event() }, "source"),
        (UsageEvent { dims: dims("a", "\0"), ..event() }, "dims"),
        (UsageEvent { dims: dims("", "a"), ..event() }, "dims"),
        (UsageEvent { dims: dims("a", &"x".repeat(257)), ..event() }, "dims"),
        (UsageEvent { dims: many, ..event() }, "dims"),
        (UsageEvent { meter: MeterName::parse("people").expect("a name"), ..event() }, "dims"),
    ] {
        let detail = rules().place(&wrong, now).expect_err("refused");
        assert!(detail.starts_with(&format!("{field}: ")), "{detail}");
    }
}

#[test]
fn everything_said_is_in_the_hash_and_nothing_else() {
    let payload_hash = |event: &UsageEvent| super::payload_hash(event, event.occurred_at);
    let same = [UsageEvent { source: "other".to_owned(), ..event() }, UsageEvent { key: "b".to_owned(), ..event() }];
    for event_ in same {
        assert_eq!(payload_hash(&event_), payload_hash(&event()));
    }
    let dims = |pairs: &[(&str, &str)]| UsageEvent {
        dims: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..event()
    };
    let mut hashes = vec![
        payload_hash(&event()),
        payload_hash(&UsageEvent { quantity: 4, ..event() }),
        payload_hash(&UsageEvent { meter: MeterName::parse("people").expect("a name"), ..event() }),
        payload_hash(&UsageEvent { occurred_at: Some(at("2026-12-03T12:00:00Z")), ..event() }),
        payload_hash(&UsageEvent { occurred_at: Some(at("2026-12-03T12:00:01Z")), ..event() }),
        payload_hash(&dims(&[("a", "bc")])),
        payload_hash(&dims(&[("ab", "c")])),
        payload_hash(&dims(&[("a", "b"), ("c", "d")])),
        payload_hash(&dims(&[("a", "b"), ("c", "")])),
    ];
    let n = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), n);
}

#[test]
fn values_of_a_meter_of_different_values_are_told_apart() {
    let now = at("2026-12-03T12:00:00Z");
    let place = |user: &str| {
        let dims = BTreeMap::from([("user".to_owned(), user.to_owned())]);
        let event = UsageEvent { meter: MeterName::parse("people").expect("a name"), dims, ..event() };
        rules().place(&event, now).expect("taken in").value_hash.expect("a value")
    };
    assert_eq!(place("ann"), place("ann"));
    assert_ne!(place("ann"), place("bob"));
}

#[test]
fn what_the_platform_saw_itself_is_counted_whatever_the_clock_says() {
    let now = at("2026-12-03T12:00:00Z");
    for (occurred, counted_at, is_late) in [
        ("2026-12-03T11:00:00Z", "2026-12-03T11:00:00Z", false),
        // The clock was set back since then.
        ("2036-01-01T00:00:00Z", "2026-12-03T12:00:00Z", false),
        ("2026-12-03T12:00:01Z", "2026-12-03T12:00:00Z", false),
        ("2026-10-20T12:00:00Z", "2026-10-20T12:00:00Z", true),
        // It waited longer than events may.
        ("2026-10-02T11:59:59Z", "2026-12-03T12:00:00Z", true),
        ("1970-01-01T00:00:00Z", "2026-12-03T12:00:00Z", true),
    ] {
        let seen = UsageEvent { occurred_at: Some(at(occurred)), ..event() };
        let placed = rules().place_seen(&seen, now).expect("counted");
        assert_eq!((placed.counted.occurred_at, placed.counted.is_late), (at(counted_at), is_late), "{occurred}");
        assert!(placed.period.contains(at(counted_at)), "{occurred}");
    }
    let wrong = UsageEvent { quantity: -1, ..event() };
    assert!(rules().place_seen(&wrong, now).is_err(), "what cannot be counted still is not");
}
