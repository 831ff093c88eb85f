//! What the template reads: texts, in the order in which they are read. No figure is a number here: typst's are floats.

use serde::Serialize;

/// A page's texts.
#[derive(Debug, Serialize)]
pub(super) struct View {
    pub(super) language: String,
    /// typst's name of the sheet.
    pub(super) paper: &'static str,
    pub(super) accent: String,
    /// Black or white, whichever can be read on the accent.
    pub(super) on_accent: &'static str,
    /// Of the document, for its metadata.
    pub(super) title: String,
    pub(super) kind: &'static str,
    pub(super) number: String,
    /// First letter of the seller's name.
    pub(super) initial: String,
    pub(super) seller: PartyView,
    pub(super) buyer: PartyView,
    pub(super) facts: Vec<Pair>,
    pub(super) headline: Headline,
    pub(super) lines: Vec<LineView>,
    pub(super) totals: Vec<Pair>,
    pub(super) grand_total: Pair,
    /// What follows the total: payments, what is left.
    pub(super) after_total: Vec<Pair>,
    pub(super) payment: Option<PaymentView>,
    pub(super) notes: Vec<String>,
    /// The last line of each page.
    pub(super) footer: String,
}

/// A label and what belongs to it.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
    pub(super) label: String,
    pub(super) value: String,
}

#[derive(Debug, Serialize)]
pub(super) struct PartyView {
    pub(super) name: String,
    pub(super) address: Vec<String>,
    pub(super) details: Vec<Pair>,
}

#[derive(Debug, Serialize)]
pub(super) struct Headline {
    pub(super) amount: String,
    pub(super) rest: String,
}

#[derive(Debug, Serialize)]
pub(super) struct LineView {
    pub(super) description: String,
    pub(super) detail: String,
    pub(super) period: String,
    pub(super) quantity: String,
    pub(super) price: String,
    pub(super) tax: String,
    pub(super) amount: String,
}

#[derive(Debug, Serialize)]
pub(super) struct PaymentView {
    pub(super) intro: String,
    pub(super) facts: Vec<Pair>,
    /// What the code says, for those who do not see it; empty if there is no code.
    pub(super) code_text: String,
    pub(super) online_url: String,
}
