//! How it is paid, taxes, allowances and sums.

use super::xml::Writer;
use super::{amount, date, period, tax_key};
use crate::domain::invoice_document::{BankAccount, DocumentKind, InvoiceDocument};

pub(super) fn write(w: &mut Writer, document: &InvoiceDocument) {
    w.group("ram:ApplicableHeaderTradeSettlement", |w| {
        w.text("ram:PaymentReference", &document.payment.reference);
        w.text("ram:InvoiceCurrencyCode", &document.currency.code);
        if let Some(bank) = &document.payment.bank {
            transfer(w, bank, &document.currency.code);
        }
        for group in &document.tax_groups {
            w.group("ram:ApplicableTradeTax", |w| {
                w.text("ram:CalculatedAmount", &amount(document, group.amount));
                w.text("ram:TypeCode", "VAT");
                w.text("ram:ExemptionReason", &group.reason);
                w.text("ram:BasisAmount", &amount(document, group.basis));
                tax_key(w, group.tax);
            });
        }
        period(w, document.service_period);
        for allowance in &document.allowances {
            w.group("ram:SpecifiedTradeAllowanceCharge", |w| {
                w.group("ram:ChargeIndicator", |w| w.text("udt:Indicator", "false"));
                w.text("ram:ActualAmount", &amount(document, allowance.amount));
                w.text("ram:Reason", &allowance.reason);
                w.group("ram:CategoryTradeTax", |w| {
                    w.text("ram:TypeCode", "VAT");
                    tax_key(w, allowance.tax);
                });
            });
        }
        terms(w, document);
        sums(w, document);
        if let DocumentKind::CreditNote { invoice_number, invoice_issued_on } = &document.kind {
            w.group("ram:InvoiceReferencedDocument", |w| {
                w.text("ram:IssuerAssignedID", invoice_number);
                w.group("ram:FormattedIssueDateTime", |w| date(w, "qdt:DateTimeString", *invoice_issued_on));
            });
        }
    });
}

/// A transfer (UNTDID 4461): within SEPA, which has euros and IBANs only, or any other.
fn transfer(w: &mut Writer, bank: &BankAccount, currency: &str) {
    let is_sepa = currency == "EUR" && !bank.iban.is_empty();
    w.group("ram:SpecifiedTradeSettlementPaymentMeans", |w| {
        w.text("ram:TypeCode", if is_sepa { "58" } else { "30" });
        w.group("ram:PayeePartyCreditorFinancialAccount", |w| {
            w.text("ram:IBANID", &bank.iban);
            w.text("ram:AccountName", &bank.holder);
            if bank.iban.is_empty() {
                w.text("ram:ProprietaryID", &bank.account_number);
            }
        });
        if !bank.bic.is_empty() {
            w.group("ram:PayeeSpecifiedCreditorFinancialInstitution", |w| w.text("ram:BICID", &bank.bic));
        }
    });
}

/// When to pay. What is due without a day to pay it by has its terms in words (BR-CO-25).
fn terms(w: &mut Writer, document: &InvoiceDocument) {
    let words = match (&document.kind, document.amount_due) {
        (DocumentKind::CreditNote { .. }, _) => "The amount is credited to the buyer.",
        (DocumentKind::Invoice, 0) => "Nothing is left to pay.",
        (DocumentKind::Invoice, _) => "",
    };
    if words.is_empty() && document.due_on.is_none() {
        return;
    }
    w.group("ram:SpecifiedTradePaymentTerms", |w| {
        w.text("ram:Description", words);
        if let Some(due_on) = document.due_on {
            w.group("ram:DueDateDateTime", |w| date(w, "udt:DateTimeString", due_on));
        }
    });
}

fn sums(w: &mut Writer, document: &InvoiceDocument) {
    w.group("ram:SpecifiedTradeSettlementHeaderMonetarySummation", |w| {
        w.text("ram:LineTotalAmount", &amount(document, document.subtotal));
        if !document.allowances.is_empty() {
            w.text("ram:AllowanceTotalAmount", &amount(document, document.allowance_total));
        }
        w.text("ram:TaxBasisTotalAmount", &amount(document, document.tax_exclusive()));
        let currency = [("currencyID", &*document.currency.code)];
        w.attributed("ram:TaxTotalAmount", &currency, &amount(document, document.tax_total));
        w.text("ram:GrandTotalAmount", &amount(document, document.total));
        if document.already_paid != 0 {
            w.text("ram:TotalPrepaidAmount", &amount(document, document.already_paid));
        }
        w.text("ram:DuePayableAmount", &amount(document, document.amount_due));
    });
}
