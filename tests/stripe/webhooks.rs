//! What Stripe tells: whom it is believed from, and that order, repetition and delay do not matter.

use serde_json::{Value, json};

use crate::fake::Postman;
use crate::helpers::{spawn_app, until};
use crate::world::{SECRET, World};

#[tokio::test]
async fn only_what_stripe_signed_now_is_taken_in() {
    let world = World::dear().await;
    let event =
        json!({ "id": "evt_1", "type": "coffee.made", "data": { "object": { "object": "coffee", "id": "c_1" } } });
    let event = event.to_string();
    for (secret, seconds_ago) in [("whsec_other", 0), (SECRET, 400), (SECRET, -400), ("", 0)] {
        world.post(&event, secret, seconds_ago).await.problem(400, "malformed-request");
    }
    let unsigned = world.app.post("localhost", "/webhooks/stripe").raw_json(event.clone()).await;
    unsigned.problem(400, "malformed-request");
    let nonsense = world.app.post("localhost", "/webhooks/stripe").header("stripe-signature", "t=1,v1=zz");
    nonsense.raw_json(event.clone()).await.problem(400, "malformed-request");
    assert_eq!(world.app.count("SELECT count(*) FROM billing.stripe_events").await, 0);
    // The secret before this one is believed too.
    for secret in [SECRET, "whsec_old"] {
        assert_eq!(world.post(&event, secret, 200).await.status, 200);
    }
    assert_eq!(world.app.count("SELECT count(*) FROM billing.stripe_events").await, 1);
    let large = json!({ "id": "evt_2", "padding": "x".repeat(1 << 20) }).to_string();
    world.post(&large, SECRET, 0).await.problem(413, "payload-too-large");
}

#[tokio::test]
async fn without_an_account_there_is_nobody_to_believe() {
    let app = spawn_app(|_| {}).await;
    let request = app.post("localhost", "/webhooks/stripe").header("stripe-signature", "t=1,v1=00");
    request.raw_json("{}").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_nobody_knows_is_kept_and_does_no_harm() {
    let world = World::dear().await;
    let bodies = [
        json!({ "id": "evt_1", "type": "coffee.made", "data": { "object": { "object": "coffee", "id": "c_1" } } }).to_string(),
        json!({ "id": "evt_2", "type": "invoice.paid", "data": { "object": { "object": "invoice", "id": "../../x" } } }).to_string(),
        json!({ "id": "evt_3", "type": "invoice.paid", "data": { "object": { "object": "invoice", "id": "in_none" } } }).to_string(),
        json!({ "id": 7, "type": ["x"], "data": null }).to_string(),
        json!([1, 2]).to_string(),
        "no JSON at all".to_owned(),
    ];
    for body in &bodies {
        for _ in 0..2 {
            assert_eq!(world.post(body, SECRET, 0).await.status, 200, "{body}");
        }
    }
    world.settle().await;
    let ignored = "SELECT count(*) FROM billing.stripe_events WHERE status = 'ignored'";
    assert_eq!(world.app.count(ignored).await, 6);
    // Somebody else's customer on the same account.
    let params = json!({ "email": "somebody@else.test" });
    let post = businessos::domain::stripe::intent::Method::Post;
    world.desk.client.send(post, "/v1/customers", &params, Some("by-hand")).await.unwrap();
    world.catch_up().await;
    assert_eq!(world.app.count(ignored).await, 7);
    assert_eq!(world.facts().await, []);
}

/// A subscription, a month's invoice that fails twice and is then paid, a refund, an end.
async fn a_story(world: &World) {
    let subscription = world.subscribe().await;
    let customer = world.customer().await;
    world.fake.books().declined.insert(customer.clone());
    world.next_month();
    world.fake.advance(4 * 86_400);
    world.fake.books().declined.remove(&customer);
    world.fake.advance(4 * 86_400);
    let payment = world.fake.books().all("charge")[0]["payment_intent"].as_str().unwrap().to_owned();
    let refund = businessos::actors::stripe::Refund { payment_intent: payment, amount_minor: 700, key: "r".to_owned() };
    world.desk.refund(world.tenant, &refund).await.unwrap();
    world.desk.cancel_now(world.tenant, &subscription).await.unwrap();
}

#[tokio::test]
async fn order_repetition_and_replay_do_not_matter() {
    let world = World::dear().await;
    a_story(&world).await;
    let mut events = world.fake.events();
    // Backwards, every event twice, and then everything once more in an order that is neither.
    events.reverse();
    let twice: Vec<&Value> = events.iter().flat_map(|event| [event, event]).collect();
    world.deliver(twice).await;
    world.settle().await;
    let facts = world.facts().await;
    let mut mixed: Vec<&Value> = events.iter().collect();
    mixed.sort_by_key(|event| event["id"].as_str().unwrap().bytes().rev().collect::<Vec<_>>());
    world.deliver(mixed).await;
    world.settle().await;
    // Days later Stripe replays them under new ids.
    for event in &mut events {
        event["id"] = format!("{}_again", event["id"].as_str().unwrap()).into();
    }
    world.deliver(&events).await;
    world.settle().await;
    assert_eq!(world.facts().await, facts);
    assert_eq!(world.stale().await.len(), 0, "our pictures are not Stripe's");
    assert_eq!(world.paid().await, world.charged());
    assert_eq!(world.n_facts("charge_refunded").await, 1);
    assert_eq!(world.n_facts("invoice_paid").await, 1);
    world.quiesce().await;
    world.assert_books_agree().await;
}

#[tokio::test]
async fn many_who_look_at_once_keep_the_latest_picture() {
    let world = World::dear().await;
    world.subscribe().await;
    world.next_month();
    world.deliver(&world.fake.events()).await;
    // The server's own job looks beside these.
    let mut lookers = Vec::new();
    for _ in 0..4 {
        lookers.push(world.desk.process_due());
    }
    for looked in futures_util::future::join_all(lookers).await {
        looked.unwrap();
    }
    world.fake.advance(7_200);
    world.catch_up().await;
    assert_eq!(world.stale().await.len(), 0);
    world.quiesce().await;
    assert_eq!(world.n_facts("invoice_paid").await, 1);
    assert_eq!(world.paid().await, world.charged());
}

#[tokio::test]
async fn an_object_that_cannot_be_fetched_is_looked_at_later() {
    let world = World::dear().await;
    world.subscribe().await;
    world.next_month();
    for _ in 0..3 {
        world.fake.fail("GET", "/v1/invoices/", crate::fake::FaultKind::LoseAnswer);
    }
    world.quiesce().await;
    assert_eq!(world.n_facts("invoice_paid").await, 1);
    assert_eq!(world.stale().await.len(), 0);
}

#[tokio::test]
async fn events_that_come_by_themselves_doubled_and_the_latest_first_end_in_the_same_books() {
    let world = World::dear().await;
    {
        let mut books = world.fake.books();
        (books.mail.copies, books.mail.is_backwards, books.mail.is_held) = (2, true, true);
    }
    let to = format!("127.0.0.1:{}", world.app.port);
    Postman { to, host: "localhost".to_owned(), secret: SECRET.to_owned() }.start(world.fake.shared());
    a_story(&world).await;
    world.fake.books().mail.is_held = false;
    // Nobody asks: the server's own job looks.
    until("everything was told", async || world.fake.books().mail.waiting.is_empty()).await;
    until("the books agree", async || {
        world.paid().await == world.charged() && world.n_facts("invoice_paid").await == 1
    })
    .await;
    world.settle().await;
    assert_eq!(world.stale().await.len(), 0);
    assert_eq!(world.n_facts("charge_refunded").await, 1);
}
