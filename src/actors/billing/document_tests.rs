use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::clock;
use crate::domain::invoice::LineKind;

fn facts(buyer: Value, credited: Option<InvoiceRow>) -> (Facts, Settings) {
    let settings = crate::config::load(None).expect("the defaults");
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
