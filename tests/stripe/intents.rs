//! Requests that are done once, whatever happens on the way.

use businessos::actors::stripe::{CustomerFacts, PaymentError, Refund};
use serde_json::json;

use crate::fake::FaultKind;
use crate::helpers::until;
use crate::world::{World, facts, plan};

const CUSTOMERS: &str = "/v1/customers";

fn n_customers(world: &World) -> usize {
    world.fake.books().all("customer").len()
}

/// Requests but those of the server's own catalogue.
async fn requests(world: &World, condition: &str) -> i64 {
    let own = "operation <> 'create_price' AND key NOT IN ('product:basic', 'product:pro', 'product:module_crm')";
    world.app.count(&format!("SELECT count(*) FROM billing.stripe_requests WHERE {own} AND {condition}")).await
}

#[tokio::test]
async fn what_is_asked_for_twice_is_done_once() {
    let world = World::new().await;
    let first = world.customer().await;
    assert_eq!(world.customer().await, first);
    // Even when the tenant's own row is lost.
    world.app.db.as_admin("TRUNCATE billing.stripe_customers; TRUNCATE billing.stripe_customer_directory").await;
    assert_eq!(world.customer().await, first);
    let other = CustomerFacts { email: "other@acme.test".to_owned(), ..facts() };
    world.app.db.as_admin("TRUNCATE billing.stripe_customers; TRUNCATE billing.stripe_customer_directory").await;
    assert_eq!(world.desk.ensure_customer(world.tenant, &other).await.unwrap(), first);
    assert_eq!(n_customers(&world), 1);
    assert_eq!(world.fake.books().n_calls["POST /v1/customers"], 1);
}

#[tokio::test]
async fn two_who_ask_at_once_get_the_same() {
    let world = World::new().await;
    let (a, b) = tokio::join!(world.customer(), world.customer());
    assert_eq!((a == b, n_customers(&world)), (true, 1));
}

#[tokio::test]
async fn whatever_goes_wrong_once_is_done_once() {
    use FaultKind::{Busy, FailAfter, FailBefore, LoseAnswer, LoseRequest, TurnAway};
    let world = World::new().await;
    for (n, kind) in [LoseAnswer, LoseRequest, FailBefore, FailAfter, TurnAway, Busy].into_iter().enumerate() {
        world.fake.fail("POST", "/v1/products", kind);
        world.desk.ensure_price(&plan(&format!("plan{n}"), 100)).await.unwrap();
        assert_eq!(world.fake.books().all("product").len(), 3 + n + 1, "{kind:?}");
        // Only where it is known that nothing was done a new key is taken.
        let revision = if kind == FailBefore { 2 } else { 1 };
        let settled = format!("key = 'product:plan{n}' AND state = 'done' AND revision = {revision}");
        assert_eq!(requests(&world, &settled).await, 1, "{kind:?}");
    }
    assert!(world.fake.books().faults.is_empty(), "a fault struck nobody");
}

#[tokio::test]
async fn killed_between_the_deed_and_its_note_it_is_not_done_again() {
    let world = World::new().await;
    world.fake.fail("POST", CUSTOMERS, FaultKind::Stall);
    tokio::select! {
        _ = world.customer() => panic!("there was an answer"),
        _ = until("the deed is done", async || n_customers(&world) == 1) => {}
    }
    assert_eq!(requests(&world, "state = 'waiting' AND first_sent_at IS NOT NULL").await, 1);
    let customer = world.customer().await;
    assert_eq!(world.fake.books().all("customer")[0]["id"], customer);
    assert_eq!(n_customers(&world), 1);
}

/// Asks in vain: nobody knows what became of it.
async fn ask_in_vain(world: &World, kind: FaultKind) {
    for _ in 0..4 {
        world.fake.fail("POST", CUSTOMERS, kind);
    }
    let error = world.desk.ensure_customer(world.tenant, &facts()).await.expect_err("no answer");
    assert!(matches!(error, PaymentError::Unsettled(_)), "{error}");
}

/// A day passes: Stripe forgets its keys.
async fn a_day_passes(world: &World) {
    let sql = "UPDATE billing.stripe_requests SET first_sent_at = first_sent_at - interval '24 hours',
                      last_sent_at = last_sent_at - interval '24 hours'";
    world.app.db.as_admin(sql).await;
    world.fake.books().keys.clear();
}

#[tokio::test]
async fn after_a_day_what_was_done_is_found_by_its_id_and_not_sent_again() {
    let world = World::new().await;
    ask_in_vain(&world, FaultKind::LoseAnswer).await;
    assert_eq!(n_customers(&world), 1);
    a_day_passes(&world).await;
    let n_calls = world.fake.books().n_calls["POST /v1/customers"];
    world.customer().await;
    assert_eq!((n_customers(&world), world.fake.books().n_calls["POST /v1/customers"]), (1, n_calls));
    assert_eq!(requests(&world, "state = 'done' AND revision = 1").await, 1);
}

#[tokio::test]
async fn after_a_day_what_was_not_done_is_sent_under_a_new_key() {
    let world = World::new().await;
    ask_in_vain(&world, FaultKind::LoseRequest).await;
    assert_eq!(n_customers(&world), 0);
    a_day_passes(&world).await;
    world.customer().await;
    assert_eq!(n_customers(&world), 1);
    assert_eq!(requests(&world, "state = 'done' AND revision = 2").await, 1);
}

#[tokio::test]
async fn the_job_settles_what_nobody_asks_for_again() {
    let world = World::new().await;
    ask_in_vain(&world, FaultKind::LoseAnswer).await;
    assert_eq!(world.desk.settle_all().await.unwrap(), 0, "a minute has not passed");
    world
        .app
        .db
        .as_admin("UPDATE billing.stripe_requests SET last_sent_at = last_sent_at - interval '2 minutes'")
        .await;
    until("it is settled", async || {
        world.desk.settle_all().await.unwrap();
        requests(&world, "state = 'done'").await == 1
    })
    .await;
    assert_eq!(n_customers(&world), 1);
    assert_eq!(world.app.count("SELECT count(*) FROM billing.stripe_queue WHERE kind = 'request'").await, 0);
}

#[tokio::test]
async fn a_refusal_is_final_and_not_asked_for_again() {
    let world = World::new().await;
    let refund = Refund { payment_intent: "pi_none".to_owned(), amount_minor: 100, key: "r1".to_owned() };
    for _ in 0..2 {
        let error = world.desk.refund(world.tenant, &refund).await.expect_err("refused");
        assert!(matches!(&error, PaymentError::Refused { code, .. } if code == "resource_missing"), "{error}");
    }
    assert_eq!(world.fake.books().n_calls["POST /v1/refunds"], 1);
    let other = Refund { amount_minor: 200, ..refund };
    let error = world.desk.refund(world.tenant, &other).await.expect_err("the key is taken");
    assert!(matches!(error, PaymentError::KeyTaken(_)), "{error}");
    assert_eq!(world.fake.books().n_calls["POST /v1/refunds"], 1);
}

#[tokio::test]
async fn a_key_that_stripe_knows_for_something_else_is_given_up() {
    let world = World::new().await;
    let key = format!("bos:{}:customer:1", world.tenant);
    let params = json!({ "email": "somebody@else.test" });
    let form = businessos::domain::stripe::intent::Method::Post;
    world.desk.client.send(form, CUSTOMERS, &params, Some(&key)).await.unwrap();
    let customer = world.customer().await;
    assert_eq!(world.fake.books().objects[&customer]["metadata"]["tenant_id"], world.tenant.to_string());
    assert_eq!(requests(&world, "state = 'done' AND revision = 2").await, 1);
}

#[tokio::test]
async fn a_wrong_secret_key_settles_nothing() {
    let world = World::new().await;
    let client =
        businessos::clients::stripe::Stripe::new(&crate::world::settings(&world.fake), &"sk_test_wrong".into())
            .unwrap();
    let desk = businessos::actors::stripe::Desk { client, ..(*world.desk).clone() };
    let error = desk.ensure_customer(world.tenant, &facts()).await.expect_err("locked");
    assert!(matches!(error, PaymentError::Locked), "{error}");
    assert!(!format!("{desk:?} {error:?}").contains("sk_test"), "the key is shown");
    world.customer().await;
    assert_eq!(n_customers(&world), 1);
}
