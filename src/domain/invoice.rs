//! Invoices: lines, and what they come to.

use super::catalogue;
use super::money::{Currency, MoneyError, divide_rounded, share_out, sum};
use super::period::Period;
use super::price::UnitPrice;
use super::tax::{TaxGroup, Taxation, group};

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// A plan's price.
    Plan,
    /// A module's price.
    Module,
    /// Usage beyond what the plan includes.
    Usage,
    /// Usage of an earlier period that came in after it was closed.
    LateUsage,
    /// The part of a month before or after a change.
    Proration,
    /// Anything else.
    OneOff,
    /// Credit that is left for the next invoice, or was left by the last one.
    Carried,
}

impl LineKind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Plan, "plan"),
        (Self::Module, "module"),
        (Self::Usage, "usage"),
        (Self::LateUsage, "late_usage"),
        (Self::Proration, "proration"),
        (Self::OneOff, "one_off"),
        (Self::Carried, "carried"),
    ];

    /// Its name in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("one_off", |(_, name)| name)
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, own)| *own == name).map(|(kind, _)| *kind)
    }
}

/// A line, without tax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Names it among the lines of its invoice, such as `usage:ai_tokens`.
    pub key: String,
    /// What it is for.
    pub kind: LineKind,
    /// What it says.
    pub description: String,
    /// How many units; negative for a credit.
    pub quantity: i64,
    /// What one costs.
    pub unit_price: UnitPrice,
    /// What they cost: quantity × price, rounded once. In the currency's smallest unit.
    pub amount_minor: i64,
    /// The time that it is for.
    pub period: Period,
    /// How it is taxed.
    pub taxation: Taxation,
}

impl Line {
    /// A line for one thing of a price, which may be a credit.
    #[must_use]
    pub fn flat(
        kind: LineKind,
        key: String,
        description: String,
        amount_minor: i64,
        period: Period,
        taxation: Taxation,
    ) -> Self {
        let unit_price = UnitPrice::whole(amount_minor.unsigned_abs());
        let quantity = if amount_minor < 0 { -1 } else { 1 };
        Self { key, kind, description, quantity, unit_price, amount_minor, period, taxation }
    }
}

/// A reduction of the whole invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discount {
    /// A share of the lines' sum, in millionths of it: 1 to 1,000,000.
    Share(u32),
    /// An amount, in the currency's smallest unit; not more than the lines' sum is taken off.
    Amount(i64),
}

impl Discount {
    /// What it takes off a sum, in the currency's smallest unit: no more than the sum, and nothing of a credit.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn off(self, sum_minor: i64) -> Result<i64, MoneyError> {
        let most = sum_minor.max(0);
        match self {
            Self::Amount(amount) => Ok(amount.clamp(0, most)),
            Self::Share(millionths) => {
                let exact = i128::from(most) * i128::from(millionths.min(1_000_000));
                divide_rounded(exact, 1_000_000)
            }
        }
    }
}

impl From<catalogue::Discount> for Discount {
    fn from(discount: catalogue::Discount) -> Self {
        match discount {
            catalogue::Discount::PercentOff(percent) => Self::Share(u32::from(percent) * 10_000),
            catalogue::Discount::AmountOffMinor(amount) => Self::Amount(amount),
        }
    }
}

/// What an invoice comes to, in its currency's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// The currency.
    pub currency: Currency,
    /// The lines' sum.
    pub subtotal_minor: i64,
    /// What is taken off it; not negative.
    pub discount_minor: i64,
    /// The tax, by how lines are taxed.
    pub taxes: Vec<TaxGroup>,
    /// The taxes' sum.
    pub tax_minor: i64,
    /// What is to be paid: `subtotal - discount + tax`.
    pub total_minor: i64,
}

impl Totals {
    /// Adds up lines.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn of(currency: Currency, lines: &[Line], discount: Option<Discount>) -> Result<Self, MoneyError> {
        let subtotal_minor = sum(lines.iter().map(|line| line.amount_minor))?;
        let discount_minor = discount.map_or(Ok(0), |discount| discount.off(subtotal_minor))?;
        let undiscounted = group(lines.iter().map(|line| (line.taxation, line.amount_minor)))?;
        // A group whose credits outweigh it has no part in a discount.
        let weights: Vec<i64> = undiscounted.iter().map(|group| group.basis_minor.max(0)).collect();
        let shares = share_out(discount_minor, &weights)?;
        let nets = undiscounted.iter().zip(shares).map(|(group, share)| (group.taxation, group.basis_minor - share));
        let taxes = group(nets)?;
        let tax_minor = sum(taxes.iter().map(|group| group.amount_minor))?;
        let total_minor = sum([subtotal_minor, -discount_minor, tax_minor])?;
        Ok(Self { currency, subtotal_minor, discount_minor, taxes, tax_minor, total_minor })
    }
}

/// Lines whose sum is not negative, and what credit is left for the next invoice: an invoice never asks for less than nothing. The
/// credit that is left stands on a line of its own. In the currency's smallest unit, not negative.
///
/// # Errors
/// [`MoneyError::Overflow`].
pub fn carry_credit(mut lines: Vec<Line>, period: Period, taxation: Taxation) -> Result<(Vec<Line>, i64), MoneyError> {
    let subtotal = sum(lines.iter().map(|line| line.amount_minor))?;
    let left = subtotal.checked_neg().ok_or(MoneyError::Overflow)?.max(0);
    if left > 0 {
        let text = "Credit carried to the next invoice".to_owned();
        lines.push(Line::flat(LineKind::Carried, "carried".to_owned(), text, left, period, taxation));
    }
    Ok((lines, left))
}

#[cfg(test)]
#[path = "invoice_tests.rs"]
mod tests;
