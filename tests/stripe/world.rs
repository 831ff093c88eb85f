//! The world of one test: a fake Stripe, a server that deals with it, and a desk of the test's own on the same database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use businessos::actors::stripe::{CatalogueItem, Checkout, CustomerFacts, Desk};
use businessos::clients::stripe::Stripe;
use businessos::config::{Settings, StripeSettings};
use businessos::db::Db;
use businessos::db::embedded::SUPERUSER;
use businessos::db::pool::PoolSettings;
use businessos::domain::ids::TenantId;
use businessos::domain::order::{Order, OrderItem};
use businessos::domain::subscription::Terms;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::fake::{Fake, sign};
use crate::helpers::{App, Reply, Session, spawn_app, until};
use crate::stripe_contract;
use crate::support::away_from_midnight;

/// Signing secret of the world's webhooks.
pub const SECRET: &str = "whsec_test";

/// The price of `basic` in a dear world, a month, in cents.
pub const BASIC: i64 = 10_000_000;

/// Settings for a fake. Answers are not waited for long, and nobody pauses.
pub fn settings(fake: &Fake) -> StripeSettings {
    StripeSettings {
        secret_key: Some("sk_test_fake".into()),
        webhook_secret: Some(SECRET.into()),
        webhook_secret_previous: Some("whsec_old".into()),
        api_base: fake.url(),
        timeout_ms: 10_000,
        order_timeout_ms: 30_000,
        max_connections: 4,
        retry_ms: 1,
    }
}

/// A client of a fake.
pub fn client(fake: &Fake) -> Stripe {
    Stripe::new(&settings(fake), &"sk_test_fake".into()).unwrap()
}

/// All of it.
pub struct World {
    pub app: App,
    pub desk: Arc<Desk>,
    pub tenant: TenantId,
    pub owner: Session,
    pub fake: Fake,
    n_delivered: AtomicUsize,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A world whose plans are so dear that something is due of the rest of the month even in its last minute.
    pub async fn dear() -> Self {
        Self::dear_with(|_| {}).await
    }

    pub async fn dear_with(change: impl Fn(&mut Settings)) -> Self {
        Self::dear_on(Fake::start(0), change).await
    }

    /// The same on a fake of which something is wanted before anybody calls it.
    pub async fn dear_on(fake: Fake, change: impl Fn(&mut Settings)) -> Self {
        Self::on(fake, true, |settings| {
            for (plan, price_minor) in [("basic", BASIC), ("pro", 4 * BASIC)] {
                settings.plans.get_mut(plan).unwrap().price_minor = price_minor;
            }
            change(settings);
        })
        .await
    }

    pub async fn with(change: impl Fn(&mut Settings)) -> Self {
        Self::on(Fake::start(0), true, change).await
    }

    /// A world whose server knows nothing of Stripe: the test's own desk is the only one who deals with it.
    pub async fn alone() -> Self {
        Self::on(Fake::start(0), false, |_| {}).await
    }

    async fn on(fake: Fake, server_knows_stripe: bool, change: impl Fn(&mut Settings)) -> Self {
        away_from_midnight();
        let stripe = settings(&fake);
        let app = spawn_app(|settings| {
            if server_knows_stripe {
                settings.stripe = stripe.clone();
            }
            change(settings);
        })
        .await;
        let mut own = businessos::config::load(None).unwrap();
        own.stripe = stripe;
        change(&mut own);
        let (tenant, owner) = app.tenant_with_owner("acme").await;
        let owner = app.stepped_up("acme", &owner).await;
        let pool = PoolSettings {
            max_connections: 6,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
        };
        let db = Db::new(pool, |role| app.db.options(role));
        let platform = uuid(&app, "SELECT tenant_id FROM platform.tenants WHERE slug = 'platform'").await.into();
        let client = client(&fake);
        let desk = Arc::new(Desk { settings: Arc::new(own), db, client, platform, pause: Duration::from_millis(1) });
        let tenant = tenant.id.parse().unwrap();
        // The server's own job is done with it: no later fault of a test's strikes that.
        if server_knows_stripe {
            until("the catalogue is at Stripe", async || fake.books().all("price").len() == 3).await;
        }
        Self { app, desk, tenant, owner, fake, n_delivered: AtomicUsize::new(0) }
    }

    /// The tenant's customer.
    pub async fn customer(&self) -> String {
        self.desk.ensure_customer(self.tenant, &facts()).await.unwrap()
    }

    /// A checkout of a plan at 49.00, of which 14.21 are due.
    pub async fn checkout(&self) -> Checkout {
        let terms = Terms { plan: "basic".to_owned(), version: 1, price_minor: 4_900, add_ons: Vec::new() };
        let item = OrderItem {
            key: "charge".to_owned(),
            description: "Basic: rest of the month".to_owned(),
            amount_minor: 1_421,
        };
        let order = Order {
            at: businessos::clock::now(),
            terms,
            coupon: None,
            currency: "USD".to_owned(),
            items: vec![item],
            discount: None,
            tax_millionths: Some(0),
        };
        Checkout {
            customer: self.customer().await,
            order,
            title: "Basic".to_owned(),
            success_url: "https://acme.test/done".to_owned(),
            cancel_url: "https://acme.test/left".to_owned(),
        }
    }

    /// Asks for a plan over HTTP.
    pub async fn ask_for(&self, body: Value) -> Reply {
        self.app.post("acme", "/billing/subscribe").token(&self.owner).json(&body).await
    }

    /// The page of the checkout that is open is used.
    pub fn pay(&self) {
        let mut books = self.fake.books();
        let open = books.all("checkout.session").into_iter().find(|session| session["status"] == "open").unwrap();
        books.pay_session(open["id"].as_str().unwrap()).unwrap();
    }

    /// Subscribes to `basic` over HTTP, pays, and waits for Stripe's subscription; returns its id.
    pub async fn subscribe(&self) -> String {
        self.subscribe_to(json!({ "plan": "basic" })).await
    }

    /// The same for any wish.
    pub async fn subscribe_to(&self, body: Value) -> String {
        let reply = self.ask_for(body).await;
        assert!(reply.json()["checkout_url"].is_string(), "{reply:?}");
        self.pay();
        self.quiesce().await;
        let id = self.text("SELECT subscription_id FROM billing.stripe_customers").await;
        id.expect("Stripe's subscription")
    }

    /// Tells of what is new and lets both sides follow, until nothing is left to do.
    pub async fn quiesce(&self) {
        until("both sides are at rest", async || {
            let events = self.fake.events();
            let n = self.n_delivered.swap(events.len(), Ordering::SeqCst);
            self.deliver(&events[n..]).await;
            self.desk.process_due().await.unwrap();
            // The server's own jobs do the same beside it: what one is at, the other may find in use.
            let kept = self.desk.keep_books_of(self.tenant).await.is_ok();
            let waiting = "SELECT (SELECT count(*) FROM billing.stripe_events WHERE status = 'waiting')
                + (SELECT count(*) FROM billing.stripe_queue WHERE kind NOT IN ('dispute', 'request') AND due_at < now() + interval '1 hour')";
            kept && self.app.count(waiting).await == 0 && self.fake.events().len() == events.len()
        })
        .await;
    }

    /// A text of the database's.
    pub async fn text(&self, sql: &str) -> Option<String> {
        let mut conn = self.app.db.connect(SUPERUSER).await;
        sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(sql.to_owned()))
            .fetch_optional(&mut conn)
            .await
            .unwrap()
            .flatten()
    }

    /// How often something was done, as the audit trail has it.
    pub async fn n_audited(&self, action: &str) -> i64 {
        self.app.count(&format!("SELECT count(*) FROM platform.audit_log WHERE action = '{action}'")).await
    }

    /// Our invoices: kind, status and total, the first issued first.
    pub async fn invoices(&self) -> Vec<(String, String, i64)> {
        let sql = "SELECT kind, status, total_minor FROM billing.invoices ORDER BY id";
        let mut conn = self.app.db.connect(SUPERUSER).await;
        sqlx::query_as(sql).fetch_all(&mut conn).await.unwrap()
    }

    /// What was charged and not given back is what our paid invoices say, to the cent.
    pub async fn assert_books_agree(&self) {
        let paid = "SELECT coalesce(sum(total_minor), 0)::bigint FROM billing.invoices WHERE status = 'paid'";
        let given_back = self.fake.books().sum("credit_note", "post_payment_amount", |_| true);
        assert_eq!(self.charged() - given_back, self.app.count(paid).await, "{given_back} was given back");
    }

    /// Lets the fake's time pass until the next month has begun.
    pub fn next_month(&self) {
        let mut books = self.fake.books();
        let (now, n) = (books.now(), books.all("invoice").len());
        let left = (1..=31).map(|days| days * 86_400);
        for _ in left {
            if books.all("invoice").len() > n {
                break;
            }
            // Steps of half an hour: a draft is found as a draft.
            while books.all("invoice").len() == n {
                books.advance(1_800);
            }
        }
        assert!(books.now() > now);
    }

    /// Sends events to the server, signed.
    pub async fn deliver<'a>(&self, events: impl IntoIterator<Item = &'a Value>) {
        for event in events {
            let reply = self.post(&event.to_string(), SECRET, 0).await;
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    }

    /// Posts a body that was signed so many seconds ago.
    pub async fn post(&self, body: &str, secret: &str, seconds_ago: i64) -> Reply {
        let signature = sign(secret, body, businessos::clock::now_s() - seconds_ago);
        let request = self.app.post("localhost", "/webhooks/stripe").header("stripe-signature", &signature);
        request.raw_json(body).await
    }

    /// Waits until every event has been looked into.
    pub async fn settle(&self) {
        until("no event waits", async || {
            self.desk.process_due().await.unwrap();
            self.app.count("SELECT count(*) FROM billing.stripe_events WHERE status = 'waiting'").await == 0
        })
        .await;
    }

    /// Tells the server of everything so far, and waits until it has looked.
    pub async fn catch_up(&self) {
        self.deliver(&self.fake.events()).await;
        self.settle().await;
    }

    /// Kinds of facts, each as often as it was noted.
    pub async fn facts(&self) -> Vec<(String, i64)> {
        let sql = "SELECT kind, count(*) FROM billing.payment_events GROUP BY kind ORDER BY kind";
        let mut conn = self.app.db.connect(SUPERUSER).await;
        sqlx::query_as(sql).fetch_all(&mut conn).await.unwrap()
    }

    /// How often a fact was noted.
    pub async fn n_facts(&self, kind: &str) -> i64 {
        self.facts().await.into_iter().find(|(known, _)| known == kind).map_or(0, |(_, n)| n)
    }

    /// What our books say was paid.
    pub async fn paid(&self) -> i64 {
        let sql = "SELECT coalesce(sum(amount_minor), 0)::bigint FROM billing.payment_events
             WHERE kind IN ('invoice_paid', 'checkout_completed')";
        self.app.count(sql).await
    }

    /// What was charged at the fake.
    pub fn charged(&self) -> i64 {
        self.fake.books().sum("charge", "amount", |_| true)
    }

    /// What the latest pictures of the fake's objects differ in from ours, by id.
    pub async fn stale(&self) -> BTreeSet<String> {
        let mut conn = self.app.db.connect(SUPERUSER).await;
        let ours: Vec<(String, Value)> =
            sqlx::query_as("SELECT id, data FROM billing.stripe_objects").fetch_all(&mut conn).await.unwrap();
        assert!(!ours.is_empty(), "nothing was looked at");
        let books = self.fake.books();
        ours.into_iter().filter(|(id, data)| books.objects[id] != *data).map(|(id, _)| id).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let told = stripe_contract::check(&self.fake.books().records);
            assert_eq!(told, Ok(()), "the contract is broken");
        }
    }
}

pub fn facts() -> CustomerFacts {
    CustomerFacts { name: "Acme Ltd".to_owned(), email: "billing@acme.test".to_owned() }
}

pub fn plan(code: &str, amount_minor: i64) -> CatalogueItem {
    CatalogueItem {
        code: code.to_owned(),
        name: code.to_uppercase(),
        version: Some(1),
        amount_minor,
        currency: "USD".to_owned(),
    }
}

async fn uuid(app: &App, sql: &str) -> Uuid {
    let mut conn = app.db.connect(SUPERUSER).await;
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await.unwrap()
}
