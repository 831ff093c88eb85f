//! Invoices that are not paid at once, and those that nobody ends.

use crate::world::World;

#[tokio::test]
async fn failed_attempts_are_told_of_one_by_one_until_it_is_paid() {
    let world = World::dear().await;
    let subscription = world.subscribe().await;
    let customer = world.customer().await;
    world.fake.books().declined.insert(customer.clone());
    world.next_month();
    world.catch_up().await;
    assert_eq!(world.n_facts("invoice_drafted").await, 1);
    // Nobody ends the draft, so Stripe does, after an hour; three days later it tries again.
    world.fake.advance(7_200);
    world.catch_up().await;
    assert_eq!(world.n_facts("payment_failed").await, 1);
    assert_eq!(world.fake.books().objects[&subscription]["status"], "past_due");
    world.fake.advance(3 * 86_400 + 3_600);
    world.catch_up().await;
    assert_eq!(world.n_facts("payment_failed").await, 2);
    world.fake.books().declined.remove(&customer);
    world.fake.advance(3 * 86_400 + 3_600);
    world.catch_up().await;
    assert_eq!((world.n_facts("payment_failed").await, world.n_facts("invoice_paid").await), (2, 1));
    assert_eq!(world.fake.books().objects[&subscription]["status"], "active");
    assert_eq!(world.paid().await, world.charged());
    assert_eq!(world.stale().await.len(), 0);
}
