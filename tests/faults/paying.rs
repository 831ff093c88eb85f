//! Tenants subscribe and pay, and months end, while the server is killed again and again and Stripe tells of everything twice and out of
//! order: what is charged is what our invoices say, to the cent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::closing::Books;
use super::fake::{Fake, Postman};
use super::stripe_contract;
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

/// Kills the server wherever it is and starts the next one, as often as it may; what is left is running.
fn kill_on(world: &World, address: std::net::SocketAddr, mut server: Server, kills: &Kills) -> Server {
    let mut books = Books::open(world);
    while !kills.is_over.load(Ordering::SeqCst) {
        // Drawn: in the middle of whatever it does.
        thread::sleep(Duration::from_millis(8 * u64::from(uuid::Uuid::new_v4().as_bytes()[0])));
        if kills.n_done.load(Ordering::SeqCst) >= kills.n_allowed.load(Ordering::SeqCst) {
            continue;
        }
        server.signal(Signal::SIGKILL);
        server.kill();
        // As if the time had passed after which a run that was cut off is somebody else's.
        books.run("UPDATE platform.job_runs SET lease_until = now() WHERE outcome = 'running'");
        server = world.spawn_at(address, "", &PATIENT_WITH_THE_DISK);
        server.wait_ready();
        kills.n_done.fetch_add(1, Ordering::SeqCst);
    }
    server
}

/// How often the server is killed.
#[derive(Default)]
struct Kills {
    n_allowed: AtomicUsize,
    n_done: AtomicUsize,
    is_over: AtomicBool,
}

impl Kills {
    /// Waits until it was killed so often, as long as that takes, if it does not stand still.
    fn wait_for(&self, n: usize) {
        for n in 1..=n {
            wait_until("it is killed once more", || (self.n_done.load(Ordering::SeqCst) >= n).then_some(()));
        }
    }
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
        (0..2 * TENANTS).map(|n| Payer::sign_up(&mut books, &server, &format!("paying-{n}"))).collect();

    let kills = Kills::default();
    let _last = thread::scope(|scope| {
        kills.n_allowed.store(KILLS / 2, Ordering::SeqCst);
        let killer = scope.spawn(|| kill_on(&world, address, server, &kills));
        for payer in &payers {
            subscribe(&fake, address, payer);
        }
        kills.wait_for(KILLS / 2);
        let active = "SELECT count(*) FROM billing.stripe_customers c JOIN billing.subscriptions s USING (tenant_id)
                      WHERE s.plan = 'basic' AND c.subscription_id IS NOT NULL";
        wait_until("the plans are active", || (books.number(active) == as_i64(payers.len())).then_some(()));
        kills.n_allowed.store(KILLS, Ordering::SeqCst);
        next_month(&fake);
        kills.wait_for(KILLS);
        let paid = "SELECT count(*) FROM billing.invoices WHERE kind = 'cycle' AND status = 'paid'";
        wait_until("the month is paid", || (books.number(paid) == as_i64(payers.len())).then_some(()));
        kills.is_over.store(true, Ordering::SeqCst);
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
    assert_eq!(stripe_contract::check(&stripe.records), Ok(()), "the contract is broken");
    let issued = "SELECT count(*) FROM platform.audit_log WHERE action = 'invoice.issued'";
    assert_eq!(books.number(issued), books.number("SELECT count(*) FROM billing.invoices"), "each is issued once");
}
