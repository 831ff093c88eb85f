//! What an operator takes back in part is charged less, or goes back to the card, once.

use businessos::actors::billing::close;
use businessos::domain::period::Period;
use serde_json::{Value, json};

use crate::fake::FaultKind;
use crate::helpers::Session;
use crate::world::{BASIC, World};

/// Takes a part of an invoice's first line back, as an operator.
async fn take_back(world: &World, operator: &Session, id: &str, amount_minor: i64) -> Value {
    let key = format!("SELECT key FROM billing.invoice_lines WHERE invoice_id = '{id}' AND position = 1");
    let key = world.text(&key).await;
    let credited =
        format!("SELECT coalesce(sum(total_minor), 0)::bigint FROM billing.invoices WHERE credits_id = '{id}'");
    let credited = world.app.count(&credited).await;
    let lines = json!([{ "key": key, "amount_minor": amount_minor }]);
    let body = json!({ "reason": "a day without service", "lines": lines, "credited_minor": credited });
    let reply =
        world.app.post("platform", &format!("/operator/invoices/{id}/credit")).token(operator).json(&body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    world.quiesce().await;
    reply.json()
}

/// An operator with a second factor.
async fn operator(world: &World) -> Session {
    let operator = world.app.operator().await;
    world.app.stepped_up("platform", &operator).await
}

#[tokio::test]
async fn a_part_of_what_is_owed_is_taken_back_and_the_rest_is_charged() {
    for is_collected in [true, false] {
        let world = World::dear().await;
        world.subscribe().await;
        let customer = world.customer().await;
        world.fake.books().declined.insert(customer.clone());
        world.next_month();
        let before = world.charged();
        if is_collected {
            world.quiesce().await;
        } else {
            // Ours is there, and nothing of Stripe's for it.
            let now = businessos::clock::now() + chrono::TimeDelta::days(40);
            let end = Period::containing(businessos::clock::now()).end;
            close::close_until(&world.desk.db, &world.desk.settings, world.tenant, end, now).await.unwrap();
        }
        let id = world.text("SELECT id::text FROM billing.invoices WHERE status = 'open'").await.unwrap();
        let note = take_back(&world, &operator(&world).await, &id, 1_900).await;
        assert_eq!((&note["total_minor"], &note["refund_minor"]), (&json!(1_900), &json!(0)), "{note}");
        world.fake.books().declined.remove(&customer);
        world.fake.advance(5 * 86_400);
        world.quiesce().await;
        assert_eq!(world.charged() - before, BASIC - 1_900, "is_collected: {is_collected}");
        let paid = format!("SELECT count(*) FROM billing.invoices WHERE id = '{id}' AND status = 'paid'");
        assert_eq!(world.app.count(&paid).await, 1);
    }
}

#[tokio::test]
async fn what_was_charged_goes_back_to_the_card_once_whatever_is_lost_on_the_way() {
    let world = World::dear().await;
    world.subscribe().await;
    world.next_month();
    world.quiesce().await;
    let operator = operator(&world).await;
    let ids = ["cycle", "interim"].map(|kind| format!("SELECT id::text FROM billing.invoices WHERE kind = '{kind}'"));
    for (path, sql) in ["/v1/credit_notes", "/v1/refunds"].into_iter().zip(ids) {
        let id = world.text(&sql).await.unwrap();
        for kind in [FaultKind::LoseAnswer, FaultKind::FailAfter, FaultKind::FailBefore] {
            world.fake.fail("POST", path, kind);
            let note = take_back(&world, &operator, &id, 100).await;
            assert_eq!((&note["refund_minor"], &note["transfer_minor"]), (&json!(100), &json!(0)), "{path} {note}");
        }
    }
    assert_eq!(world.fake.books().sum("credit_note", "post_payment_amount", |_| true), 300);
    assert_eq!(world.fake.books().sum("refund", "amount", |_| true), 300);
    // Nothing is left to do.
    assert_eq!(world.app.count("SELECT count(*) FROM billing.stripe_refunds WHERE NOT is_done").await, 0);
}

#[tokio::test]
async fn what_was_taken_off_before_a_payment_is_not_given_back_after_it() {
    let world = World::dear().await;
    world.subscribe().await;
    let customer = world.customer().await;
    world.fake.books().declined.insert(customer.clone());
    world.next_month();
    world.quiesce().await;
    let before = world.charged();
    let id = world.text("SELECT id::text FROM billing.invoices WHERE status = 'open'").await.unwrap();
    take_back(&world, &operator(&world).await, &id, 1_900).await;
    // As a process leaves it that is killed between Stripe's answer and the note of it.
    world.fake.books().declined.remove(&customer);
    world.app.db.as_admin("UPDATE billing.stripe_refunds SET is_done = false").await;
    world.fake.advance(5 * 86_400);
    world.quiesce().await;
    assert_eq!(world.charged() - before, BASIC - 1_900);
    assert_eq!(world.fake.books().all("credit_note").len(), 1);
    assert_eq!(world.app.count("SELECT count(*) FROM billing.stripe_refunds WHERE NOT is_done").await, 0);
}
