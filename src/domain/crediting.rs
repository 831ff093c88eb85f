//! Credit notes: an invoice is taken back as a whole, in parts, or what is left of it.
//!
//! Sums are rounded as what all its credit notes come to together, so that however an invoice is taken back, the last note ends at
//! nothing to the last minor unit. A part's own tax may differ by a unit from its own basis × rate.

use super::invoice::{Line, Totals};
use super::money::{Currency, MoneyError, divide_rounded, sum};
use super::tax::{TaxGroup, Taxation};

/// What an invoice or a credit note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Billed {
    /// Its lines.
    pub lines: Vec<Line>,
    /// What they come to.
    pub totals: Totals,
}

/// A part of a line that is to be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The line's key.
    pub key: String,
    /// How much of its amount, in the currency's smallest unit: without tax, and before the invoice's discount, whose share goes with
    /// it. At least 1.
    pub amount_minor: i64,
}

/// Why nothing can be taken back as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    /// All of it was, or it comes to nothing.
    #[error("nothing of the invoice is left to take back")]
    NothingLeft,
    /// The invoice has no such line, or it is a credit, or it was named twice.
    #[error("part {0} names no line that can be taken back in part")]
    NoSuchLine(usize),
    /// The line, or what lines like it come to, has less left.
    #[error("part {position} is more than the {left_minor} minor units that are left")]
    TooMuch {
        /// Which part, counted from 0.
        position: usize,
        /// What is left of it, in the currency's smallest unit.
        left_minor: i64,
    },
    /// The parts come to more than is left to take back of the invoice: it has credits of other tax rates too.
    #[error("the parts come to more than the {left_minor} minor units that are left of the invoice")]
    MoreThanLeft {
        /// What is left, with tax, in the currency's smallest unit.
        left_minor: i64,
    },
    /// A sum does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Takes `parts` of an invoice back, or all that `before`, the credit notes that it has, leave of it.
///
/// # Errors
/// [`CreditError`].
pub fn credit(invoice: &Billed, before: &[Billed], parts: Option<&[Part]>) -> Result<Billed, CreditError> {
    let earlier: Vec<&Line> = before.iter().flat_map(|note| &note.lines).collect();
    let left_of = |line: &Line| {
        let taken = sum(earlier.iter().filter(|old| old.key == line.key).map(|old| old.amount_minor))?;
        sum([line.amount_minor, -taken])
    };
    let lines = match parts {
        None => {
            let mut lines = Vec::new();
            for line in &invoice.lines {
                lines.extend(part_of(line, left_of(line)?));
            }
            lines
        }
        Some(parts) => {
            let mut lines: Vec<Line> = Vec::new();
            for (position, Part { key, amount_minor }) in parts.iter().enumerate() {
                let line = invoice.lines.iter().find(|line| &line.key == key && line.amount_minor > 0);
                let line = line.filter(|line| !lines.iter().any(|other| other.key == line.key));
                let line = line.filter(|_| *amount_minor > 0).ok_or(CreditError::NoSuchLine(position))?;
                let in_group = |lines: &mut dyn Iterator<Item = &Line>| {
                    sum(lines.filter(|other| other.taxation == line.taxation).map(|other| other.amount_minor))
                };
                let taken = [in_group(&mut earlier.iter().copied())?, in_group(&mut lines.iter())?];
                let left_of_group = sum([in_group(&mut invoice.lines.iter())?, -sum(taken)?])?;
                let left_minor = left_of(line)?.min(left_of_group).max(0);
                if *amount_minor > left_minor {
                    return Err(CreditError::TooMuch { position, left_minor });
                }
                lines.extend(part_of(line, *amount_minor));
            }
            lines
        }
    };
    let note = Billed { totals: totals(invoice, before, &lines)?, lines };
    if note.totals.total_minor <= 0 {
        return Err(CreditError::NothingLeft);
    }
    let credited = sum(before.iter().map(|note| note.totals.total_minor))?;
    let left_minor = sum([invoice.totals.total_minor, -credited])?;
    if note.totals.total_minor > left_minor {
        return Err(CreditError::MoreThanLeft { left_minor });
    }
    Ok(note)
}

/// A line over a part of another's amount; the line itself if that is the whole, none if it is nothing.
fn part_of(line: &Line, amount_minor: i64) -> Option<Line> {
    if amount_minor == line.amount_minor {
        return Some(line.clone());
    }
    let Line { key, kind, description, period, taxation, .. } = line.clone();
    (amount_minor != 0).then(|| Line::flat(kind, key, description, amount_minor, period, taxation))
}

fn totals(invoice: &Billed, before: &[Billed], lines: &[Line]) -> Result<Totals, MoneyError> {
    let currency: Currency = invoice.totals.currency;
    let of = |lines: &[Line], taxation: Taxation| {
        sum(lines.iter().filter(|line| line.taxation == taxation).map(|line| line.amount_minor))
    };
    let mut taxes = Vec::new();
    for group in &invoice.totals.taxes {
        let taxation = group.taxation;
        if !lines.iter().any(|line| line.taxation == taxation) {
            continue;
        }
        let (mut taken, mut basis_before, mut tax_before) = (0, 0, 0);
        for note in before {
            taken = sum([taken, of(&note.lines, taxation)?])?;
            for old in note.totals.taxes.iter().filter(|old| old.taxation == taxation) {
                basis_before = sum([basis_before, old.basis_minor])?;
                tax_before = sum([tax_before, old.amount_minor])?;
            }
        }
        let whole = of(&invoice.lines, taxation)?;
        let taken = sum([taken, of(lines, taxation)?])?;
        let (basis, tax) = if taken == whole {
            (group.basis_minor, group.amount_minor)
        } else {
            let basis = divide_rounded(i128::from(taken) * i128::from(group.basis_minor), i128::from(whole))?;
            (basis, divide_rounded(i128::from(basis) * i128::from(taxation.rate.millionths()), 1_000_000)?)
        };
        taxes.push(TaxGroup {
            taxation,
            basis_minor: sum([basis, -basis_before])?,
            amount_minor: sum([tax, -tax_before])?,
        });
    }
    let subtotal_minor = sum(lines.iter().map(|line| line.amount_minor))?;
    let basis_minor = sum(taxes.iter().map(|group| group.basis_minor))?;
    let tax_minor = sum(taxes.iter().map(|group| group.amount_minor))?;
    Ok(Totals {
        currency,
        subtotal_minor,
        discount_minor: sum([subtotal_minor, -basis_minor])?,
        taxes,
        tax_minor,
        total_minor: sum([basis_minor, tax_minor])?,
    })
}

#[cfg(test)]
#[path = "crediting_tests.rs"]
mod tests;
