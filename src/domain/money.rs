//! Money: whole numbers of a currency's smallest unit, and the one way in which it is rounded. There are no floats.

use std::fmt;

/// Why an amount is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a code of ISO 4217 that is in use.
    #[error("not a currency: expected a code of ISO 4217, such as USD")]
    Currency,
    /// Not a decimal number, or one with too many digits.
    #[error("not a price: expected a decimal number of at most 12 decimals, such as 0.002")]
    Price,
    /// Beyond what 64 bits hold.
    #[error("the amount is too large")]
    Overflow,
}

/// Codes whose smallest unit is a tenth to the power of anything but two, with that power (ISO 4217).
const OTHER_EXPONENTS: [(&str, u8); 24] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYI", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// Codes with two decimals (ISO 4217).
const TWO_DECIMALS: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY \
    COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES \
    KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB \
    PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD \
    TZS UAH USD UYU UZS VES WST XCD XCG YER ZAR ZMW ZWG";

/// A currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

impl Currency {
    /// Reads a code of ISO 4217 in capitals.
    ///
    /// # Errors
    /// [`MoneyError::Currency`].
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        let other = OTHER_EXPONENTS.iter().find(|(name, _)| *name == code).map(|(_, exponent)| *exponent);
        let two = || TWO_DECIMALS.split_ascii_whitespace().any(|name| name == code).then_some(2);
        let exponent = other.or_else(two).ok_or(MoneyError::Currency)?;
        let code = code.as_bytes().try_into().map_err(|_length: std::array::TryFromSliceError| MoneyError::Currency)?;
        Ok(Self { code, exponent })
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or_default()
    }

    /// Decimals of its smallest unit: 0, 2 or 3.
    #[must_use]
    pub fn exponent(&self) -> u8 {
        self.exponent
    }

    /// An amount as people read it, such as `-1,234.50 USD`.
    #[must_use]
    pub fn format(&self, minor: i64) -> String {
        format!("{} {}", grouped(minor, self.exponent), self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    /// In the currency's smallest unit.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.currency.format(self.minor))
    }
}

/// A number of smallest units with the point where it belongs and thousands apart; with an exponent of 0, any whole number.
#[must_use]
pub fn grouped(minor: i64, exponent: u8) -> String {
    let (whole, fraction) = digits(minor, exponent);
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}{fraction}", thousands_apart(&whole))
}

/// An amount's digits before the point, and the point with those after it if there are any; without its sign.
pub(super) fn digits(minor: i64, exponent: u8) -> (String, String) {
    let places = usize::from(exponent);
    let padded = format!("{:0>width$}", minor.unsigned_abs(), width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    (whole.to_owned(), fraction)
}

/// Commas between groups of three digits.
pub(super) fn thousands_apart(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `numerator / denominator`, rounded to the nearest whole number, halves away from zero: the way in which all money is rounded.
/// The denominator is positive.
///
/// # Errors
/// [`MoneyError::Overflow`], also for a denominator that is not positive.
pub fn divide_rounded(numerator: i128, denominator: i128) -> Result<i64, MoneyError> {
    if denominator <= 0 {
        return Err(MoneyError::Overflow);
    }
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let is_up = rest.unsigned_abs() >= denominator.unsigned_abs() - rest.unsigned_abs();
    let rounded = if is_up { quotient + numerator.signum() } else { quotient };
    i64::try_from(rounded).map_err(|_range: std::num::TryFromIntError| MoneyError::Overflow)
}

/// The digits of a decimal number that is not negative, as a whole number of its `decimals`th part: `0.02` with three of them is 20.
/// Digits with at most one point between them, no sign, no exponent; at most `longest` before the point and `decimals` after it.
pub(super) fn parse_decimal(text: &str, longest: usize, decimals: usize) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str, longest| {
        !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_digits(whole, longest) || !is_digits(fraction, decimals) {
        return None;
    }
    format!("{whole}{fraction:0<decimals$}").parse().ok()
}

/// The sum of amounts.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn sum(amounts: impl IntoIterator<Item = i64>) -> Result<i64, MoneyError> {
    amounts.into_iter().try_fold(0_i64, |total, amount| total.checked_add(amount).ok_or(MoneyError::Overflow))
}

/// Shares out `total` in proportion to `weights`, which are not negative, to the last unit: each gets its share rounded down, and the
/// units that are left go to the largest remainders, the first of equal ones first. Without any weight nothing is shared out.
///
/// # Errors
/// [`MoneyError::Overflow`], also for a negative weight.
pub fn share_out(total: i64, weights: &[i64]) -> Result<Vec<i64>, MoneyError> {
    if weights.iter().any(|weight| *weight < 0) {
        return Err(MoneyError::Overflow);
    }
    let whole: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if whole == 0 {
        return Ok(vec![0; weights.len()]);
    }
    let (size, sign) = (i128::from(total).abs(), i128::from(total).signum());
    let exact = |weight: &i64| size * i128::from(*weight);
    let mut shares: Vec<i128> = weights.iter().map(|weight| exact(weight) / whole).collect();
    let mut left = size - shares.iter().sum::<i128>();
    let mut by_remainder: Vec<(usize, i128)> = weights.iter().map(|weight| exact(weight) % whole).enumerate().collect();
    by_remainder.sort_by_key(|(index, remainder)| (std::cmp::Reverse(*remainder), *index));
    for (index, _) in by_remainder {
        if left == 0 {
            break;
        }
        if let Some(share) = shares.get_mut(index) {
            *share += 1;
            left -= 1;
        }
    }
    shares
        .into_iter()
        .map(|share| i64::try_from(share * sign).map_err(|_range: std::num::TryFromIntError| MoneyError::Overflow))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn currencies_know_their_smallest_unit() {
        for (code, exponent) in [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("ISK", 0)] {
            assert_eq!(Currency::parse(code).map(|currency| currency.exponent()), Ok(exponent), "{code}");
        }
        for wrong in ["", "usd", "US", "USDX", "XXX", "US D", "U\u{e9}"] {
            assert_eq!(Currency::parse(wrong), Err(MoneyError::Currency), "{wrong}");
        }
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        let format = |code, minor| Currency::parse(code).expect("a currency").format(minor);
        assert_eq!(format("USD", 0), "0.00 USD");
        assert_eq!(format("USD", -5), "-0.05 USD");
        assert_eq!(format("USD", 123_456_789), "1,234,567.89 USD");
        assert_eq!(format("JPY", 1_000), "1,000 JPY");
        assert_eq!(format("KWD", 1_234_567), "1,234.567 KWD");
        assert_eq!(format("USD", i64::MIN), "-92,233,720,368,547,758.08 USD");
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-100, "-100"), (-1_000, "-1,000")] {
            assert_eq!(grouped(n, 0), text);
        }
    }

    #[test]
    fn halves_go_away_from_zero() {
        for (numerator, denominator, rounded) in
            [(1, 2, 1), (-1, 2, -1), (1, 3, 0), (2, 3, 1), (-2, 3, -1), (5, 2, 3), (-5, 2, -3), (4, 2, 2), (0, 7, 0)]
        {
            assert_eq!(divide_rounded(numerator, denominator), Ok(rounded), "{numerator}/{denominator}");
        }
        assert_eq!(divide_rounded(1, 0), Err(MoneyError::Overflow));
        assert_eq!(divide_rounded(i128::MAX, 1), Err(MoneyError::Overflow));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_an_error() {
        assert_eq!(sum([1, 2, 3]), Ok(6));
        assert_eq!(sum([i64::MAX, 1]), Err(MoneyError::Overflow));
    }

    proptest! {
        #[test]
        fn rounding_is_never_off_by_more_than_half(numerator in -1_000_000_000_000_i128..1_000_000_000_000, denominator in 1_i128..1_000_000) {
            let rounded = i128::from(divide_rounded(numerator, denominator).expect("small"));
            prop_assert!(2 * (rounded * denominator - numerator).abs() <= denominator);
        }

        #[test]
        fn what_is_shared_out_is_all_of_it_and_fair(total in -1_000_000_i64..1_000_000, weights in prop::collection::vec(0_i64..10_000, 1..20)) {
            let shares = share_out(total, &weights).expect("small");
            let whole: i64 = weights.iter().sum();
            if whole == 0 {
                prop_assert!(shares.iter().all(|share| *share == 0));
            } else {
                prop_assert_eq!(shares.iter().sum::<i64>(), total);
                for (share, weight) in shares.iter().zip(&weights) {
                    let off = i128::from(*share) * i128::from(whole) - i128::from(total) * i128::from(*weight);
                    prop_assert!(off.abs() < i128::from(whole), "off by a unit or more");
                }
            }
        }
    }
}
