//! A document's texts for the page.

mod money;
mod parties;
mod payment;

use chrono::{Datelike as _, NaiveDate};

use self::money::line;
use super::error::PrintError;
use super::fonts::{Care, Glyphs};
use super::view::{Headline, Pair, View};
use crate::domain::invoice_document::{DocumentKind, InvoiceDocument, Paper, ServicePeriod, money_text, one_line};

/// What the typesetter gets.
pub(super) struct Page {
    /// The texts, as JSON.
    pub(super) data: Vec<u8>,
    /// The code to pay with, as SVG; may be empty.
    pub(super) code: String,
    /// Characters that cannot be printed.
    pub(super) n_unprintable: usize,
}

/// Makes texts printable and counts what is not.
struct Printer<'a> {
    glyphs: &'a Glyphs,
    care: Care,
    n_unprintable: usize,
}

impl Printer<'_> {
    fn text(&mut self, text: &str) -> String {
        let (printable, n) = self.glyphs.printable(&one_line(text), self.care);
        self.n_unprintable += n;
        printable
    }

    fn pair(&mut self, label: &str, value: &str) -> Pair {
        Pair { label: self.text(label), value: self.text(value) }
    }
}

pub(super) fn of(document: &InvoiceDocument, glyphs: &Glyphs, care: Care) -> Result<Page, PrintError> {
    let printer = &mut Printer { glyphs, care, n_unprintable: 0 };
    let kind = match document.kind {
        DocumentKind::Invoice => "Invoice",
        DocumentKind::CreditNote { .. } => "Credit note",
    };
    let (payment, code) = payment::of(document, printer);
    let seller = parties::seller(&document.seller, printer);
    let mut view = View {
        language: document.language.clone(),
        paper: match document.paper {
            Paper::A4 => "a4",
            Paper::Letter => "us-letter",
        },
        accent: document.accent.clone(),
        on_accent: on_accent(&document.accent),
        title: printer.text(&format!("{kind} {} from {}", document.number, document.seller.name)),
        kind,
        number: printer.text(&document.number),
        initial: seller.name.chars().find(|c| c.is_alphanumeric()).map(String::from).unwrap_or_default(),
        footer: parties::footer(&document.seller, printer),
        seller,
        buyer: parties::buyer(&document.buyer, printer),
        facts: facts(document, printer),
        headline: headline(document),
        lines: document.lines.iter().map(|item| line(item, document, printer)).collect(),
        totals: money::totals(document, printer),
        grand_total: Pair {
            label: format!("Total {}", document.currency.code),
            value: money_text(document.total, &document.currency),
        },
        after_total: money::after_total(document, printer),
        payment,
        notes: money::notes(document, printer),
    };
    if printer.n_unprintable > 0 {
        let note =
            "Characters shown as \u{fffd} are not in the typefaces of this page; the attached factur-x.xml has them.";
        view.notes.push(note.to_owned());
    }
    let data = serde_json::to_vec(&view).map_err(|error| PrintError::Typesetting(error.to_string()))?;
    Ok(Page { data, code, n_unprintable: printer.n_unprintable })
}

/// What identifies the document, beside the address.
fn facts(document: &InvoiceDocument, printer: &mut Printer<'_>) -> Vec<Pair> {
    let mut facts = vec![printer.pair("Number", &document.number), printer.pair("Issued", &day(document.issued_on))];
    match &document.kind {
        DocumentKind::CreditNote { invoice_number, invoice_issued_on } => {
            facts.push(printer.pair("For invoice", &format!("{invoice_number} of {}", day(*invoice_issued_on))));
        }
        DocumentKind::Invoice => {
            facts.extend(document.due_on.map(|due_on| printer.pair("Due", &day(due_on))));
        }
    }
    facts.extend(document.service_period.map(|period| printer.pair("Period", &days(period))));
    if !document.buyer_reference.is_empty() {
        facts.push(printer.pair("Your ref.", &document.buyer_reference));
    }
    facts
}

/// The one figure that the reader looks for.
fn headline(document: &InvoiceDocument) -> Headline {
    let money = |minor| money_text(minor, &document.currency);
    let (amount, rest) = match (&document.kind, document.amount_due) {
        (DocumentKind::CreditNote { .. }, _) => (money(document.total), "credited to you".to_owned()),
        (DocumentKind::Invoice, due) if due > 0 => {
            (money(due), document.due_on.map(|due_on| format!("due {}", day(due_on))).unwrap_or_default())
        }
        (DocumentKind::Invoice, 0) if document.total > 0 => (money(document.total), "paid, with thanks".to_owned()),
        (DocumentKind::Invoice, 0) => (money(0), "nothing to pay".to_owned()),
        (DocumentKind::Invoice, due) => (money(due.saturating_neg()), "in your favour".to_owned()),
    };
    Headline { amount, rest }
}

/// `30 November 2026`.
fn day(day: NaiveDate) -> String {
    day.format("%-d\u{a0}%B\u{a0}%Y").to_string()
}

/// `1–30 November 2026`, `15 October – 14 November 2026`.
fn days(period: ServicePeriod) -> String {
    let ServicePeriod { first, last } = period;
    if first == last {
        day(first)
    } else if (first.year(), first.month()) == (last.year(), last.month()) {
        format!("{}–{}", first.day(), day(last))
    } else if first.year() == last.year() {
        format!("{} – {}", first.format("%-d\u{a0}%B"), day(last))
    } else {
        format!("{} – {}", day(first), day(last))
    }
}

/// Black on a light colour, white on a dark one (luma of ITU-R BT.601, in thousandths).
fn on_accent(accent: &str) -> &'static str {
    let channel = |at: usize| accent.get(at..at + 2).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0);
    if 299 * channel(1) + 587 * channel(3) + 114 * channel(5) > 150_000 { "#000000" } else { "#ffffff" }
}
