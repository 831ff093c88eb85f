//! The document of an invoice: printed once, kept, and the same for whoever asks.

use std::time::Duration;

use aws_lc_rs::digest;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::clients::invoice_pdf::{InvoicePrinter, PrintError};
use crate::config::{self, SellerSettings, Settings};
use crate::db::billing_profiles::BillingProfile;
use crate::db::invoices::{self, InvoiceKind, InvoiceRow};
use crate::db::{Db, DbError, TenantTx, invoice_files};
use crate::domain::ids::{InvoiceId, TenantId};
use crate::domain::invoice::Line;
use crate::domain::invoice_document::{
    Allowance, BankAccount, DocumentCurrency, DocumentKind, DocumentLine, InvoiceDocument, Paper, Party, PartyFault,
    Payment, ServicePeriod, TaxGroup as Group, TaxKey, is_iban, major_decimal,
};
use crate::domain::money::Currency;
use crate::domain::period::Period;
use crate::domain::tax::{TaxCategory, TaxGroup, Taxation};

/// Longest wait for the printer.
const PRINT_WITHIN: Duration = Duration::from_secs(10);
/// Colour of a seller who has chosen none.
const PLAIN: &str = "#333333";

/// Stands with a buyer whose card was known and charged by Stripe when the invoice was issued.
pub(super) const PAYS_BY_CARD: &str = "pays_by_card";
/// Said on invoices that Stripe collects.
const CARD_IS_CHARGED: &str = "The card on file is charged. Nothing is to be transferred.";

/// Said on invoices to tenants that have not said who they are: they are taken to be in the seller's country, and taxed there.
const NO_ADDRESS: &str = "No billing address had been given when this was issued. Please complete your billing profile: the next \
                          invoice will name it.";
/// Said on invoices to tenants whose country there is not. None such is taken in any more.
const NO_COUNTRY: &str = "The country in the billing profile was none when this was issued. Please correct your billing profile: the \
                          next invoice will name it.";

/// Who buys whose name has nothing in it that can be read.
const NO_NAME: &str = "(no name given)";

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// There is no such invoice.
    #[error("there is no such invoice")]
    Unknown,
    /// Too many are being printed, or this one was not done in time.
    #[error("too many invoices are being printed")]
    Busy,
    /// It cannot be printed as it is.
    #[error(transparent)]
    Print(PrintError),
    /// The database did not do it.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<PrintError> for DocumentError {
    fn from(error: PrintError) -> Self {
        match error {
            PrintError::Busy | PrintError::TooLate => Self::Busy,
            other => Self::Print(other),
        }
    }
}

/// The PDF of an invoice, and its number. The first call prints it; all others get what that one has kept.
///
/// # Errors
/// [`DocumentError`].
pub async fn pdf(
    db: &Db,
    settings: &Settings,
    printer: &InvoicePrinter,
    tenant: TenantId,
    id: InvoiceId,
) -> Result<(String, Vec<u8>), DocumentError> {
    let mut tx = TenantTx::begin_read(db, tenant).await?;
    let found = Facts::read(&mut tx, id).await;
    let kept = invoice_files::find(&mut tx, id).await;
    tx.finish();
    let facts = found?.ok_or(DocumentError::Unknown)?;
    let number = facts.row.number.clone();
    if let Some(pdf) = kept? {
        return Ok((number, pdf));
    }
    let printed = printer.print(facts.document(settings)?, PRINT_WITHIN).await?;
    let mut tx = TenantTx::begin(db, tenant).await?;
    // Somebody else may have been faster: theirs is the one that stays.
    let sha256 = digest::digest(&digest::SHA256, &printed.pdf);
    let pdf = invoice_files::insert_or_find(&mut tx, id, &printed.pdf, sha256.as_ref()).await?;
    tx.commit().await?;
    Ok((number, pdf))
}

/// What is kept of an invoice.
struct Facts {
    row: InvoiceRow,
    lines: Vec<Line>,
    taxes: Vec<TaxGroup>,
    /// The invoice that a credit note takes back.
    credited: Option<InvoiceRow>,
}

impl Facts {
    async fn read(tx: &mut TenantTx, id: InvoiceId) -> Result<Option<Self>, DbError> {
        let Some(row) = invoices::find(tx, id).await? else { return Ok(None) };
        let lines = invoices::list_lines(tx, id).await?;
        let taxes = invoices::list_taxes(tx, id).await?;
        let credited = match row.credits_id {
            None => None,
            Some(credited) => invoices::find(tx, credited.into()).await?,
        };
        Ok(Some(Self { row, lines, taxes, credited }))
    }

    fn document(&self, settings: &Settings) -> Result<InvoiceDocument, DbError> {
        let Self { row, lines, taxes, credited } = self;
        let currency = row.currency()?;
        let seller: SellerSettings = parse(&row.seller)?;
        let profile: BillingProfile = parse(&row.buyer)?;
        let is_invoice = credited.is_none();
        let seller_party = seller.party().mended();
        let (buyer, remark) = buyer(&profile, &seller_party.country);
        // What was so when it was issued, and not what came of it: the document stays as it was sent. What a checkout has paid is on an
        // invoice that was paid with it.
        let is_paid = is_invoice && (row.kind == InvoiceKind::Interim.as_str() || row.total_minor == 0);
        let is_owed = is_invoice && !is_paid;
        let is_charged = is_owed && row.buyer.get(PAYS_BY_CARD).is_some_and(|is_so| *is_so == true);
        let already_paid = if is_paid { row.total_minor } else { 0 };
        let remarks = [remark.filter(|_| is_invoice), is_charged.then_some(CARD_IS_CHARGED)];
        let kind = credited.as_ref().map_or(DocumentKind::Invoice, |credited| DocumentKind::CreditNote {
            invoice_number: credited.number.clone(),
            invoice_issued_on: credited.issued_at.date_naive(),
        });
        Ok(InvoiceDocument {
            kind,
            number: row.number.clone(),
            issued_on: row.issued_at.date_naive(),
            due_on: is_owed.then(|| row.due_at.date_naive()),
            service_period: Some(days(Period { start: row.period_start, end: row.period_end })),
            buyer_reference: String::new(),
            payment: Payment {
                bank: (is_owed && !is_charged).then(|| bank(&seller)).flatten(),
                reference: row.number.clone(),
                online_url: String::new(),
            },
            accent: if seller.accent.is_empty() { PLAIN.to_owned() } else { seller.accent.clone() },
            seller: seller_party,
            buyer,
            currency: DocumentCurrency { code: currency.code().to_owned(), exponent: currency.exponent() },
            lines: lines.iter().map(|line| document_line(line, currency)).collect(),
            allowances: allowances(lines, taxes),
            tax_groups: taxes.iter().map(|group| document_group(group, &settings.billing.tax_name)).collect(),
            subtotal: row.subtotal_minor,
            allowance_total: row.discount_minor,
            tax_total: row.tax_minor,
            total: row.total_minor,
            already_paid,
            amount_due: row.total_minor.saturating_sub(already_paid),
            notes: row
                .reason
                .iter()
                .map(String::as_str)
                .chain(remarks.into_iter().flatten())
                .map(str::to_owned)
                .collect(),
            paper: match settings.billing.paper {
                config::Paper::A4 => Paper::A4,
                config::Paper::Letter => Paper::Letter,
            },
            language: "en".to_owned(),
        })
    }
}

fn parse<T: for<'a> Deserialize<'a>>(value: &serde_json::Value) -> Result<T, DbError> {
    T::deserialize(value).map_err(|_json: serde_json::Error| DbError::Corrupt("invoices' parties"))
}

/// The buyer, and what is to be said about it. One whose country is not known is invoiced as at home.
fn buyer(profile: &BillingProfile, home: &str) -> (Party, Option<&'static str>) {
    let party = profile.party().mended();
    let party =
        if party.faults().contains(&PartyFault::Name) { Party { name: NO_NAME.to_owned(), ..party } } else { party };
    if party.faults().contains(&PartyFault::Country) {
        return (Party { country: home.to_owned(), ..party }, Some(NO_COUNTRY));
    }
    let is_without_address = party.address_lines.is_empty() && party.city.is_empty();
    (party, is_without_address.then_some(NO_ADDRESS))
}

fn bank(seller: &SellerSettings) -> Option<BankAccount> {
    let SellerSettings { legal_name, bank, iban, bic, .. } = seller;
    // People write them in groups of four.
    let iban: String = iban.chars().filter(|c| !c.is_whitespace()).collect();
    is_iban(&iban).then(|| BankAccount {
        holder: legal_name.clone(),
        iban,
        bic: bic.clone(),
        bank_name: bank.clone(),
        ..BankAccount::default()
    })
}

fn document_line(line: &Line, currency: Currency) -> DocumentLine {
    let Line { key: _, kind: _, description, quantity, unit_price, amount_minor, period, taxation } = line;
    let major = |minor: &str| major_decimal(minor, currency.exponent());
    // What was rounded in two parts may differ by a unit from the product: then the line is one thing of that price.
    let is_product = unit_price.of(*quantity) == Ok(*amount_minor);
    let (quantity, unit_price, detail) = if is_product {
        (quantity.to_string(), major(&unit_price.to_string()), String::new())
    } else {
        let sign = if *amount_minor < 0 { "-1" } else { "1" };
        let detail = format!("{quantity} at {} {currency}", major(&unit_price.to_string()));
        (sign.to_owned(), major(&amount_minor.unsigned_abs().to_string()), detail)
    };
    DocumentLine {
        description: description.clone(),
        detail,
        quantity,
        unit: "C62".to_owned(),
        unit_price,
        price_quantity: 1,
        net: *amount_minor,
        tax: tax_key(*taxation),
        period: Some(days(*period)),
    }
}

/// What was taken off each tax group: its lines' sum without its basis.
fn allowances(lines: &[Line], taxes: &[TaxGroup]) -> Vec<Allowance> {
    let taken = taxes.iter().map(|group| {
        let sum: i64 = lines.iter().filter(|line| line.taxation == group.taxation).map(|line| line.amount_minor).sum();
        Allowance {
            reason: "Discount".to_owned(),
            amount: sum.saturating_sub(group.basis_minor),
            tax: tax_key(group.taxation),
        }
    });
    taken.filter(|allowance| allowance.amount != 0).collect()
}

fn document_group(group: &TaxGroup, tax_name: &str) -> Group {
    let reason = match group.taxation.category {
        TaxCategory::Standard | TaxCategory::Zero => String::new(),
        TaxCategory::ReverseCharge => "Reverse charge: the buyer accounts for the tax".to_owned(),
        TaxCategory::Exempt => format!("Exempt from {tax_name}"),
        TaxCategory::NotSubject => format!("Not subject to {tax_name}"),
    };
    Group { tax: tax_key(group.taxation), basis: group.basis_minor, amount: group.amount_minor, reason }
}

fn tax_key(taxation: Taxation) -> TaxKey {
    TaxKey { category: taxation.category, rate: taxation.rate.millionths() }
}

/// The days of a period, of which it begins and ends at midnight but when it was cut off by the second.
fn days(period: Period) -> ServicePeriod {
    let last: DateTime<Utc> = period.end - TimeDelta::microseconds(1);
    let first = period.start.date_naive();
    ServicePeriod { first, last: last.date_naive().max(first) }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
