//! A tenant whose usage is counted.

use std::sync::Arc;
use std::time::Duration;

use businessos::actors::secrets::TenantKeys;
use businessos::actors::tenant::{TenantView, held_subscription};
use businessos::clock;
use businessos::config::Settings;
use businessos::db::pool::PoolSettings;
use businessos::db::{Db, SystemReason, SystemTx, TenantTx, plan_versions, tenants};
use businessos::domain::ids::TenantId;
use businessos::domain::meter::MeterName;
use businessos::domain::period::Period;
use businessos::domain::token::{KeyAlgorithm, SigningKey};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::Mutex;

use crate::support::{TestDatabase, away_from_midnight};

pub fn ai_tokens() -> MeterName {
    MeterName::parse("ai_tokens").unwrap()
}

pub struct Metered {
    pub database: TestDatabase,
    pub tenant: TenantId,
    pub settings: Settings,
    /// One for everybody: the cluster has few.
    admin: Mutex<PgConnection>,
}

impl Metered {
    /// A tenant on the plan `free`, whose limits of `ai_tokens` are 100 soft (thresholds 50, 80, 100 and 120 %, pause) and, if wanted,
    /// a hard one.
    pub async fn new(hard: Option<i64>) -> Self {
        away_from_midnight();
        let database = TestDatabase::new().await;
        let mut settings = businessos::config::load(None).unwrap();
        let free = settings.plans.get_mut("free").unwrap().meters.get_mut("ai_tokens").unwrap();
        (free.soft_limit, free.hard_limit) = (Some(100), hard);
        let tenant: TenantId = clock::new_id();
        let admin = Mutex::new(database.connect("postgres").await);
        let metered = Self { database, tenant, settings, admin };
        let insert = format!(
            "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan)
             VALUES ('{tenant}', 'acme', 'Acme Ltd', 'global', 'free')"
        );
        metered.database.as_admin(&insert).await;
        metered
    }

    /// A pool, as each process has one.
    pub fn pool(&self) -> Db {
        let settings = PoolSettings {
            max_connections: 4,
            acquire_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(20),
        };
        Db::new(settings, |role| self.database.options(role))
    }

    /// The tenant as a process shows it that has read it while it was on this plan.
    pub async fn view(&self, plan: &str) -> TenantView {
        let mut tx = TenantTx::begin_read(&self.pool(), self.tenant).await.unwrap();
        let mut tenant = tenants::find(&mut tx).await.unwrap().unwrap();
        tx.finish();
        plan.clone_into(&mut tenant.plan);
        let keys = TenantKeys {
            signing: SigningKey::from_pkcs8("none", KeyAlgorithm::EdDsa, &[]),
            verifying: Vec::new(),
            refresh: [0; 32].into(),
            rows: [0; 32].into(),
            audit: [0; 32].into(),
            secrets: Arc::default(),
        };
        let subscription = held_subscription(&self.settings, None, plan, tenant.created_at);
        TenantView::new(&self.settings, tenant, subscription, keys, Arc::default(), Arc::default())
    }

    /// Writes down what is sold, as every start does. Versions that were written down before stay what they were.
    pub async fn record_plans(&self) {
        let db = self.pool();
        let system = SystemTx::new(&db, SystemReason::KeepCatalogue);
        for (name, plan) in &self.settings.plans {
            let figures = plan.figures(&self.settings.billing.currency);
            plan_versions::record(&system, name, plan.version, &figures).await.unwrap();
        }
    }

    /// Counts usage of `ai_tokens` in a period; returns the figures before and after.
    pub async fn add(&self, period: Period, quantity: i64) -> (i64, i64) {
        let sql = format!(
            "INSERT INTO billing.usage_counters AS c (tenant_id, meter, period_start, period_end, used)
             VALUES ('{}', 'ai_tokens', '{}', '{}', {quantity})
             ON CONFLICT (tenant_id, meter, period_start) DO UPDATE
             SET used = c.used + {quantity}, revision = c.revision + 1 RETURNING used",
            self.tenant, period.start, period.end
        );
        let after = self.number(&sql).await;
        (after - quantity, after)
    }

    /// Adds a user.
    pub async fn user(&self, email: &str, role: &str, state: &str, is_verified: bool) {
        let verified = if is_verified { "now()" } else { "NULL" };
        let insert = format!(
            "INSERT INTO auth.users (tenant_id, id, email, email_norm, role, state, email_verified_at)
             VALUES ('{}', gen_random_uuid(), '{email}', '{email}', '{role}', '{state}', {verified})",
            self.tenant
        );
        self.database.as_admin(&insert).await;
    }

    /// A number, as the superuser sees it.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut admin = self.admin.lock().await;
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut *admin).await.unwrap()
    }

    /// What the tenant's stream shows, in its order.
    pub async fn stream(&self) -> Vec<(String, Value)> {
        let mut admin = self.admin.lock().await;
        let sql = "SELECT kind, payload FROM billing.stream_events ORDER BY id";
        sqlx::query_as(sql).fetch_all(&mut *admin).await.unwrap()
    }

    /// Kinds of what the stream shows; of thresholds with their percentage.
    pub async fn told(&self) -> Vec<String> {
        let name = |(kind, payload): (String, Value)| match payload.get("threshold") {
            Some(threshold) => format!("{threshold} %"),
            None => kind,
        };
        self.stream().await.into_iter().map(name).collect()
    }

    /// Mails: to whom, and of which threshold.
    pub async fn mails(&self) -> Vec<(String, i64)> {
        let mut admin = self.admin.lock().await;
        let sql = "SELECT recipient, (detail ->> 'threshold')::bigint FROM platform.mail_outbox
                   WHERE kind = 'usage_threshold' ORDER BY created_at, recipient";
        sqlx::query_as(sql).fetch_all(&mut *admin).await.unwrap()
    }
}

/// The present period.
pub fn present() -> Period {
    Period::containing(clock::now())
}
