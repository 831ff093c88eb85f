//! The world of one test: a fake Stripe, a server that deals with it, and a desk of the test's own on the same database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use businessos::actors::stripe::{CatalogueItem, Checkout, CustomerFacts, Desk};
use businessos::clients::stripe::Stripe;
use businessos::config::StripeSettings;
use businessos::db::Db;
use businessos::db::embedded::SUPERUSER;
use businessos::db::pool::PoolSettings;
use businessos::domain::ids::TenantId;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::contract;
use crate::fake::{Fake, sign};
use crate::helpers::{App, Reply, spawn_app, until};

/// Signing secret of the world's webhooks.
pub const SECRET: &str = "whsec_test";

/// Settings for a fake. Answers are not waited for long, and nobody pauses.
pub fn settings(fake: &Fake) -> StripeSettings {
    StripeSettings {
        secret_key: Some("sk_test_fake".into()),
        webhook_secret: Some(SECRET.into()),
        webhook_secret_previous: Some("whsec_old".into()),
        api_base: fake.url(),
        timeout_ms: 10_000,
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
    pub fake: Fake,
}

impl World {
    pub async fn new() -> Self {
        let fake = Fake::start(0);
        let stripe = settings(&fake);
        let app = spawn_app(|settings| settings.stripe = stripe).await;
        let tenant = app.onboard("acme").await.id.parse().unwrap();
        let pool = PoolSettings {
            max_connections: 6,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
        };
        let db = Db::new(pool, |role| app.db.options(role));
        let platform = uuid(&app, "SELECT tenant_id FROM platform.tenants WHERE slug = 'platform'").await.into();
        let desk = Arc::new(Desk { db, client: client(&fake), platform, pause: Duration::from_millis(1) });
        Self { app, desk, tenant, fake }
    }

    /// The tenant's customer.
    pub async fn customer(&self) -> String {
        self.desk.ensure_customer(self.tenant, &facts()).await.unwrap()
    }

    /// A checkout of a plan at 49.00.
    pub async fn checkout(&self) -> Checkout {
        Checkout {
            customer: self.customer().await,
            prices: vec![self.desk.ensure_price(&plan("basic", 4_900)).await.unwrap()],
            success_url: "https://acme.test/done".to_owned(),
            cancel_url: "https://acme.test/left".to_owned(),
            trial_days: None,
            coupon: None,
            metadata: vec![("plan".to_owned(), "basic".to_owned())],
        }
    }

    /// Subscribes and pays; returns the subscription's id.
    pub async fn subscribe(&self) -> String {
        let checkout = self.checkout().await;
        self.desk.open_checkout(self.tenant, &checkout).await.unwrap();
        let mut books = self.fake.books();
        let session = books.all("checkout.session")[0]["id"].as_str().unwrap().to_owned();
        books.pay_session(&session).unwrap()["subscription"].as_str().unwrap().to_owned()
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
        let sql =
            "SELECT coalesce(sum(amount_minor), 0)::bigint FROM billing.payment_events WHERE kind = 'invoice_paid'";
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
            let told = contract::check(&self.fake.books().records);
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
        version: 1,
        amount_minor,
        currency: "USD".to_owned(),
    }
}

async fn uuid(app: &App, sql: &str) -> Uuid {
    let mut conn = app.db.connect(SUPERUSER).await;
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await.unwrap()
}
