//! Lines, sums and what is to be said about taxes.

use super::super::view::{LineView, Pair};
use super::{Printer, days};
use crate::domain::invoice_document::{
    DocumentKind, DocumentLine, InvoiceDocument, TaxCategory, TaxGroup, TaxKey, grouped_amount, grouped_decimal,
    money_text, percent_text,
};

pub(super) fn line(line: &DocumentLine, document: &InvoiceDocument, printer: &mut Printer<'_>) -> LineView {
    let exponent = document.currency.exponent;
    let price = grouped_decimal(&line.unit_price, exponent);
    LineView {
        description: printer.text(&line.description),
        detail: printer.text(&line.detail),
        period: line.period.map(days).unwrap_or_default(),
        quantity: grouped_decimal(&line.quantity, 0),
        price: match line.price_quantity {
            1 => price,
            many => format!("{price} / {}", grouped_decimal(&many.to_string(), 0)),
        },
        tax: match line.tax.category {
            TaxCategory::Standard => percent(line.tax),
            TaxCategory::Zero => "0 %".to_owned(),
            TaxCategory::Exempt => "exempt".to_owned(),
            TaxCategory::ReverseCharge => "reverse".to_owned(),
            TaxCategory::NotSubject => "–".to_owned(),
        },
        amount: grouped_amount(line.net, exponent),
    }
}

/// From the subtotal to the taxes.
pub(super) fn totals(document: &InvoiceDocument, printer: &mut Printer<'_>) -> Vec<Pair> {
    let amount = |minor| grouped_amount(minor, document.currency.exponent);
    let mut totals = vec![printer.pair("Subtotal", &amount(document.subtotal))];
    for allowance in &document.allowances {
        totals.push(printer.pair(&allowance.reason, &amount(allowance.amount.saturating_neg())));
    }
    for group in &document.tax_groups {
        totals.push(printer.pair(&tax_label(group, document), &amount(group.amount)));
    }
    totals
}

/// What was paid, what is left.
pub(super) fn after_total(document: &InvoiceDocument, printer: &mut Printer<'_>) -> Vec<Pair> {
    if document.already_paid == 0 {
        return Vec::new();
    }
    let money = |minor| money_text(minor, &document.currency);
    let due = match document.kind {
        DocumentKind::Invoice => "Amount due",
        DocumentKind::CreditNote { .. } => "Left to credit",
    };
    vec![
        printer.pair("Already paid", &money(document.already_paid.saturating_neg())),
        printer.pair(due, &money(document.amount_due)),
    ]
}

/// Why taxes are as they are, then the issuer's remarks.
pub(super) fn notes(document: &InvoiceDocument, printer: &mut Printer<'_>) -> Vec<String> {
    let reasons = document.tax_groups.iter().map(|group| &group.reason);
    reasons.chain(&document.notes).map(|note| printer.text(note)).filter(|note| !note.is_empty()).collect()
}

fn tax_label(group: &TaxGroup, document: &InvoiceDocument) -> String {
    let basis = grouped_amount(group.basis, document.currency.exponent);
    match group.tax.category {
        TaxCategory::Standard => format!("Tax {} on {basis}", percent(group.tax)),
        TaxCategory::Zero => format!("Tax 0 % on {basis}"),
        TaxCategory::Exempt => format!("Exempt from tax: {basis}"),
        TaxCategory::ReverseCharge => format!("Reverse charge on {basis}"),
        TaxCategory::NotSubject => "Tax (not applicable)".to_owned(),
    }
}

/// `20 %`, `8.25 %`, with a narrow no-break space.
fn percent(key: TaxKey) -> String {
    format!("{}\u{202f}%", percent_text(key.rate))
}
