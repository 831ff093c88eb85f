//! Pictures of objects, in and out of order.

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(2_000, 0).expect("in range")
}

fn kinds(before: Option<&Value>, object: &Value) -> Vec<(&'static str, String)> {
    facts(before, object, 3, now()).into_iter().map(|fact| (fact.kind.as_str(), fact.occurrence)).collect()
}

fn invoice(status: &str) -> Value {
    json!({
        "id": "in_1", "object": "invoice", "status": status, "total": 4900, "amount_paid": 4900, "amount_remaining": 4900,
        "currency": "usd", "created": 10, "attempt_count": 0, "status_transitions": { "paid_at": 20 },
    })
}

#[test]
fn a_paid_invoice_was_open_even_if_nobody_saw_it() {
    let facts = facts(None, &invoice("paid"), 1, now());
    assert_eq!(
        facts.iter().map(|fact| fact.kind).collect::<Vec<_>>(),
        [FactKind::InvoiceOpened, FactKind::InvoicePaid]
    );
    assert_eq!(facts[1].amount, Some((4900, "USD".to_owned())));
    assert_eq!(facts[1].occurred_at.timestamp(), 20);
    assert_eq!(facts[0].occurred_at, now(), "it does not say when it was finalised");
}

#[test]
fn each_failed_attempt_is_a_fact_of_its_own() {
    let mut open = invoice("open");
    assert_eq!(kinds(None, &open), [("invoice_opened", String::new())]);
    for n in 1..3 {
        open["attempt_count"] = n.into();
        assert_eq!(kinds(None, &open)[1], ("payment_failed", n.to_string()));
    }
}

#[test]
fn a_subscription_is_told_of_when_something_that_matters_changed() {
    let subscription = |status: &str, etag: i64| {
        json!({
            "id": "sub_1", "object": "subscription", "status": status, "latest_invoice": etag.to_string(),
            "items": { "data": [{ "id": "si_1", "price": { "id": "price_1", "lookup_key": "basic_v1_usd" } }] },
        })
    };
    let active = subscription("active", 1);
    assert_eq!(kinds(None, &active), [("subscription_changed", "3".to_owned())]);
    assert_eq!(kinds(Some(&active), &subscription("active", 2)), []);
    assert_eq!(kinds(Some(&active), &subscription("past_due", 2)).len(), 1);
    assert_eq!(facts(None, &active, 1, now())[0].detail["items"][0]["lookup_key"], "basic_v1_usd");
}

#[test]
fn what_was_given_back_is_told_once_for_each_amount() {
    let charge =
        |refunded: i64| json!({"id": "ch_1", "object": "charge", "amount_refunded": refunded, "currency": "eur"});
    assert_eq!(kinds(None, &charge(0)), []);
    assert_eq!(kinds(None, &charge(500)), [("charge_refunded", "500".to_owned())]);
}

#[test]
fn shapes_that_nobody_knows_say_nothing() {
    for object in
        [json!({}), json!(null), json!({"id": "x"}), json!({"id": "in_1", "object": "invoice", "status": "new"})]
    {
        assert_eq!(kinds(None, &object), [], "{object}");
    }
}

#[test]
fn a_customer_that_was_deleted_by_hand_is_told_of() {
    assert_eq!(kinds(None, &json!({"id": "cus_1", "object": "customer", "deleted": true})).len(), 1);
    assert_eq!(kinds(None, &json!({"id": "prod_1", "object": "product", "deleted": true})), []);
}

#[test]
fn another_card_is_told_of_once_and_none_is_not() {
    let customer = |card: Value| json!({"id": "cus_1", "object": "customer", "invoice_settings": { "default_payment_method": card }});
    let (none, first, second) = (customer(json!(null)), customer(json!("pm_1")), customer(json!({ "id": "pm_2" })));
    assert_eq!(kinds(None, &none), []);
    assert_eq!(kinds(Some(&none), &first), [("card_changed", "3".to_owned())]);
    assert_eq!(kinds(Some(&first), &first), []);
    assert_eq!(facts(Some(&first), &second, 4, now())[0].detail, json!({ "payment_method": "pm_2" }));
    assert_eq!(kinds(Some(&second), &none), [], "without another one, nothing is charged instead");
}
