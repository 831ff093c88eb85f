//! All that stands on an invoice or a credit note, ready to be printed and to be written as XML.
//!
//! Whoever issues the document computes every figure; [`InvoiceDocument::check`] computes them again and refuses a document
//! that is off by one minor unit, so that a wrong sum never reaches a customer. The terms and rules (BT-…, BR-…) are those of
//! EN 16931-1, the European standard for electronic invoices; an invoice that keeps them is a good invoice anywhere.

mod amount;
mod check;
mod decimal;
mod error;
mod party;
#[cfg(test)]
mod tests;
mod text;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

pub use amount::{grouped_amount, grouped_decimal, major_decimal, money_text, percent_text, plain_amount};
pub use check::{MAX_ALL_CHARS, MAX_LINES, MAX_TEXT_CHARS};
pub use error::DocumentError;
pub use party::{MAX_ADDRESS_LINES, PartyFault, SellerNumber, is_iban};
pub use text::one_line;

pub use super::tax::TaxCategory;

/// An invoice or a credit note. Amounts are in minor units of its currency; empty texts count as absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceDocument {
    /// What it is.
    pub kind: DocumentKind,
    /// Its number, unique for the seller (BT-1).
    pub number: String,
    /// The day it was issued (BT-2).
    pub issued_on: NaiveDate,
    /// The last day to pay (BT-9); needed when something is to be paid.
    pub due_on: Option<NaiveDate>,
    /// What time it is for (BG-14).
    pub service_period: Option<ServicePeriod>,
    /// The buyer's own reference, such as a purchase order's number (BT-10).
    pub buyer_reference: String,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// How to pay.
    pub payment: Payment,
    /// What the amounts are in.
    pub currency: DocumentCurrency,
    /// What is sold, at least one line (BG-25).
    pub lines: Vec<DocumentLine>,
    /// What is taken off the sum of the lines, such as a coupon (BG-20).
    pub allowances: Vec<Allowance>,
    /// The tax for each category and rate (BG-23), each pair once.
    pub tax_groups: Vec<TaxGroup>,
    /// Sum of the lines (BT-106).
    pub subtotal: i64,
    /// Sum of the allowances, not negative (BT-107).
    pub allowance_total: i64,
    /// Sum of the taxes (BT-110).
    pub tax_total: i64,
    /// With tax (BT-112).
    pub total: i64,
    /// What was paid before it was issued (BT-113).
    pub already_paid: i64,
    /// What is left to pay (BT-115); on a credit note, what is given back.
    pub amount_due: i64,
    /// Remarks, each a paragraph (BT-22).
    pub notes: Vec<String>,
    /// Size of the sheet.
    pub paper: Paper,
    /// Language of the fixed words: `en`.
    pub language: String,
    /// The seller's colour, `#RRGGBB`.
    pub accent: String,
}

/// Invoice or credit note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DocumentKind {
    /// Asks for money (type 380).
    Invoice,
    /// Gives money back (type 381): its amounts are positive and count against an earlier invoice.
    CreditNote {
        /// Number of the invoice that it corrects (BT-25).
        invoice_number: String,
        /// When that was issued (BT-26).
        invoice_issued_on: NaiveDate,
    },
}

/// Days from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePeriod {
    /// The first day.
    pub first: NaiveDate,
    /// The last day, not before the first.
    pub last: NaiveDate,
}

/// A seller or a buyer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Full name (BT-27, BT-44).
    pub name: String,
    /// Street and the like, at most three lines.
    pub address_lines: Vec<String>,
    /// Town.
    pub city: String,
    /// Post code.
    pub postcode: String,
    /// State or province, where addresses have one.
    pub region: String,
    /// Country, two letters of ISO 3166-1.
    pub country: String,
    /// VAT identification number with its country's prefix (BT-31, BT-48).
    pub vat_id: String,
    /// Any other tax number, such as a US employer's number (BT-32).
    pub tax_number: String,
    /// Number in a register of companies (BT-30, BT-47).
    pub registration: String,
    /// Address for mail (BT-34, BT-49).
    pub email: String,
    /// Web site, printed only.
    pub website: String,
}

/// How to pay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The seller's account, for a transfer (BG-17).
    pub bank: Option<BankAccount>,
    /// What the payer writes on the transfer (BT-83).
    pub reference: String,
    /// A page where it can be paid by card, printed only.
    pub online_url: String,
}

/// A bank account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankAccount {
    /// Who holds it (BT-85).
    pub holder: String,
    /// IBAN without spaces, ISO 13616 (BT-84); where there is none, `account_number`.
    pub iban: String,
    /// The number of an account without IBAN (BT-84).
    pub account_number: String,
    /// Routing number or sort code, printed only.
    pub routing: String,
    /// BIC, ISO 9362 (BT-86).
    pub bic: String,
    /// Name of the bank, printed only.
    pub bank_name: String,
}

/// A currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentCurrency {
    /// Three letters of ISO 4217.
    pub code: String,
    /// Decimals of its minor unit: 0, 2 or 3. With 3, amounts are multiples of ten (EN 16931 has two decimals at most).
    pub exponent: u8,
}

/// Something sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentLine {
    /// What it is (BT-153).
    pub description: String,
    /// More about it, such as `12,345 AI tokens beyond 100,000 included` (BT-154).
    pub detail: String,
    /// How much (BT-129), a decimal such as `12345` or `-1`, 18 digits at most. A credit has a negative quantity, never a
    /// negative price (BR-27); a part of a month is a quantity of 1 at the price of that part.
    pub quantity: String,
    /// Unit of the quantity, a code of UN/ECE Recommendation 20: `C62` one, `MON` month.
    pub unit: String,
    /// Price of `price_quantity` units in major units of the currency (BT-146), a decimal such as `49.00` or `0.00002`, 19
    /// digits at most.
    pub unit_price: String,
    /// For how many units that price is (BT-149), 1 or more.
    pub price_quantity: u32,
    /// Quantity × price, rounded half away from zero to a minor unit (BT-131).
    pub net: i64,
    /// How it is taxed.
    pub tax: TaxKey,
    /// What time it is for (BG-26).
    pub period: Option<ServicePeriod>,
}

/// Something taken off the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Why (BT-97).
    pub reason: String,
    /// How much, not negative (BT-92).
    pub amount: i64,
    /// From which tax group it is taken.
    pub tax: TaxKey,
}

/// A category and rate of tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaxKey {
    /// The category.
    pub category: TaxCategory,
    /// The rate in millionths: 200,000 for 20 %, 88,750 for 8.875 %. Zero unless the category is [`TaxCategory::Standard`].
    pub rate: u32,
}

/// The tax of one category and rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxGroup {
    /// Category and rate.
    pub tax: TaxKey,
    /// Its lines without its allowances (BT-116).
    pub basis: i64,
    /// Basis × rate, rounded half away from zero to a minor unit (BT-117).
    pub amount: i64,
    /// Why there is no tax (BT-120), where the category needs it.
    pub reason: String,
}

/// Size of the sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Paper {
    /// ISO 216, 210 × 297 mm.
    A4,
    /// 8.5 × 11 inches.
    Letter,
}
