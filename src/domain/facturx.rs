//! The invoice for machines: Factur-X 1.0 (ZUGFeRD 2), profile EN 16931, in the syntax Cross Industry Invoice of UN/CEFACT.
//!
//! The file is attached to the PDF, so that the receiver's software books the invoice without reading the page. Elements come
//! in the order of the schema; those without a value are left out, for empty ones are forbidden (PEPPOL-EN16931-R008).

mod agreement;
mod line;
mod settlement;
#[cfg(test)]
mod tests;
mod xml;

use chrono::NaiveDate;

use self::xml::Writer;
use super::invoice_document::{
    DocumentError, DocumentKind, InvoiceDocument, TaxCategory, TaxKey, percent_text, plain_amount,
};

/// Name of the file in the PDF; the specification's.
pub const FILE_NAME: &str = "factur-x.xml";
/// Name of the profile in the PDF's metadata.
pub const CONFORMANCE_LEVEL: &str = "EN 16931";
/// Identifies the profile in the XML (BT-24).
const GUIDELINE: &str = "urn:cen.eu:en16931:2017";
/// Namespaces of the syntax.
const NAMESPACES: &[(&str, &str)] = &[
    ("xmlns:rsm", "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"),
    ("xmlns:qdt", "urn:un:unece:uncefact:data:standard:QualifiedDataType:100"),
    ("xmlns:ram", "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100"),
    ("xmlns:udt", "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100"),
];

/// The XML of a document. The same document gives the same text.
///
/// # Errors
/// [`DocumentError`] when the document is not fit to be issued.
pub fn xml(document: &InvoiceDocument) -> Result<String, DocumentError> {
    document.check()?;
    Ok(unchecked_xml(document))
}

/// The XML of a document that nobody checked: for the tests that show that the validator sees what the check sees.
#[must_use]
pub fn unchecked_xml(document: &InvoiceDocument) -> String {
    let mut w = Writer::new();
    w.within("rsm:CrossIndustryInvoice", NAMESPACES, |w| {
        w.group("rsm:ExchangedDocumentContext", |w| {
            w.group("ram:GuidelineSpecifiedDocumentContextParameter", |w| w.text("ram:ID", GUIDELINE));
        });
        w.group("rsm:ExchangedDocument", |w| {
            w.text("ram:ID", &document.number);
            w.text("ram:TypeCode", type_code(&document.kind));
            w.group("ram:IssueDateTime", |w| date(w, "udt:DateTimeString", document.issued_on));
            for note in &document.notes {
                w.group("ram:IncludedNote", |w| w.text("ram:Content", note));
            }
        });
        w.group("rsm:SupplyChainTradeTransaction", |w| {
            for (at, item) in document.lines.iter().enumerate() {
                line::write(w, at + 1, item, document);
            }
            agreement::write(w, document);
            w.group("ram:ApplicableHeaderTradeDelivery", |w| delivery(w, &document.buyer.country));
            settlement::write(w, document);
        });
    });
    w.finish()
}

/// Where the service is used: the buyer's country (BT-80). The schema wants the group around it, and the rules want it filled.
fn delivery(w: &mut Writer, country: &str) {
    w.group("ram:ShipToTradeParty", |w| {
        w.group("ram:PostalTradeAddress", |w| w.text("ram:CountryID", country));
    });
}

/// UNTDID 1001.
fn type_code(kind: &DocumentKind) -> &'static str {
    match kind {
        DocumentKind::Invoice => "380",
        DocumentKind::CreditNote { .. } => "381",
    }
}

/// A day, in the only format that the profile knows (102).
fn date(w: &mut Writer, tag: &str, day: NaiveDate) {
    w.attributed(tag, &[("format", "102")], &day.format("%Y%m%d").to_string());
}

/// An amount with two decimals at most: the third of a currency that has three is zero, [`InvoiceDocument::check`] sees to it.
fn amount(document: &InvoiceDocument, minor: i64) -> String {
    match document.currency.exponent {
        3 => plain_amount(minor / 10, 2),
        exponent => plain_amount(minor, exponent),
    }
}

/// Category and rate. Where the tax does not apply there is no rate (BR-O-05).
fn tax_key(w: &mut Writer, key: TaxKey) {
    w.text("ram:CategoryCode", key.category.code());
    tax_rate(w, key);
}

fn tax_rate(w: &mut Writer, key: TaxKey) {
    if key.category != TaxCategory::NotSubject {
        w.text("ram:RateApplicablePercent", &percent_text(key.rate));
    }
}

/// Days from the first to the last.
fn period(w: &mut Writer, period: Option<super::invoice_document::ServicePeriod>) {
    if let Some(period) = period {
        w.group("ram:BillingSpecifiedPeriod", |w| {
            w.group("ram:StartDateTime", |w| date(w, "udt:DateTimeString", period.first));
            w.group("ram:EndDateTime", |w| date(w, "udt:DateTimeString", period.last));
        });
    }
}
