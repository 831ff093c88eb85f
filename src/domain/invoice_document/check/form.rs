//! What must be there, and in which form.

use super::super::{
    DocumentError, DocumentKind, InvoiceDocument, MAX_ADDRESS_LINES, Party, PartyFault, ServicePeriod, is_iban,
};
use super::{MAX_ALL_CHARS, MAX_LINES, MAX_TEXT_CHARS};

/// Remarks and allowances at most.
const MAX_EXTRAS: usize = 50;

type Checked = Result<(), DocumentError>;

pub(super) fn check(document: &InvoiceDocument) -> Checked {
    at_most("lines", document.lines.len(), MAX_LINES)?;
    at_most("allowances", document.allowances.len(), MAX_EXTRAS)?;
    at_most("notes", document.notes.len(), MAX_EXTRAS)?;
    let mut n_all = 0;
    for text in texts(document) {
        let n = text.chars().count();
        at_most("characters of a text", n, MAX_TEXT_CHARS)?;
        n_all += n;
    }
    at_most("characters of all texts", n_all, MAX_ALL_CHARS)?;
    present("the number", &document.number, "BR-02")?;
    check_currency(document)?;
    check_party(
        &document.seller,
        ["the seller's name", "the seller's country", "the seller's VAT id"],
        "BR-06, BR-09",
    )?;
    check_party(&document.buyer, ["the buyer's name", "the buyer's country", "the buyer's VAT id"], "BR-07, BR-11")?;
    check_bank(document)?;
    wellformed("the language", &document.language, "`en`", document.language == "en")?;
    let is_colour = document
        .accent
        .strip_prefix('#')
        .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    wellformed("the accent colour", &document.accent, "# and six hexadecimal digits", is_colour)?;
    if document.lines.is_empty() {
        return Err(DocumentError::Missing { what: "a line", rule: "BR-16" });
    }
    if document.kind == DocumentKind::Invoice && document.amount_due > 0 && document.due_on.is_none() {
        return Err(DocumentError::Missing { what: "the day by which to pay", rule: "BR-CO-25" });
    }
    if let DocumentKind::CreditNote { invoice_number, .. } = &document.kind {
        present("the number of the invoice that is credited", invoice_number, "BR-55")?;
    }
    check_period(document.service_period)?;
    for line in &document.lines {
        present("a line's description", &line.description, "BR-25")?;
        let is_unit = (1..=3).contains(&line.unit.len()) && line.unit.bytes().all(|b| b.is_ascii_alphanumeric());
        wellformed("a line's unit", &line.unit, "BR-23: a code of UN/ECE Recommendation 20", is_unit)?;
        check_period(line.period)?;
    }
    for allowance in &document.allowances {
        present("an allowance's reason", &allowance.reason, "BR-33")?;
        let amount = allowance.amount;
        wellformed("an allowance", &amount.to_string(), "not negative", amount >= 0)?;
    }
    Ok(())
}

fn check_currency(document: &InvoiceDocument) -> Checked {
    let code = &document.currency.code;
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase());
    wellformed("the currency", code, "BR-05: three capital letters of ISO 4217", is_code)?;
    let exponent = document.currency.exponent;
    wellformed("the currency's decimals", &exponent.to_string(), "0, 2 or 3", matches!(exponent, 0 | 2 | 3))?;
    if exponent == 3 {
        let nets = document.lines.iter().map(|line| line.net);
        let allowances = document.allowances.iter().map(|allowance| allowance.amount);
        let taxes = document.tax_groups.iter().flat_map(|group| [group.basis, group.amount]);
        for amount in nets.chain(allowances).chain(taxes).chain([document.already_paid]) {
            wellformed("an amount", &amount.to_string(), "BR-DEC: two decimals at most", amount % 10 == 0)?;
        }
    }
    Ok(())
}

fn check_party(party: &Party, [name, country, vat_id]: [&'static str; 3], rule: &'static str) -> Checked {
    let malformed = |what, value: &String, rule| Err(DocumentError::Malformed { what, value: value.clone(), rule });
    match party.faults().first() {
        None => Ok(()),
        Some(PartyFault::Name) => Err(DocumentError::Missing { what: name, rule }),
        Some(PartyFault::Country) => malformed(country, &party.country, "two letters of ISO 3166-1"),
        Some(PartyFault::AddressLines) => at_most("lines of an address", party.address_lines.len(), MAX_ADDRESS_LINES),
        Some(PartyFault::VatId) => malformed(vat_id, &party.vat_id, "BR-CO-09: begins with a country"),
    }
}

fn check_bank(document: &InvoiceDocument) -> Checked {
    let Some(bank) = &document.payment.bank else {
        return Ok(());
    };
    if bank.iban.is_empty() && bank.account_number.is_empty() {
        return Err(DocumentError::Missing { what: "the account's number", rule: "BR-50" });
    }
    wellformed(
        "the IBAN",
        &bank.iban,
        "ISO 13616: no spaces, right check digits",
        bank.iban.is_empty() || is_iban(&bank.iban),
    )
}

fn check_period(period: Option<ServicePeriod>) -> Checked {
    let is_forward = period.is_none_or(|period| period.first <= period.last);
    wellformed("a period", "its end is before its begin", "BR-29, BR-30", is_forward)
}

/// Every text of the document that somebody else wrote.
fn texts(document: &InvoiceDocument) -> impl Iterator<Item = &str> {
    let parties = [&document.seller, &document.buyer].into_iter().flat_map(|party| {
        let Party {
            name,
            address_lines,
            city,
            postcode,
            region,
            country,
            vat_id,
            tax_number,
            registration,
            email,
            website,
        } = party;
        let fixed = [name, city, postcode, region, country, vat_id, tax_number, registration, email, website];
        fixed.into_iter().chain(address_lines)
    });
    let bank =
        document.payment.bank.iter().flat_map(|bank| {
            [&bank.holder, &bank.iban, &bank.account_number, &bank.routing, &bank.bic, &bank.bank_name]
        });
    let lines = document.lines.iter().flat_map(|line| [&line.description, &line.detail]);
    let reasons = document.allowances.iter().map(|allowance| &allowance.reason);
    let own = [&document.number, &document.buyer_reference, &document.payment.reference, &document.payment.online_url];
    parties
        .chain(bank)
        .chain(lines)
        .chain(reasons)
        .chain(document.tax_groups.iter().map(|group| &group.reason))
        .chain(&document.notes)
        .chain(own)
        .map(String::as_str)
}

fn present(what: &'static str, text: &str, rule: &'static str) -> Checked {
    if super::super::one_line(text).is_empty() { Err(DocumentError::Missing { what, rule }) } else { Ok(()) }
}

fn wellformed(what: &'static str, value: &str, rule: &'static str, is_so: bool) -> Checked {
    if is_so { Ok(()) } else { Err(DocumentError::Malformed { what, value: value.to_owned(), rule }) }
}

fn at_most(what: &'static str, n: usize, most: usize) -> Checked {
    if n <= most { Ok(()) } else { Err(DocumentError::TooMuch { what, n, most }) }
}
