//! Seller, buyer and the buyer's reference.

use super::xml::Writer;
use crate::domain::invoice_document::{InvoiceDocument, Party, TaxCategory};

pub(super) fn write(w: &mut Writer, document: &InvoiceDocument) {
    // Nobody is identified by a VAT id where that tax does not apply (BR-O-02).
    let with_vat = document.tax_groups.iter().all(|group| group.tax.category != TaxCategory::NotSubject);
    w.group("ram:ApplicableHeaderTradeAgreement", |w| {
        w.text("ram:BuyerReference", &document.buyer_reference);
        w.group("ram:SellerTradeParty", |w| party(w, &document.seller, with_vat, true));
        w.group("ram:BuyerTradeParty", |w| party(w, &document.buyer, with_vat, false));
    });
}

fn party(w: &mut Writer, party: &Party, with_vat: bool, is_seller: bool) {
    w.text("ram:Name", &party.name);
    if !party.registration.is_empty() {
        w.group("ram:SpecifiedLegalOrganization", |w| w.text("ram:ID", &party.registration));
    }
    w.group("ram:PostalTradeAddress", |w| {
        w.text("ram:PostcodeCode", &party.postcode);
        for (tag, line) in ["ram:LineOne", "ram:LineTwo", "ram:LineThree"].into_iter().zip(&party.address_lines) {
            w.text(tag, line);
        }
        w.text("ram:CityName", &party.city);
        w.text("ram:CountryID", &party.country);
        w.text("ram:CountrySubDivisionName", &party.region);
    });
    if !party.email.is_empty() {
        // EM: an address for electronic mail.
        w.group("ram:URIUniversalCommunication", |w| w.attributed("ram:URIID", &[("schemeID", "EM")], &party.email));
    }
    if with_vat && !party.vat_id.is_empty() {
        w.group("ram:SpecifiedTaxRegistration", |w| w.attributed("ram:ID", &[("schemeID", "VA")], &party.vat_id));
    }
    // The standard has no place for a buyer's other tax number.
    if is_seller && !party.tax_number.is_empty() {
        w.group("ram:SpecifiedTaxRegistration", |w| w.attributed("ram:ID", &[("schemeID", "FC")], &party.tax_number));
    }
}
