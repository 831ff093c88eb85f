//! What webhooks did not tell.

use crate::world::World;

#[tokio::test]
async fn events_that_never_came_are_read_from_stripes_own_list() {
    let world = World::dear().await;
    world.subscribe().await;
    world.next_month();
    // The first run of a start may have been before all that: only what it left is new.
    world.desk.reconcile().await.unwrap();
    world.settle().await;
    for kind in ["checkout_completed", "invoice_drafted"] {
        assert_eq!(world.n_facts(kind).await, 1, "{kind}");
    }
    let facts = world.facts().await;
    world.desk.reconcile().await.unwrap();
    world.catch_up().await;
    assert_eq!(world.facts().await, facts);
    world.fake.advance(7_200);
    world.desk.reconcile().await.unwrap();
    world.settle().await;
    assert_eq!(world.paid().await, world.charged());
    assert_eq!(world.stale().await.len(), 0);
}

#[tokio::test]
async fn invoices_that_are_owed_are_looked_at_without_any_event() {
    let world = World::dear().await;
    world.subscribe().await;
    world.catch_up().await;
    let customer = world.customer().await;
    world.fake.books().declined.insert(customer);
    world.next_month();
    world.fake.advance(7_200);
    // Stripe has forgotten what it would tell.
    world.fake.books().events.clear();
    world.desk.reconcile().await.unwrap();
    assert_eq!(world.n_facts("payment_failed").await, 1);
}

#[tokio::test]
async fn old_events_are_forgotten_and_waiting_ones_are_not() {
    let world = World::dear().await;
    world.customer().await;
    world.catch_up().await;
    world.app.db.as_admin("UPDATE billing.stripe_events SET received_at = received_at - interval '91 days'").await;
    world
        .app
        .db
        .as_admin(
            "INSERT INTO billing.stripe_events (tenant_id, id, kind, occurred_at, received_at, raw, next_attempt_at)
             SELECT tenant_id, 'evt_waiting', 'x', now(), now() - interval '91 days', '', 'infinity'
             FROM platform.tenants WHERE slug = 'platform'",
        )
        .await;
    assert_eq!(world.desk.forget_events().await.unwrap(), 1);
    assert_eq!(world.app.count("SELECT count(*) FROM billing.stripe_events").await, 1);
}
