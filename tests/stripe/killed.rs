//! Processes that die wherever something was done at Stripe and is not noted here: one at each thing that is asked of Stripe, from the
//! catalogue to the refund. What is charged, given back and invoiced is the same as if none had.

use std::sync::atomic::{AtomicUsize, Ordering};

use businessos::domain::stripe::intent::{Method, Operation};
use serde_json::{Value, json};

use crate::fake::{Books, FaultKind};
use crate::helpers::{Session, until};
use crate::world::World;

/// A world whose desk dies at every operation once.
struct Doomed {
    world: World,
    n_deaths: AtomicUsize,
}

impl Doomed {
    async fn new() -> Self {
        let world = World::alone().await;
        let mut calls = Operation::ALL.map(|operation| operation.call("*"));
        // Where one path begins with another, the longer one is looked for first.
        calls.sort_by_key(|(_, path)| std::cmp::Reverse(path.len()));
        for (method, path) in calls {
            let method = if method == Method::Post { "POST" } else { "DELETE" };
            world.fake.fail(method, path.split('*').next().unwrap(), FaultKind::Stall);
        }
        Self { world, n_deaths: AtomicUsize::new(0) }
    }

    /// Has one process after the other do some work, until one has lived to its end.
    async fn work<T>(&self, work: impl AsyncFn(&World) -> T) -> T {
        loop {
            let n = self.world.fake.books().faults.len();
            tokio::select! {
                done = work(&self.world) => return done,
                // The deed is done, its answer never comes, and with that the process ends.
                _ = until("a deed is done", async || self.world.fake.books().faults.len() < n) => {}
            }
            self.n_deaths.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Both sides follow what there is, until nothing is left to do.
    async fn rest(&self) {
        self.work(async |world| {
            until("both sides are at rest", async || {
                for event in world.fake.events() {
                    world.desk.take_in(event.to_string().as_bytes()).await.unwrap();
                }
                world.desk.process_due().await.unwrap();
                let kept = world.desk.keep_books_of(world.tenant).await;
                let waiting = "SELECT (SELECT count(*) FROM billing.stripe_events WHERE status = 'waiting')
                    + (SELECT count(*) FROM billing.stripe_queue WHERE kind <> 'request')";
                kept.is_ok() && world.app.count(waiting).await == 0
            })
            .await;
        })
        .await;
    }

    /// Takes a part of an invoice of a kind back.
    async fn take_back(&self, operator: &Session, kind: &str) {
        let world = &self.world;
        let of = |what: &str| {
            format!(
                "SELECT {what} FROM billing.invoice_lines l JOIN billing.invoices i ON i.id = l.invoice_id
                 WHERE i.kind = '{kind}' AND l.amount_minor > 100 ORDER BY i.id, l.position LIMIT 1"
            )
        };
        let (id, key) = (world.text(&of("i.id::text")).await.unwrap(), world.text(&of("l.key")).await.unwrap());
        let lines = json!([{ "key": key, "amount_minor": 100 }]);
        let body = json!({ "reason": "a day without service", "lines": lines, "credited_minor": 0 });
        let path = format!("/operator/invoices/{id}/credit");
        let reply = world.app.post("platform", &path).token(operator).json(&body).await;
        assert_eq!((reply.status, &reply.json()["refund_minor"]), (201, &json!(100)), "{reply:?}");
        self.rest().await;
    }
}

#[tokio::test]
async fn a_process_that_dies_between_any_deed_and_its_note_doubles_and_loses_nothing() {
    let doomed = Doomed::new().await;
    let world = &doomed.world;
    doomed.work(async |world| world.desk.sync_settings().await.unwrap()).await;
    // Somebody asks for a page, and then for another one.
    for _ in 0..2 {
        let open = async |world: &World| {
            let checkout = world.checkout().await;
            world.desk.open_checkout(world.tenant, &checkout).await.unwrap()
        };
        doomed.work(open).await;
    }
    world.pay();
    doomed.rest().await;
    let customer = world.customer().await;
    let portal = async |world: &World| {
        world.desk.portal_session(world.tenant, &customer, "https://acme.test/", "one").await.unwrap()
    };
    doomed.work(portal).await;
    until("more is agreed", async || world.ask_for(json!({ "plan": "pro" })).await.status == 200).await;
    doomed.rest().await;
    // Of the first month's end there is a draft, that of the second has ended without our lines.
    world.next_month();
    doomed.rest().await;
    let late = json!({ "events": [{ "id": "late", "meter": "ai_tokens", "quantity": 90_000_000 }] });
    let used = world.app.post("acme", "/billing/usage/events").token(&world.owner).json(&late).await;
    assert_eq!(used.json()["results"][0]["status"], "accepted", "{used:?}");
    world.next_month();
    world.fake.advance(7_200);
    doomed.rest().await;
    let operator = world.app.operator().await;
    let operator = world.app.stepped_up("platform", &operator).await;
    doomed.take_back(&operator, "cycle").await;
    doomed.take_back(&operator, "interim").await;
    let end = json!({ "at_period_end": false });
    until("it is ended", async || {
        world.app.post("acme", "/billing/cancel").token(&world.owner).json(&end).await.status == 200
    })
    .await;
    doomed.rest().await;
    assert_eq!(doomed.n_deaths.load(Ordering::SeqCst), Operation::ALL.len());
    let charged = charged_once(&world.fake.books());
    let invoices: Vec<_> = world.invoices().await.into_iter().filter(|(kind, ..)| kind != "credit_note").collect();
    assert_eq!(invoices.iter().map(|(kind, ..)| kind.as_str()).collect::<Vec<_>>(), ["interim", "cycle", "cycle"]);
    assert!(invoices.iter().all(|(_, status, _)| status == "paid"), "{invoices:?}");
    assert_eq!(charged, invoices.iter().map(|(_, _, total)| total).sum::<i64>());
    // What nobody asks for again is found out by the job, a minute later, and does nothing any more.
    let a_minute_passes = "UPDATE billing.stripe_requests SET last_sent_at = last_sent_at - interval '2 minutes'";
    world.app.db.as_admin(a_minute_passes).await;
    until("every request is settled", async || {
        world.desk.settle_all().await.unwrap();
        world.app.count("SELECT count(*) FROM billing.stripe_requests WHERE state = 'waiting'").await == 0
    })
    .await;
    assert_eq!(charged_once(&world.fake.books()), charged);
}

/// Checks that there is nothing twice at Stripe; returns what was charged.
fn charged_once(books: &Books) -> i64 {
    assert!(books.faults.is_empty(), "nobody died at {:?}", books.faults);
    let sessions = books.all("checkout.session");
    let n_sessions = |status: &str| sessions.iter().filter(|session| session["status"] == status).count();
    assert_eq!((n_sessions("complete"), n_sessions("open")), (1, 0));
    let n_of =
        ["product", "price", "customer", "subscription", "credit_note", "refund"].map(|kind| books.all(kind).len());
    assert_eq!(n_of[..4], [3, 3, 1, 1]);
    let given_back = |kind: &str| books.sum(kind, if kind == "refund" { "amount" } else { "total" }, |_| true);
    assert_eq!((n_of[4], given_back("credit_note"), given_back("refund")), (1, 100, 100), "{n_of:?}");
    let ended: Vec<Value> = books.all("subscription");
    assert_eq!(ended[0]["status"], "canceled");
    books.sum("charge", "amount", |_| true)
}
