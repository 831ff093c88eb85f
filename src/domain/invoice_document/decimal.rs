//! Exact decimals, for the one multiplication that an invoice needs.

/// Digits of a decimal at most: a product of two must fit into 128 bits.
const MAX_DIGITS: usize = 19;

/// A decimal number: `mantissa` × 10^-`scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    mantissa: i128,
    scale: u32,
}

impl Decimal {
    /// Reads `-?digits(.digits)?`, 19 digits at most; nothing else: no plus, no exponent, no spaces.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (unsigned, ""),
        };
        let digits = format!("{whole}{fraction}");
        let is_number = !whole.is_empty() && digits.len() <= MAX_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        let mantissa: i128 = is_number.then(|| digits.parse().ok()).flatten()?;
        let scale = u32::try_from(fraction.len()).ok()?;
        Some(Self { mantissa: if is_negative { -mantissa } else { mantissa }, scale })
    }

    /// Whether it is below zero.
    pub(super) fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// This × `price` ÷ `per` in minor units of a currency with `exponent` decimals, rounded once, half away from zero.
    /// `None` where it does not fit or `per` is zero.
    pub(super) fn times(self, price: Self, per: u32, exponent: u8) -> Option<i128> {
        let product = self.mantissa.checked_mul(price.mantissa)?;
        let scale = self.scale + price.scale;
        let exponent = u32::from(exponent);
        let (factor, divisor) = if scale >= exponent {
            (1, 10i128.checked_pow(scale - exponent)?)
        } else {
            (10i128.checked_pow(exponent - scale)?, 1)
        };
        let divisor = divisor.checked_mul(i128::from(per))?;
        divide_half_away(product.checked_mul(factor)?, divisor)
    }
}

/// A quotient, rounded half away from zero; `None` for a divisor of zero or below.
pub(super) fn divide_half_away(dividend: i128, divisor: i128) -> Option<i128> {
    if divisor <= 0 {
        return None;
    }
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?.checked_abs()?;
    // The rest is below the divisor, so this is `2 × rest >= divisor` without its overflow.
    if rest >= divisor - rest { quotient.checked_add(dividend.signum()) } else { Some(quotient) }
}
