//! Value added and sales tax on invoices: one rounding for each group of lines with the same category and rate (EN 16931 BR-CO-17).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::money::{MoneyError, divide_rounded, parse_decimal, sum};

/// Parts of a whole that a rate counts.
const MILLION: i128 = 1_000_000;

/// A rate, exact to a ten-thousandth of a percent; 0 to 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TaxRate(u32);

impl TaxRate {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Reads a percentage, such as `19` or `8.875`: at most four decimals, 0 to 100.
    ///
    /// # Errors
    /// [`MoneyError::Price`].
    pub fn parse(percent: &str) -> Result<Self, MoneyError> {
        let millionths = parse_decimal(percent, 3, 4).and_then(|millionths| u32::try_from(millionths).ok());
        millionths.and_then(Self::of_millionths).ok_or(MoneyError::Price)
    }

    /// A rate in millionths, `None` beyond the whole.
    #[must_use]
    pub fn of_millionths(millionths: u32) -> Option<Self> {
        (millionths <= 1_000_000).then_some(Self(millionths))
    }

    /// In millionths: 190,000 for 19 %.
    #[must_use]
    pub fn millionths(self) -> u32 {
        self.0
    }
}

/// As a percentage without needless zeros, such as `8.875`.
impl fmt::Display for TaxRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / 10_000, self.0 % 10_000);
        if parts == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{parts:0>4}").trim_end_matches('0'))
    }
}

/// Why a line is taxed as it is: categories of tax (UN/CEFACT code list 5305, as far as it is of use here), named by their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaxCategory {
    /// S: taxed at a rate above zero.
    #[serde(rename = "S")]
    Standard,
    /// Z: taxed at zero.
    #[serde(rename = "Z")]
    Zero,
    /// AE: the buyer, a business in another country, owes the tax (reverse charge).
    #[serde(rename = "AE")]
    ReverseCharge,
    /// E: exempt, for a reason that must be given.
    #[serde(rename = "E")]
    Exempt,
    /// O: not subject to the tax at all. It stands alone (BR-O-11), and the XML then has no VAT identification (BR-O-02).
    #[serde(rename = "O")]
    NotSubject,
}

impl TaxCategory {
    /// Its code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Standard => "S",
            Self::Zero => "Z",
            Self::ReverseCharge => "AE",
            Self::Exempt => "E",
            Self::NotSubject => "O",
        }
    }

    /// Whether the reason must be given why there is no tax (BR-E-10, BR-AE-10, BR-O-10); the others must not have one.
    #[must_use]
    pub fn needs_reason(self) -> bool {
        match self {
            Self::Standard | Self::Zero => false,
            Self::Exempt | Self::ReverseCharge | Self::NotSubject => true,
        }
    }

    /// The category of a code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Standard, Self::Zero, Self::ReverseCharge, Self::Exempt, Self::NotSubject]
            .into_iter()
            .find(|category| category.code() == code)
    }
}

/// How a line is taxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taxation {
    /// Why.
    pub category: TaxCategory,
    /// How much; only [`TaxCategory::Standard`] has a rate above nothing.
    pub rate: TaxRate,
}

impl Taxation {
    /// No tax is charged.
    pub const NONE: Self = Self { category: TaxCategory::NotSubject, rate: TaxRate::ZERO };

    /// The buyer is exempt.
    pub const EXEMPT: Self = Self { category: TaxCategory::Exempt, rate: TaxRate::ZERO };

    /// At a rate, which may be nothing: then the seller charges no tax.
    #[must_use]
    pub fn at(rate: TaxRate) -> Self {
        if rate == TaxRate::ZERO { Self::NONE } else { Self { category: TaxCategory::Standard, rate } }
    }
}

/// The tax on all lines that are taxed alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaxGroup {
    /// How they are taxed.
    pub taxation: Taxation,
    /// What they come to after discounts, in the currency's smallest unit.
    pub basis_minor: i64,
    /// The tax on that.
    pub amount_minor: i64,
}

/// Puts net amounts together by how they are taxed, and taxes each group once.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn group(nets: impl IntoIterator<Item = (Taxation, i64)>) -> Result<Vec<TaxGroup>, MoneyError> {
    let mut bases: BTreeMap<Taxation, i64> = BTreeMap::new();
    for (taxation, net) in nets {
        let basis = bases.entry(taxation).or_default();
        *basis = sum([*basis, net])?;
    }
    bases
        .into_iter()
        .map(|(taxation, basis_minor)| {
            let exact = i128::from(basis_minor) * i128::from(taxation.rate.0);
            Ok(TaxGroup { taxation, basis_minor, amount_minor: divide_rounded(exact, MILLION)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> TaxRate {
        TaxRate::parse(text).expect("a rate")
    }

    #[test]
    fn rates_are_read_exactly() {
        for (text, millionths, shown) in [
            ("0", 0, "0"),
            ("19", 190_000, "19"),
            ("8.875", 88_750, "8.875"),
            ("7.70", 77_000, "7.7"),
            ("100", 1_000_000, "100"),
        ] {
            assert_eq!(percent(text).millionths(), millionths);
            assert_eq!(percent(text).to_string(), shown);
        }
        for wrong in ["", "-1", "100.0001", "1000", "1.23456", "1,5", "x", "19%"] {
            assert_eq!(TaxRate::parse(wrong), Err(MoneyError::Price), "{wrong}");
        }
    }

    #[test]
    fn a_group_is_rounded_once_and_not_for_each_line() {
        let at = Taxation::at(percent("19"));
        // Each line's own tax would be rounded up from 0.5 and come to 81 in all.
        let groups = group(std::iter::repeat_n((at, 3), 81)).expect("small");
        assert_eq!(groups, [TaxGroup { taxation: at, basis_minor: 243, amount_minor: 46 }]);
    }

    #[test]
    fn lines_that_are_taxed_differently_are_apart() {
        let groups =
            group([(Taxation::at(percent("19")), 100), (Taxation::at(percent("7")), 100), (Taxation::NONE, 50)]);
        let amounts: Vec<_> =
            groups.expect("small").iter().map(|group| (group.basis_minor, group.amount_minor)).collect();
        assert_eq!(amounts, [(100, 7), (100, 19), (50, 0)]);
    }

    #[test]
    fn categories_have_their_codes() {
        for code in ["S", "Z", "AE", "E", "O"] {
            assert_eq!(TaxCategory::parse(code).map(TaxCategory::code), Some(code));
        }
        assert_eq!(TaxCategory::parse("s"), None);
    }
}
