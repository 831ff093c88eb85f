//! What usage costs.

use super::money::MoneyError;
use super::price::UnitPrice;

/// What a plan's version says of the price of one meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterPrice {
    /// Units that the plan's own price includes, each period.
    pub included: i64,
    /// Price of each unit beyond; none = more is not billed.
    pub overage: Option<UnitPrice>,
}

impl MeterPrice {
    /// Units that are paid for.
    #[must_use]
    pub fn billable(&self, used: i64) -> i64 {
        used.saturating_sub(self.included).max(0)
    }

    /// What a period's usage costs beyond the plan's own price, in the currency's smallest unit; `None` if more is not billed.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn cost(&self, used: i64) -> Result<Option<i64>, MoneyError> {
        self.overage.map(|price| price.of(self.billable(used))).transpose()
    }

    /// What is still to be paid for a period whose usage has grown since it was billed. Both sums are of the whole, so what is billed
    /// in two parts comes to what it would have been in one.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn cost_of_more(&self, billed: i64, used: i64) -> Result<i64, MoneyError> {
        let (before, now) = (self.cost(billed)?.unwrap_or(0), self.cost(used)?.unwrap_or(0));
        now.checked_sub(before).ok_or(MoneyError::Overflow)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price() -> MeterPrice {
        MeterPrice { included: 100, overage: UnitPrice::parse("0.5").ok() }
    }

    #[test]
    fn what_is_included_costs_nothing_more() {
        for (used, cost) in [(0, 0), (100, 0), (101, 1), (102, 1), (103, 2), (1_100, 500)] {
            assert_eq!(price().cost(used), Ok(Some(cost)), "{used}");
        }
        assert_eq!(MeterPrice { overage: None, ..price() }.cost(1_000), Ok(None));
        assert_eq!(price().cost(i64::MAX).map(|cost| cost.is_some()), Ok(true));
    }

    proptest! {
        #[test]
        fn two_parts_come_to_the_whole(first in 0_i64..1_000_000, more in 0_i64..1_000_000) {
            let all = price().cost(first + more).expect("small").expect("priced");
            let parts = price().cost(first).expect("small").expect("priced") + price().cost_of_more(first, first + more).expect("small");
            prop_assert_eq!(parts, all);
        }
    }
}
