//! How to pay, and the code that a banking app reads.

use super::super::view::{Pair, PaymentView};
use super::{Printer, day};
use crate::domain::invoice_document::{BankAccount, DocumentKind, InvoiceDocument, money_text, one_line, plain_amount};
use crate::domain::qr;

/// Euro cents that a credit transfer of SEPA can be at most.
const MAX_SEPA: i64 = 99_999_999_999;

/// The block and the code as SVG; nothing where nothing is to be paid.
pub(super) fn of(document: &InvoiceDocument, printer: &mut Printer<'_>) -> (Option<PaymentView>, String) {
    let payment = &document.payment;
    let is_asked = document.kind == DocumentKind::Invoice && document.amount_due > 0;
    if !is_asked || (payment.bank.is_none() && payment.online_url.is_empty()) {
        return (None, String::new());
    }
    let amount = money_text(document.amount_due, &document.currency);
    let by = document.due_on.map(|due_on| format!(" by {}", day(due_on))).unwrap_or_default();
    let ask =
        if payment.reference.is_empty() { "" } else { " and give the reference, so that we can match your payment" };
    let intro = printer.text(&format!("Please pay {amount}{by}{ask}."));
    let facts = payment.bank.as_ref().map(|bank| facts(bank, &payment.reference, printer)).unwrap_or_default();
    let code = payment.bank.as_ref().and_then(|bank| girocode(bank, document)).unwrap_or_default();
    let code_text = if code.is_empty() {
        String::new()
    } else {
        printer.text(&format!("Code for banking apps: transfer of {amount} with reference {}", payment.reference))
    };
    let view = PaymentView { intro, facts, code_text, online_url: printer.text(&payment.online_url) };
    (Some(view), code)
}

fn facts(bank: &BankAccount, reference: &str, printer: &mut Printer<'_>) -> Vec<Pair> {
    [
        ("Reference", reference.to_owned()),
        ("Account holder", bank.holder.clone()),
        ("IBAN", in_fours(&bank.iban)),
        ("Account number", bank.account_number.clone()),
        ("Routing number", bank.routing.clone()),
        ("BIC", bank.bic.clone()),
        ("Bank", bank.bank_name.clone()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.trim().is_empty())
    .map(|(label, value)| printer.pair(label, &value))
    .collect()
}

/// `DE89 3704 0044 …`, as ISO 13616 prints it.
fn in_fours(iban: &str) -> String {
    let mut spaced = String::with_capacity(iban.len() * 5 / 4);
    for (at, c) in iban.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            spaced.push('\u{a0}');
        }
        spaced.push(c);
    }
    spaced
}

/// The payment as the European Payments Council's code (EPC069-12, version 2), as SVG. `None` where SEPA cannot pay it.
fn girocode(bank: &BankAccount, document: &InvoiceDocument) -> Option<String> {
    let name: String = one_line(&bank.holder).chars().take(70).collect();
    let is_sepa = document.currency.code == "EUR" && !bank.iban.is_empty() && document.amount_due <= MAX_SEPA;
    if !is_sepa || name.is_empty() {
        return None;
    }
    let reference: String = one_line(&document.payment.reference).chars().take(140).collect();
    let amount = plain_amount(document.amount_due, document.currency.exponent);
    // Service tag, version, UTF-8, transfer; then BIC, name, IBAN, amount, purpose, structured reference, free text.
    let text = format!("BCD\n002\n1\nSCT\n{}\n{name}\n{}\nEUR{amount}\n\n\n{reference}", bank.bic, bank.iban);
    qr::svg(&text)
}
