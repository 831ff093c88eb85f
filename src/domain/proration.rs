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

    /// A month of the ten years around us, and a second of it.
    fn moments() -> impl Strategy<Value = (Period, DateTime<Utc>)> {
        (1_704_067_200_i64..2_051_222_400, 0..1_000_000_000_u32).prop_map(|(second, nanosecond)| {
            let at = DateTime::from_timestamp(second, nanosecond).expect("in range");
            (Period::containing(at), at)
        })
    }

    #[test]
    fn a_day_of_february_costs_more_than_one_of_march_and_the_29th_is_a_day_like_others() {
        let from = |text: &str, price| {
            let at = DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
            rest_of(Period::containing(at), at, price)
        };
        assert_eq!(from("2027-02-28T00:00:00Z", 2_800), Ok(100));
        assert_eq!(from("2028-02-29T00:00:00Z", 2_900), Ok(100));
        assert_eq!(from("2028-02-28T00:00:00Z", 2_900), Ok(200));
        assert_eq!(from("2027-03-31T00:00:00Z", 3_100), Ok(100));
        assert_eq!(from("2027-01-30T12:00:00Z", 3_100), Ok(150));
        assert_eq!(from("2027-12-31T23:59:59Z", 267_840_000), Ok(100));
        assert_eq!(from("2028-01-31T23:59:59.999Z", i64::from(u32::MAX)), Ok(0), "less than a second is nothing");
    }

    proptest! {
        #[test]
        fn a_part_never_costs_more_than_the_whole_and_less_time_never_more((month, at) in moments(), later in 0_i64..3_000_000, price in 0_i64..100_000_000) {
            let cost = |at| rest_of(month, at, price).expect("small");
            prop_assert!((0..=price).contains(&cost(at)));
            prop_assert!(cost(at + chrono::TimeDelta::seconds(later)) <= cost(at));
            prop_assert_eq!(cost(month.start), price);
            prop_assert_eq!(cost(month.end), 0);
        }

        #[test]
        fn what_is_given_back_and_what_was_used_come_to_the_whole((month, at) in moments(), price in 0_i64..100_000_000) {
            // The used part as its own sum, in exact seconds: both are rounded once, so they meet within one unit.
            let whole = i128::from((month.end - month.start).num_seconds());
            let used = whole - i128::from((month.end - at).num_seconds());
            let used = divide_rounded(i128::from(price) * used, whole).expect("small");
            let rest = rest_of(month, at, price).expect("small");
            prop_assert!((used + rest - price).abs() <= 1, "{used} + {rest} of {price}");
        }

        #[test]
        fn there_and_back_at_one_instant_costs_nothing((month, at) in moments(), old in 0_i64..1_000_000, new in 0_i64..1_000_000) {
            let change = |from, to| rest_of(month, at, to).expect("small") - rest_of(month, at, from).expect("small");
            prop_assert_eq!(change(old, new) + change(new, old), 0);
        }

        #[test]
        fn a_chain_of_changes_costs_its_time_at_each_price(start in 1_704_067_200_i64..2_051_222_400, prices in prop::collection::vec(0_i64..1_000_000, 2..12)) {
            // One change each day from the first on: what is paid in all is each day at its own price, but for the roundings.
            let month = Period::containing(DateTime::from_timestamp(start, 0).expect("in range"));
            let day = |n: usize| month.start + chrono::TimeDelta::days(i64::try_from(n).expect("small"));
            let mut paid = prices[0];
            for (n, pair) in prices.windows(2).enumerate() {
                paid += rest_of(month, day(n + 1), pair[1]).expect("small") - rest_of(month, day(n + 1), pair[0]).expect("small");
            }
            let days = i128::from((month.end - month.start).num_days());
            let last = days - i128::try_from(prices.len() - 1).expect("small");
            let exact = prices.iter().enumerate().map(|(n, price)| i128::from(*price) * if n + 1 == prices.len() { last } else { 1 });
            let exact: i128 = exact.sum();
            let off = i128::from(paid) * days - exact;
            prop_assert!(off.abs() <= days * i128::try_from(prices.len()).expect("small"), "off by {off}/{days}");
        }
    }
}
