//! What a part of a period costs.

use chrono::{DateTime, Utc};

use super::money::{MoneyError, divide_rounded};
use super::period::Period;

/// The share of a period's price that falls on the time from `from` to its end, by the second and rounded once. The whole price from
/// its beginning or before, nothing from its end on.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn rest_of(period: Period, from: DateTime<Utc>, price_minor: i64) -> Result<i64, MoneyError> {
    let whole = (period.end - period.start).num_seconds();
    let rest = (period.end - from).num_seconds().clamp(0, whole);
    divide_rounded(i128::from(price_minor) * i128::from(rest), i128::from(whole))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn november() -> Period {
        Period::parse("2026-11").expect("a month")
    }

    #[test]
    fn half_a_month_costs_half() {
        let middle = DateTime::parse_from_rfc3339("2026-11-16T00:00:00Z").expect("a time").to_utc();
        assert_eq!(rest_of(november(), middle, 4_900), Ok(2_450));
        assert_eq!(rest_of(november(), november().start, 4_900), Ok(4_900));
        assert_eq!(rest_of(november(), november().previous().start, 4_900), Ok(4_900));
        assert_eq!(rest_of(november(), november().end, 4_900), Ok(0));
    }

    proptest! {
        #[test]
        fn a_part_never_costs_more_than_the_whole_and_less_time_never_more(second in 0_i64..2_592_000, price in 0_i64..100_000_000) {
            let at = |second| november().start + chrono::TimeDelta::seconds(second);
            let cost = rest_of(november(), at(second), price).expect("small");
            prop_assert!((0..=price).contains(&cost));
            prop_assert!(rest_of(november(), at(second + 1), price).expect("small") <= cost);
        }

        #[test]
        fn there_and_back_at_one_instant_costs_nothing(second in 0_i64..2_592_000, old in 0_i64..1_000_000, new in 0_i64..1_000_000) {
            let at = november().start + chrono::TimeDelta::seconds(second);
            let change = |from, to| rest_of(november(), at, to).expect("small") - rest_of(november(), at, from).expect("small");
            prop_assert_eq!(change(old, new) + change(new, old), 0);
        }
    }
}
