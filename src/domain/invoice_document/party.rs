//! Whom a document can name: asked before a buyer or a seller is believed, and again before a document is printed.

use super::{Party, TaxCategory, one_line};
use crate::domain::country;

/// Lines of an address at most (BT-35, BT-36, BT-162).
pub const MAX_ADDRESS_LINES: usize = 3;

/// What keeps every document that names a party from being printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartyFault {
    /// It has no name that can be read.
    Name,
    /// Its country is none.
    Country,
    /// Its address has too many lines.
    AddressLines,
    /// Its VAT id is none.
    VatId,
}

impl PartyFault {
    /// What must be there instead.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Name => "a name of characters that can be seen",
            Self::Country => "a country's code of ISO 3166-1, such as DE, or GB for the United Kingdom",
            Self::AddressLines => "at most 3 lines",
            Self::VatId => "a number that begins with a country's code",
        }
    }
}

/// The number that a seller must have and has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SellerNumber {
    /// A VAT id or another tax number (BR-S-02, BR-Z-02, BR-E-02, BR-AE-02).
    Tax,
    /// One of the register of companies, because no VAT id may identify it (BR-CO-26).
    Registration,
}

impl Party {
    /// The same with its number for tax: one that begins with a country is one for value added tax (BR-CO-09), any other is
    /// another tax office's.
    #[must_use]
    pub fn with_tax_id(self, tax_id: String) -> Self {
        if is_vat_id(&tax_id) { Self { vat_id: tax_id, ..self } } else { Self { tax_number: tax_id, ..self } }
    }

    /// Everything that keeps a document that names it from being printed.
    #[must_use]
    pub fn faults(&self) -> Vec<PartyFault> {
        let faults = [
            (PartyFault::Name, one_line(&self.name).is_empty()),
            (PartyFault::Country, country::name(&self.country).is_none()),
            (PartyFault::AddressLines, self.address_lines.len() > MAX_ADDRESS_LINES),
            (PartyFault::VatId, !self.vat_id.is_empty() && !is_vat_id(&self.vat_id)),
        ];
        faults.into_iter().filter(|(_, is_there)| *is_there).map(|(fault, _)| fault).collect()
    }

    /// What it lacks as the seller of something in a category of tax.
    #[must_use]
    pub fn lacks_as_seller(&self, category: TaxCategory) -> Option<SellerNumber> {
        // Where the tax does not apply, the XML must not have the VAT id, which cannot identify the seller then (BR-O-02).
        let is_subject = category != TaxCategory::NotSubject;
        if is_subject && self.vat_id.is_empty() && self.tax_number.is_empty() {
            return Some(SellerNumber::Tax);
        }
        let is_identified = (is_subject && !self.vat_id.is_empty()) || !self.registration.is_empty();
        (!is_identified).then_some(SellerNumber::Registration)
    }

    /// The same as far as it can be printed: what was written down before it was asked for as strictly is put right where its
    /// meaning is plain.
    #[must_use]
    pub fn mended(mut self) -> Self {
        self.country = match &*self.country {
            "UK" => "GB".to_owned(),
            "EL" => "GR".to_owned(),
            _ => self.country,
        };
        if self.address_lines.len() > MAX_ADDRESS_LINES {
            let last = self.address_lines.split_off(MAX_ADDRESS_LINES - 1);
            self.address_lines.push(last.join(", "));
        }
        self
    }
}

/// Whether a number begins with a country. Greece and Northern Ireland have prefixes of their own.
fn is_vat_id(tax_id: &str) -> bool {
    tax_id.get(..2).is_some_and(|prefix| country::name(prefix).is_some() || prefix == "EL" || prefix == "XI")
}

/// Whether a text is an IBAN without spaces: the number with its head moved to the end is 1 modulo 97 (ISO 13616, ISO 7064).
#[must_use]
pub fn is_iban(iban: &str) -> bool {
    let is_text = iban.len() <= 34 && iban.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let (Some(head), Some(tail)) = (iban.get(..4), iban.get(4..)) else {
        return false;
    };
    let rest = tail.chars().chain(head.chars()).filter_map(|c| c.to_digit(36)).fold(0, |rest, digit| {
        let shift = if digit < 10 { 10 } else { 100 };
        (rest * shift + digit) % 97
    });
    is_text && tail.len() >= 11 && rest == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(country: &str, tax_id: &str, n_lines: usize) -> Party {
        let address_lines = (1..=n_lines).map(|n| format!("line {n}")).collect();
        let party = Party { name: "Acme".to_owned(), country: country.to_owned(), address_lines, ..Party::default() };
        party.with_tax_id(tax_id.to_owned())
    }

    #[test]
    fn every_fault_is_found_and_nothing_else() {
        assert_eq!(party("DE", "DE123456789", 3).faults(), []);
        assert_eq!(party("UK", "", 4).faults(), [PartyFault::Country, PartyFault::AddressLines]);
        let nameless = Party { name: "\u{200e} \n".to_owned(), ..party("DE", "", 0) };
        assert_eq!(nameless.faults(), [PartyFault::Name]);
        let wrong = Party { vat_id: "EU826010755".to_owned(), ..party("DE", "", 0) };
        assert_eq!(wrong.faults(), [PartyFault::VatId]);
        assert!(PartyFault::AddressLines.expected().contains(&MAX_ADDRESS_LINES.to_string()));
    }

    #[test]
    fn a_number_is_a_vat_id_if_it_begins_with_a_country() {
        for id in ["DE123456789", "EL123456789", "XI123456789", "GB1"] {
            assert_eq!(party("DE", id, 0).vat_id, id);
        }
        for id in ["EU826010755", "XAXX010101000", "12-3456789", "de123456789", "Ä1", ""] {
            assert_eq!(party("DE", id, 0).tax_number, id);
        }
    }

    #[test]
    fn what_was_meant_is_put_right_and_nothing_is_lost() {
        let mended = party("UK", "", 5).mended();
        assert_eq!(
            (&*mended.country, &*mended.address_lines),
            ("GB", &["line 1", "line 2", "line 3, line 4, line 5"].map(str::to_owned)[..])
        );
        assert_eq!(mended.faults(), []);
        assert_eq!(party("DE", "DE1", 3).mended(), party("DE", "DE1", 3));
    }

    #[test]
    fn a_seller_is_identified_by_its_vat_id_only_where_the_tax_applies() {
        let registered = |party: Party| Party { registration: "HRB 1".to_owned(), ..party };
        for (seller, standard, not_subject) in [
            (party("DE", "DE1", 0), None, Some(SellerNumber::Registration)),
            (party("DE", "12/345", 0), Some(SellerNumber::Registration), Some(SellerNumber::Registration)),
            (party("DE", "", 0), Some(SellerNumber::Tax), Some(SellerNumber::Registration)),
            (registered(party("DE", "", 0)), Some(SellerNumber::Tax), None),
            (registered(party("DE", "12/345", 0)), None, None),
        ] {
            assert_eq!(seller.lacks_as_seller(TaxCategory::Standard), standard, "{seller:?}");
            assert_eq!(seller.lacks_as_seller(TaxCategory::NotSubject), not_subject, "{seller:?}");
        }
    }

    #[test]
    fn an_iban_has_right_digits_and_no_spaces() {
        assert!(is_iban("DE89370400440532013000"));
        for wrong in ["DE89 3704 0044 0532 0130 00", "DE89370400440532013001", "de89370400440532013000", "", "ÄÖÜ"] {
            assert!(!is_iban(wrong), "{wrong}");
        }
    }
}
