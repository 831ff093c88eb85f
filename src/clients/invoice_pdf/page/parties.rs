//! Seller and buyer as blocks of lines.

use super::super::view::{Pair, PartyView};
use super::Printer;
use crate::domain::country;
use crate::domain::invoice_document::Party;

pub(super) fn seller(party: &Party, printer: &mut Printer<'_>) -> PartyView {
    let mut view = block(party, printer);
    view.details.extend(present(&[("E-mail", &party.email), ("Web", &party.website)], printer));
    view
}

pub(super) fn buyer(party: &Party, printer: &mut Printer<'_>) -> PartyView {
    block(party, printer)
}

/// The seller on one line, for the foot of each page.
pub(super) fn footer(party: &Party, printer: &mut Printer<'_>) -> String {
    let parts = [&party.name, &party.email, &party.website];
    let parts: Vec<_> = parts.into_iter().map(|part| printer.text(part)).filter(|part| !part.is_empty()).collect();
    parts.join("  ·  ")
}

fn block(party: &Party, printer: &mut Printer<'_>) -> PartyView {
    let town = match &*party.country {
        // Where the post code follows the town and the state.
        "US" | "CA" | "AU" => {
            let state = [&*party.region, &*party.postcode].join(" ");
            [&*party.city, state.trim()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
        }
        "GB" | "IE" | "IN" => [&*party.city, &*party.region, &*party.postcode].join(" "),
        _ => [&*party.postcode, &*party.city, &*party.region].join(" "),
    };
    let country = country::name(&party.country).unwrap_or(&party.country);
    let lines = party.address_lines.iter().map(String::as_str).chain([&*town, country]);
    PartyView {
        name: printer.text(&party.name),
        address: lines.map(|line| printer.text(line)).filter(|line| !line.is_empty()).collect(),
        details: present(
            &[("VAT id", &party.vat_id), ("Tax no.", &party.tax_number), ("Reg. no.", &party.registration)],
            printer,
        ),
    }
}

/// Those that are not empty.
fn present(pairs: &[(&str, &String)], printer: &mut Printer<'_>) -> Vec<Pair> {
    let pairs = pairs.iter().filter(|(_, value)| !value.trim().is_empty());
    pairs.map(|(label, value)| printer.pair(label, value)).collect()
}
