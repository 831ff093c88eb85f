//! Amounts as text, without floats.

use super::DocumentCurrency;
use super::decimal::Decimal;
use crate::domain::money::{digits, thousands_apart};

/// The sign of printed negative amounts: as wide as a digit, unlike the hyphen.
const MINUS: char = '\u{2212}';

/// An amount of minor units as a decimal: `-1234.56`; no point with an exponent of 0.
#[must_use]
pub fn plain_amount(minor: i64, exponent: u8) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let (whole, fraction) = digits(minor, exponent);
    format!("{sign}{whole}{fraction}")
}

/// The same for people: `−1,234.56`.
#[must_use]
pub fn grouped_amount(minor: i64, exponent: u8) -> String {
    let sign = if minor < 0 { MINUS.to_string() } else { String::new() };
    let (whole, fraction) = digits(minor, exponent);
    format!("{sign}{}{fraction}", thousands_apart(&whole))
}

/// With the currency, `$1,234.56` or `CHF 1,234.56`.
#[must_use]
pub fn money_text(minor: i64, currency: &DocumentCurrency) -> String {
    let sign = if minor < 0 { MINUS.to_string() } else { String::new() };
    let (whole, fraction) = digits(minor, currency.exponent);
    // Only signs that name one currency to readers everywhere.
    let symbol = match &*currency.code {
        "USD" => "$".to_owned(),
        "EUR" => "€".to_owned(),
        "GBP" => "£".to_owned(),
        "JPY" => "¥".to_owned(),
        // A no-break space keeps code and figure on one line.
        code => format!("{code}\u{a0}"),
    };
    format!("{sign}{symbol}{}{fraction}", thousands_apart(&whole))
}

/// A decimal such as a quantity or a price for people: grouped, with at least `decimals` places and no needless zeros after
/// them. What is not a decimal stays as it is.
#[must_use]
pub fn grouped_decimal(text: &str, decimals: u8) -> String {
    if Decimal::parse(text).is_none() {
        return text.to_owned();
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (MINUS.to_string(), digits),
        None => (String::new(), text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let mut fraction = fraction.trim_end_matches('0').to_owned();
    while fraction.len() < usize::from(decimals) {
        fraction.push('0');
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", thousands_apart(whole))
}

/// A rate in millionths as a percentage: `19`, `8.875`.
#[must_use]
pub fn percent_text(millionths: u32) -> String {
    let percent = plain_amount(i64::from(millionths), 4);
    percent.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A decimal of minor units as one of major units: `0.002` cents are `0.00002` dollars, `4900` cents `49.00`. What is not a decimal
/// stays as it is.
#[must_use]
pub fn major_decimal(minor: &str, exponent: u8) -> String {
    if Decimal::parse(minor).is_none() {
        return minor.to_owned();
    }
    let (sign, digits) = minor.strip_prefix('-').map_or(("", minor), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let places = usize::from(exponent);
    let padded = format!("{whole:0>width$}", width = places + 1);
    let (whole, shifted) = padded.split_at(padded.len() - places);
    let fraction = format!("{shifted}{fraction}");
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}
