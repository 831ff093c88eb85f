//! That the contract's check can fail.

use businessos::domain::stripe::intent::Method;
use serde_json::{Value, json};

use crate::fake::Fake;
use crate::stripe_contract::check;
use crate::world::client;

fn the_call(fake: &Fake) -> Value {
    let books = fake.books();
    let mut calls = books.records.iter().map(|record| serde_json::from_str(record).unwrap());
    calls.find(|record: &Value| record["kind"] == "call").expect("a call")
}

#[tokio::test]
async fn a_wrong_parameter_turns_the_contract_red() {
    for (params, complaint) in [
        (json!({ "email": "a@b.test", "nmae": "A" }), "$.nmae: unknown parameter"),
        (json!({ "balance": "much" }), "$.balance: found 'much', expected int"),
        (json!({ "metadata": { "a": { "b": "c" } } }), "$.metadata.a: found {'b': 'c'}, expected a text"),
        (json!({ "tax": { "validate_location": "now" } }), "$.tax.validate_location: found 'now', expected one of"),
    ] {
        let fake = Fake::start(0);
        client(&fake).send(Method::Post, "/v1/customers", &params, Some("key")).await.unwrap();
        let told = check(&fake.books().records).expect_err("it must be refused");
        assert!(told.contains(complaint), "{told}");
    }
    let fake = Fake::start(0);
    client(&fake).send(Method::Post, "/v1/customers", &json!({ "email": "a@b.test" }), Some("key")).await.unwrap();
    assert_eq!(check(&fake.books().records), Ok(()));
}

#[tokio::test]
async fn a_wrong_answer_of_the_fake_turns_the_contract_red() {
    let fake = Fake::start(0);
    client(&fake).send(Method::Post, "/v1/customers", &json!({}), Some("key")).await.unwrap();
    let record = the_call(&fake);
    for (pointer, value, complaint) in [
        ("/answer/created", json!("yesterday"), "$.created: found 'yesterday', expected int"),
        ("/answer/coffee", json!(1), "$.coffee: unknown field"),
        ("/version", json!("2017-08-15"), "Stripe-Version is '2017-08-15'"),
        ("/idempotency_key", json!(null), "the idempotency key is None"),
        ("/path", json!("/v1/coffees"), "Stripe has no such call"),
    ] {
        let mut broken = record.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        broken.pointer_mut(parent).unwrap()[name] = value;
        let told = check(&[broken.to_string()]).expect_err("it must be refused");
        assert!(told.contains(complaint), "{told}");
    }
    let mut broken = record;
    broken["answer"].as_object_mut().unwrap().remove("livemode");
    assert!(check(&[broken.to_string()]).expect_err("refused").contains("$.livemode: missing"));
    assert!(check(&[]).is_err(), "nothing is no evidence");
}
