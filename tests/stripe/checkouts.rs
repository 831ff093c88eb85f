//! From a checkout to a subscription, and its changes.

use businessos::actors::stripe::{Checkout, Ends, PaymentError, SubscriptionChange};
use serde_json::json;

use crate::fake::FaultKind;
use crate::helpers::until;
use crate::world::{World, plan};

fn open_sessions(world: &World) -> usize {
    world.fake.books().all("checkout.session").iter().filter(|session| session["status"] == "open").count()
}

#[tokio::test]
async fn a_tenant_has_one_open_checkout_whatever_goes_wrong() {
    use FaultKind::{FailAfter, LoseAnswer, LoseRequest};
    let world = World::new().await;
    let checkout = world.checkout().await;
    world.desk.open_checkout(world.tenant, &checkout).await.unwrap();
    let pro = Checkout { title: "Pro".to_owned(), ..checkout };
    for kind in [LoseAnswer, LoseRequest, FailAfter] {
        for path in ["/v1/checkout/sessions", "/v1/checkout/sessions/cs_test_"] {
            world.fake.fail("POST", path, kind);
            world.desk.open_checkout(world.tenant, &pro).await.unwrap();
            assert_eq!(open_sessions(&world), 1, "{kind:?} {path}");
            world.fake.books().faults.clear();
        }
    }
    // Given up after the deed: the next one knows nothing of it but its key.
    for _ in 0..4 {
        world.fake.fail("POST", "/v1/checkout/sessions", LoseAnswer);
    }
    world.desk.close_checkout(world.tenant).await.ok();
    world.desk.open_checkout(world.tenant, &pro).await.ok();
    world.fake.books().faults.clear();
    world.desk.open_checkout(world.tenant, &pro).await.unwrap();
    assert_eq!(open_sessions(&world), 1);
}

#[tokio::test]
async fn a_checkout_that_was_paid_is_not_replaced() {
    let world = World::new().await;
    let again = world.checkout().await;
    world.desk.open_checkout(world.tenant, &again).await.unwrap();
    world.pay();
    let error = world.desk.open_checkout(world.tenant, &again).await.expect_err("it was paid");
    assert!(matches!(error, PaymentError::CheckoutCompleted), "{error}");
    // Once its webhook was looked into, there is nothing left to replace.
    world.catch_up().await;
    world.desk.open_checkout(world.tenant, &again).await.unwrap();
    world.fake.advance(3 * 3_600);
    world.catch_up().await;
    assert_eq!(world.n_facts("checkout_expired").await, 1);
    assert_eq!(world.app.count("SELECT count(*) FROM billing.stripe_checkouts WHERE state <> 'closed'").await, 0);
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_page_is_told_to_come_again_and_then_gets_it() {
    let world = World::dear_with(|settings| settings.stripe.order_timeout_ms = 3_000).await;
    world.fake.fail("POST", "/v1/customers", FaultKind::Stall);
    let reply = world.ask_for(json!({ "plan": "basic" })).await;
    reply.problem(503, "unavailable");
    assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    until("there is a page", async || {
        world.ask_for(json!({ "plan": "basic" })).await.json()["checkout_url"].is_string()
    })
    .await;
    assert!(world.fake.books().faults.is_empty(), "the fault struck nobody");
    assert_eq!(world.fake.books().all("customer").len(), 1);
    assert_eq!(open_sessions(&world), 1);
}

#[tokio::test]
async fn a_checkout_that_stripe_refuses_stands_in_nobodys_way() {
    let world = World::new().await;
    let checkout = world.checkout().await;
    let wrong = Checkout { customer: "cus_none".to_owned(), ..checkout.clone() };
    let error = world.desk.open_checkout(world.tenant, &wrong).await.expect_err("no such customer");
    assert!(matches!(error, PaymentError::Refused { .. }), "{error}");
    world.desk.open_checkout(world.tenant, &checkout).await.unwrap();
    assert_eq!(open_sessions(&world), 1);
}

#[tokio::test]
async fn a_subscription_is_changed_and_ended_once() {
    let world = World::new().await;
    let subscription = world.subscribe().await;
    let item = world.fake.books().objects[&subscription]["items"]["data"][0]["id"].as_str().unwrap().to_owned();
    let pro = world.desk.ensure_price(&plan("pro", 19_900)).await.unwrap();
    let crm = world.desk.ensure_price(&plan("crm", 1_500)).await.unwrap();
    let change = SubscriptionChange {
        subscription: subscription.clone(),
        items: vec![(Some(item), pro.clone()), (None, crm)],
        removed: Vec::new(),
        ends: Ends::Never,
        key: "change-1".to_owned(),
    };
    // A second item would be one too many.
    world.fake.fail("POST", "/v1/subscriptions/", FaultKind::FailAfter);
    world.desk.change_subscription(world.tenant, &change).await.unwrap();
    let items = world.fake.books().objects[&subscription]["items"]["data"].as_array().unwrap().clone();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["price"]["id"], pro);
    for (n, ends) in [(1, Ends::WithPeriod), (2, Ends::Never), (3, Ends::WithPeriod), (4, Ends::NeverAfterAll)] {
        let (items, key) = (Vec::new(), format!("ending-{n}"));
        let change = SubscriptionChange { items, ends, key, ..change.clone() };
        world.desk.change_subscription(world.tenant, &change).await.unwrap();
        let is_ending = world.fake.books().objects[&subscription]["cancel_at"].is_i64();
        assert_eq!(is_ending, ends == Ends::WithPeriod, "{ends:?}");
    }
    // Stripe knows no keys for DELETE: it is looked at before it is asked for again.
    world.fake.fail("DELETE", "/v1/subscriptions/", FaultKind::LoseAnswer);
    world.desk.cancel_now(world.tenant, &subscription).await.unwrap();
    assert_eq!(world.fake.books().objects[&subscription]["status"], "canceled");
    assert_eq!(world.fake.books().n_calls[&format!("DELETE /v1/subscriptions/{subscription}")], 1);
    world.catch_up().await;
    assert_eq!(world.stale().await.len(), 0);
    let url = world.desk.portal_session(world.tenant, &world.customer().await, "https://acme.test", "1").await.unwrap();
    assert!(url.starts_with("http"), "{url}");
}

/// How many products and prices there are.
fn sold(world: &World) -> (usize, usize) {
    let books = world.fake.books();
    (books.all("product").len(), books.all("price").len())
}

#[tokio::test]
async fn the_catalogue_is_made_once_and_prices_never_change() {
    let world = World::new().await;
    for _ in 0..2 {
        assert_eq!(world.desk.sync_settings().await.unwrap(), 3);
    }
    assert_eq!(sold(&world), (3, 3));
    let error = world.desk.sync_catalogue(&[plan("basic", 5_900)]).await.expect_err("another amount");
    assert!(matches!(error, PaymentError::PriceDiffers(_)), "{error}");
    let mut next = plan("basic", 5_900);
    next.version = Some(2);
    world.desk.sync_catalogue(&[next]).await.unwrap();
    assert_eq!(sold(&world), (3, 4));
}
