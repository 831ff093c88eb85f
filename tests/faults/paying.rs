//! Tenants subscribe and pay, and months end, while the server is killed again and again and Stripe tells of everything twice and out of
//! order: what is charged is what our invoices say, to the cent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::closing::Books;
use super::fake::{Fake, Postman};
use super::wire::{Answer, Call, Client};
use super::world::{PATIENT_WITH_THE_DISK, Server, Tenant, Tokens, World, free_address, host, refreshing, wait_until};

/// Kills of the server at least: half of them while tenants subscribe, the rest while months end.
const KILLS: usize = 24;
/// Tenants that subscribe at a time.
const TENANTS: usize = 4;

/// A tenant, and its owner who has shown a second factor.
struct Payer {
    tenant: Tenant,
    access: String,
}

impl Payer {
    fn sign_up(books: &mut Books, server: &Server, slug: &str) -> Self {
        let tenant = server.onboard(slug);
        let tokens = server.login(slug);
        books.run("UPDATE auth.sessions SET acr = 'aal2', mfa_time = clock_timestamp()");
        let answer = server.call(&refreshing(slug, &tokens.refresh));
        Self { tenant, access: Tokens::of(&answer.json()).access }
    }
}

/// Asks a server that may be dead until it answers what is wanted.
fn insist<T>(what: &str, address: std::net::SocketAddr, call: &Call, wanted: impl Fn(&Answer) -> Option<T>) -> T {
    wait_until(what, || Client::new(address).send(call).ok().as_ref().and_then(&wanted))
}

/// Kills the server wherever it is, starts the next one, and so on until it is told to stop; what is left is running.
fn kill_on(
    world: &World,
    address: std::net::SocketAddr,
    mut server: Server,
    n_kills: &AtomicUsize,
    is_over: &AtomicBool,
) -> Server {
    while !is_over.load(Ordering::SeqCst) {
        // Drawn: in the middle of whatever it does.
        thread::sleep(Duration::from_millis(4 * u64::from(uuid::Uuid::new_v4().as_bytes()[0])));
        server.signal(Signal::SIGKILL);
        server.kill();
        n_kills.fetch_add(1, Ordering::SeqCst);
        server = world.spawn_at(address, "", &PATIENT_WITH_THE_DISK);
        server.wait_ready();
    }
    server
}

#[test]
fn whenever_it_is_killed_what_is_charged_is_what_our_invoices_say() {
    let fake = Fake::start(0);
    let world = World::with(&format!(
        "[billing]\ntax_rate_percent = \"19\"\n[billing.seller]\ntax_id = \"DE123456789\"\n[stripe]\nsecret_key = \"sk_test_fake\"\nwebhook_secret = \"whsec_fake\"\napi_base = \"{}\"\nretry_ms = 5\ntimeout_ms = 2000\n",
        fake.url()
    ));
    let address = free_address();
    {
        let mut books = fake.books();
        (books.mail.copies, books.mail.is_backwards) = (2, true);
    }
    let postman = Postman { to: address.to_string(), host: "localhost".to_owned(), secret: "whsec_fake".to_owned() };
    postman.start(fake.shared());
    let mut server = world.spawn_at(address, "", &PATIENT_WITH_THE_DISK);
    server.wait_ready();
    let mut books = Books::open(&world);
    let payers: Vec<Payer> =
        (0..6 * TENANTS).map(|n| Payer::sign_up(&mut books, &server, &format!("paying-{n}"))).collect();

    let (n_kills, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut n_paying = 0;
    let _last = thread::scope(|scope| {
        let killer = scope.spawn(|| kill_on(&world, address, server, &n_kills, &is_over));
        // Subscribing.
        for round in payers.chunks(TENANTS) {
            if n_kills.load(Ordering::SeqCst) >= KILLS / 2 && n_paying >= 2 * TENANTS {
                break;
            }
            for payer in round {
                subscribe(&fake, address, payer);
            }
            n_paying += round.len();
            let active =
                "SELECT count(*) FROM billing.stripe_customers c JOIN billing.subscriptions s USING (tenant_id)
                          WHERE s.plan = 'basic' AND c.subscription_id IS NOT NULL";
            wait_until("the plans are active", || (books.number(active) == as_i64(n_paying)).then_some(()));
        }
        // Months end.
        let mut n_months = 0;
        while n_kills.load(Ordering::SeqCst) < KILLS || n_months == 0 {
            next_month(&fake);
            n_months += 1;
            let paid = "SELECT count(*) FROM billing.invoices WHERE kind = 'cycle' AND status = 'paid'";
            let wanted = as_i64(n_paying * n_months);
            wait_until("the month is paid", || (books.number(paid) >= wanted).then_some(()));
        }
        is_over.store(true, Ordering::SeqCst);
        eprintln!("{} kills, {n_paying} tenants, {n_months} months", n_kills.load(Ordering::SeqCst));
        killer.join().unwrap()
    });
    let waiting = "SELECT (SELECT count(*) FROM billing.stripe_queue) + (SELECT count(*) FROM billing.stripe_events WHERE status = 'waiting')";
    wait_until("nothing is left to do", || {
        let is_told = fake.books().mail.waiting.is_empty();
        (is_told && books.number(waiting) == 0).then_some(())
    });
    check(&fake, &mut books);
}

fn as_i64(n: usize) -> i64 {
    i64::try_from(n).unwrap()
}

/// Asks for a plan until there is a page, and pays there.
fn subscribe(fake: &Fake, address: std::net::SocketAddr, payer: &Payer) {
    let call =
        Call::post(&host(&payer.tenant.slug), "/billing/subscribe", &json!({ "plan": "basic" })).bearer(&payer.access);
    insist("there is a page", address, &call, |answer| {
        (answer.status == 200).then(|| answer.json()["checkout_url"].as_str().map(str::to_owned)).flatten()
    });
    let mut books = fake.books();
    let sessions = books.all("checkout.session");
    let is_own = |session: &&Value| session["status"] == "open" && session["client_reference_id"] == payer.tenant.id;
    let own: Vec<&Value> = sessions.iter().filter(is_own).collect();
    assert_eq!(own.len(), 1, "a tenant has one page that can be paid");
    books.pay_session(own[0]["id"].as_str().unwrap()).unwrap();
}

/// The fake's next month begins, and its drafts are a minute old.
fn next_month(fake: &Fake) {
    let mut books = fake.books();
    let n = books.all("invoice").len();
    while books.all("invoice").len() == n {
        books.advance(1_800);
    }
}

fn check(fake: &Fake, books: &mut Books) {
    let stripe = fake.books();
    let rows = books.rows(
        "SELECT i.tenant_id::text, c.customer_id, count(*), sum(i.total_minor)::bigint, bool_and(i.status = 'paid')
         FROM billing.invoices i JOIN billing.stripe_customers c USING (tenant_id) GROUP BY 1, 2",
    );
    use sqlx::Row as _;
    assert!(rows.len() >= 2 * TENANTS);
    for row in &rows {
        let (tenant, customer): (String, String) = (row.get(0), row.get(1));
        let (n_invoices, total, are_paid): (i64, i64, bool) = (row.get(2), row.get(3), row.get(4));
        let of_customer = |object: &Value| object["customer"] == customer.as_str();
        let charged = stripe.sum("charge", "amount", of_customer);
        let n_charges = stripe.all("charge").iter().filter(|charge| of_customer(charge)).count();
        assert!(are_paid, "{tenant}");
        assert_eq!((n_charges, charged), (usize::try_from(n_invoices).unwrap(), total), "{tenant}");
        let n_subscriptions = stripe.all("subscription").iter().filter(|object| of_customer(object)).count();
        assert_eq!(n_subscriptions, 1, "{tenant}");
    }
    let customers = stripe.all("customer");
    assert_eq!(customers.len(), rows.len(), "one customer for each tenant");
    let mails = "SELECT count(*) FROM platform.mail_outbox WHERE kind = 'invoice'";
    assert_eq!(books.number(mails), books.number("SELECT count(*) FROM billing.invoices"), "each is mailed once");
}
