use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::domain::invoice::LineKind;

fn facts(buyer: Value, credited: Option<InvoiceRow>) -> (Facts, Settings) {
    let mut settings = crate::config::load(None).expect("the defaults");
    settings.billing.seller.iban = "DE89370400440532013000".to_owned();
    let period = Period::parse("2026-11").expect("a month");
    let taxation = Taxation::NONE;
    let line = Line::flat(LineKind::Plan, "plan:basic".into(), "Plan basic".into(), 4_900, period, taxation);
    let row = InvoiceRow {
        id: Uuid::nil(),
        number: "INV-2026-000001".to_owned(),
        kind: "cycle".to_owned(),
        status: "open".to_owned(),
        period_start: period.start,
        period_end: period.end,
        currency: "USD".to_owned(),
        subtotal_minor: 4_900,
        discount_minor: 0,
        tax_minor: 0,
        total_minor: 4_900,
        issued_at: clock::now(),
        due_at: clock::now() + TimeDelta::days(14),
        seller: json!(settings.billing.seller),
        buyer,
        credits_id: None,
        reason: credited.as_ref().map(|_| "A mistake".to_owned()),
        paid_at: None,
        payment_reference: None,
        credited_minor: 0,
    };
    let taxes = vec![TaxGroup { taxation, basis_minor: 4_900, amount_minor: 0 }];
    (Facts { row, lines: vec![line], taxes, credited }, settings)
}

fn buyer(address_lines: Value, city: &str) -> Value {
    json!({ "legal_name": "Acme", "address_lines": address_lines, "city": city, "postcode": "", "country": "IE", "tax_id": null, "emails": [] })
}

#[test]
fn an_invoice_without_an_address_asks_for_one_and_a_credit_note_does_not() {
    let notes = |buyer, credited| {
        let (facts, settings) = facts(buyer, credited);
        let document = facts.document(&settings).expect("a document");
        document.check().expect("one that can be printed");
        document.notes
    };
    assert_eq!(notes(buyer(json!([]), ""), None), [NO_ADDRESS]);
    assert_eq!(notes(buyer(json!(["1 Street"]), ""), None), Vec::<String>::new());
    assert_eq!(notes(buyer(json!([]), "Cork"), None), Vec::<String>::new());
    let (first, _) = facts(buyer(json!([]), ""), None);
    assert_eq!(notes(buyer(json!([]), ""), Some(first.row)), ["A mistake"]);
}

#[test]
fn what_was_stored_before_it_was_looked_at_closely_is_printed_as_far_as_it_is_plain() {
    let (mut odd, settings) = facts(buyer(json!(["1", "2", "3", "4"]), "Cork"), None);
    odd.row.buyer["country"] = json!("UK");
    odd.row.buyer["tax_id"] = json!("UK123456789");
    odd.row.seller["iban"] = json!("DE89 3704 0044 0532 0130 00");
    let document = odd.document(&settings).expect("a document");
    assert_eq!(document.check(), Ok(()));
    assert_eq!((&*document.buyer.country, &*document.buyer.tax_number), ("GB", "UK123456789"));
    assert_eq!(document.buyer.address_lines, ["1", "2", "3, 4"]);
    assert_eq!(document.payment.bank.map(|bank| bank.iban).as_deref(), Some("DE89370400440532013000"));
    odd.row.buyer["country"] = json!("ZZ");
    odd.row.seller["iban"] = json!("DE00");
    let document = odd.document(&settings).expect("a document");
    assert_eq!(document.check(), Ok(()));
    assert_eq!((&*document.buyer.country, document.payment.bank), ("IE", None));
    assert_eq!(document.notes, [NO_COUNTRY]);
}

#[test]
fn a_document_asks_for_no_money_that_was_paid_or_that_the_card_pays() {
    let of = |change: &dyn Fn(&mut InvoiceRow)| {
        let (mut facts, settings) = facts(buyer(json!(["1 Street"]), ""), None);
        change(&mut facts.row);
        let document = facts.document(&settings).expect("a document");
        document.check().expect("one that can be printed");
        document
    };
    let asked = of(&|_| {});
    assert_eq!((asked.already_paid, asked.amount_due), (0, 4_900));
    assert!(asked.payment.bank.is_some() && asked.due_on.is_some() && asked.notes.is_empty());
    let paid = of(&|row| row.kind = "interim".to_owned());
    assert_eq!((paid.already_paid, paid.amount_due), (4_900, 0));
    assert!(paid.payment.bank.is_none() && paid.due_on.is_none());
    let charged = of(&|row| row.buyer[PAYS_BY_CARD] = json!(true));
    assert_eq!((charged.already_paid, charged.amount_due), (0, 4_900));
    assert!(charged.payment.bank.is_none());
    assert_eq!(charged.notes, [CARD_IS_CHARGED]);
    // What is paid later was owed when it was issued, and its document says so whenever it is printed.
    let later = of(&|row| (row.status, row.paid_at) = ("paid".to_owned(), Some(row.issued_at)));
    assert_eq!((later.already_paid, later.amount_due, later.payment), (0, 4_900, asked.payment));
}
