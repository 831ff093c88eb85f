use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

/// Years whose months are all looked at: three leap years, and none of them the end of a century.
const YEARS: std::ops::RangeInclusive<i32> = 2024..=2034;

fn month(year: i32, month: u32) -> Period {
    Period::parse(&format!("{year:04}-{month:02}")).expect("a month")
}

fn months() -> impl Iterator<Item = Period> {
    YEARS.flat_map(|year| (1..=12).map(move |number| month(year, number)))
}

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

proptest! {
    #[test]
    fn every_instant_lies_in_its_period_and_in_neither_neighbour(second in 0_i64..4_000_000_000, nanosecond in 0_u32..1_000_000_000) {
        let at = DateTime::from_timestamp(second, nanosecond).expect("in range");
        let period = Period::containing(at);
        prop_assert!(period.contains(at));
        prop_assert!(!period.previous().contains(at));
        prop_assert!(!Period::containing(period.end).contains(at));
        prop_assert_eq!(period.previous().end, period.start);
        prop_assert_eq!(Period::containing(period.end).start, period.end);
        prop_assert_eq!(Period::parse(&period.name()), Some(period));
    }

    #[test]
    fn on_whatever_day_a_subscription_begins_its_periods_begin_on_the_first(second in 1_700_000_000_i64..2_000_000_000) {
        // From 31 January on, each next period is a month later, and none has drifted to the 28th.
        let first = Period::containing(DateTime::from_timestamp(second, 0).expect("in range"));
        let mut period = first;
        for n in 0..120 {
            prop_assert_eq!(period.start, first.start.checked_add_months(Months::new(n)).expect("in range"));
            prop_assert_eq!((period.start.day(), period.start.time()), (1, NaiveTime::MIN));
            period = Period::containing(period.end);
        }
    }
}

#[test]
fn months_follow_each_other_without_gap_or_overlap_and_have_all_their_days() {
    let mut last: Option<Period> = None;
    for period in months() {
        if let Some(last) = last {
            assert_eq!(last.end, period.start, "{}", period.name());
        }
        let (year, number) = (period.start.year(), period.start.month());
        let is_leap = NaiveDate::from_ymd_opt(year, 2, 29).is_some();
        let days = match number {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        assert_eq!(period.end - period.start, TimeDelta::days(days), "{}", period.name());
        let edge = TimeDelta::nanoseconds(1);
        for inside in [period.start, period.start + edge, period.end - edge] {
            assert_eq!(Period::containing(inside), period);
        }
        for outside in [period.start - edge, period.end] {
            assert_ne!(Period::containing(outside), period);
        }
        last = Some(period);
    }
}

#[test]
fn the_hour_that_a_clock_shows_twice_and_a_day_that_it_skips_are_counted_as_they_passed() {
    // Summer time ends in Havana on 1 November 2026 at one: half past midnight comes twice, and is November's both times.
    let (once, again) = (at("2026-11-01T00:30:00-04:00"), at("2026-11-01T00:30:00-05:00"));
    assert_eq!(again - once, TimeDelta::hours(1));
    // Samoa had no 30 December 2011, and Kwajalein no 21 August 1993: they went to the other side of the date line at midnight.
    let apia = (at("2011-12-29T23:59:59-10:00"), at("2011-12-31T00:00:00+14:00"));
    let kwajalein = (at("1993-08-20T23:59:59-12:00"), at("1993-08-22T00:00:00+12:00"));
    for (before, after) in [apia, kwajalein] {
        assert_eq!(after - before, TimeDelta::seconds(1));
    }
    for ((before, after), month) in [((once, again), "2026-11"), (apia, "2011-12"), (kwajalein, "1993-08")] {
        assert_eq!((Period::containing(before).name(), Period::containing(after).name()), (month.into(), month.into()));
    }
}

#[test]
fn what_a_clock_shows_is_not_a_month_by_itself() {
    // The last evening of October on the west coast is November's in UTC; the first morning of November in Auckland is October's.
    for (shown, month) in [("2026-10-31T17:00:00-07:00", "2026-11"), ("2026-11-01T12:59:59+13:00", "2026-10")] {
        assert_eq!(Period::containing(at(shown)).name(), month);
    }
    assert_eq!(Period::containing(at("2027-01-01T13:59:59+14:00")), month(2026, 12));
}

#[test]
fn only_months_are_names() {
    for name in ["", "2026", "2026-13", "2026-1", "2026-00", "2026-01-01", "x026-01", "02026-1"] {
        assert_eq!(Period::parse(name), None, "{name}");
    }
}
