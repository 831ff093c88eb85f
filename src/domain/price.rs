//! Prices of one unit, which may be far smaller than a currency's smallest unit.

use std::fmt;

use super::money::{MoneyError, divide_rounded, parse_decimal};

/// Decimals that a price may have.
const DECIMALS: usize = 12;
/// Parts of a smallest unit.
const PARTS: i128 = 10_i128.pow(DECIMALS as u32);

/// A price of one unit, exact to a millionth of a millionth of the currency's smallest unit; not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnitPrice(i128);

impl UnitPrice {
    /// Reads a decimal number of the currency's smallest unit, such as `0.002` (cents). Digits with at most one point, no sign, no
    /// exponent; at most 15 digits before the point and 12 after it.
    ///
    /// # Errors
    /// [`MoneyError::Price`].
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        parse_decimal(text, 15, DECIMALS).map(Self).ok_or(MoneyError::Price)
    }

    /// A whole number of smallest units.
    #[must_use]
    pub fn whole(minor: u64) -> Self {
        Self(i128::from(minor) * PARTS)
    }

    /// What `quantity` units cost, rounded once.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn of(self, quantity: i64) -> Result<i64, MoneyError> {
        let exact = self.0.checked_mul(i128::from(quantity)).ok_or(MoneyError::Overflow)?;
        divide_rounded(exact, PARTS)
    }

    /// Whether nothing is to be paid.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// In smallest units, without needless zeros.
impl fmt::Display for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / PARTS, self.0 % PARTS);
        if parts == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{parts:0>DECIMALS$}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_are_read_exactly() {
        for (text, shown) in
            [("0", "0"), ("4900", "4900"), ("0.002", "0.002"), ("1.50", "1.5"), ("0.000000000001", "0.000000000001")]
        {
            assert_eq!(UnitPrice::parse(text).map(|price| price.to_string()).as_deref(), Ok(shown));
        }
        for wrong in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000000000001", "1234567890123456", "1.2.3", "\u{661}"]
        {
            assert_eq!(UnitPrice::parse(wrong), Err(MoneyError::Price), "{wrong}");
        }
    }

    #[test]
    fn a_line_is_rounded_once_and_not_for_each_unit() {
        let price = UnitPrice::parse("0.002").expect("a price");
        assert_eq!(price.of(249), Ok(0));
        assert_eq!(price.of(250), Ok(1));
        assert_eq!(price.of(1_000_000), Ok(2_000));
        assert_eq!(UnitPrice::whole(49).of(i64::MAX), Err(MoneyError::Overflow));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(parts in 0_i128..1_000_000_000_000_000_000_000) {
            let price = UnitPrice(parts);
            prop_assert_eq!(UnitPrice::parse(&price.to_string()), Ok(price));
        }

        #[test]
        fn more_never_costs_less(parts in 0_i128..10_000_000_000_000, quantity in 0_i64..1_000_000_000) {
            let price = UnitPrice(parts);
            prop_assert!(price.of(quantity).expect("small") <= price.of(quantity + 1).expect("small"));
        }
    }
}
