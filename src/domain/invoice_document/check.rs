//! The check of a document before it is printed.

mod form;
mod tax;

use super::decimal::Decimal;
use super::{DocumentError, DocumentLine, InvoiceDocument};

/// Lines of a document at most: what one takes to print is bounded.
pub const MAX_LINES: usize = 500;
/// Characters of all texts together at most.
pub const MAX_ALL_CHARS: usize = 200_000;
/// Characters of a text at most.
pub const MAX_TEXT_CHARS: usize = 1_000;

impl InvoiceDocument {
    /// Computes every figure again and checks what a reader or the law needs.
    ///
    /// # Errors
    /// [`DocumentError`], the first one found.
    pub fn check(&self) -> Result<(), DocumentError> {
        form::check(self)?;
        for (at, line) in self.lines.iter().enumerate() {
            check_line(at + 1, line, self.currency.exponent)?;
        }
        self.check_sums()?;
        tax::check(self)
    }

    /// Sums in 128 bits: no sum of a thousand amounts leaves them.
    fn check_sums(&self) -> Result<(), DocumentError> {
        let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.map(i128::from).sum::<i128>();
        let wide = i128::from;
        let lines = sum(&mut self.lines.iter().map(|line| line.net));
        let allowances = sum(&mut self.allowances.iter().map(|allowance| allowance.amount));
        let taxes = sum(&mut self.tax_groups.iter().map(|group| group.amount));
        let total = wide(self.subtotal) - wide(self.allowance_total) + wide(self.tax_total);
        let due = wide(self.total) - wide(self.already_paid);
        for (what, stated, computed, rule) in [
            ("the subtotal", self.subtotal, lines, "BR-CO-10: sum of the lines"),
            ("the sum of allowances", self.allowance_total, allowances, "BR-CO-11"),
            ("the sum of taxes", self.tax_total, taxes, "BR-CO-14: sum of the tax groups"),
            ("the total", self.total, total, "BR-CO-13, BR-CO-15: subtotal - allowances + tax"),
            ("the amount due", self.amount_due, due, "BR-CO-16: total - already paid"),
        ] {
            if wide(stated) != computed {
                return Err(DocumentError::Sum { what, stated: wide(stated), computed, rule });
            }
        }
        Ok(())
    }

    /// The total without tax (BT-109).
    #[must_use]
    pub fn tax_exclusive(&self) -> i64 {
        // A checked document's sums fit.
        self.subtotal.saturating_sub(self.allowance_total)
    }
}

fn check_line(line: usize, said: &DocumentLine, exponent: u8) -> Result<(), DocumentError> {
    let decimal = |what, text: &str| {
        Decimal::parse(text).ok_or_else(|| DocumentError::Malformed {
            what,
            value: text.to_owned(),
            rule: "digits, a point, digits: 19 digits at most",
        })
    };
    let quantity = decimal("the quantity", &said.quantity)?;
    let price = decimal("the unit price", &said.unit_price)?;
    if price.is_negative() {
        return Err(DocumentError::Malformed {
            what: "the unit price",
            value: said.unit_price.clone(),
            rule: "BR-27: not negative",
        });
    }
    let Some(computed) = quantity.times(price, said.price_quantity, exponent) else {
        return Err(DocumentError::Malformed {
            what: "quantity and price",
            value: format!("{} × {} / {}", said.quantity, said.unit_price, said.price_quantity),
            rule: "their product must fit",
        });
    };
    if i128::from(said.net) != computed {
        return Err(DocumentError::Line { line, stated: said.net, computed });
    }
    Ok(())
}
