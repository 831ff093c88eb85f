//! Transactions that are dropped half-way: nothing of the tenant is left in the session that the next one gets.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use businessos::db::pool::PoolSettings;
use businessos::db::{Db, TenantTx, tenants};
use businessos::domain::ids::TenantId;
use chrono::{DateTime, Utc};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::TestDatabase;

/// Longest wait for the server's sessions to be what they should be.
const PATIENCE: Duration = Duration::from_secs(15);

struct World {
    database: TestDatabase,
    db: Db,
    admin: PgConnection,
    tenants: [TenantId; 2],
}

impl World {
    /// Two tenants, and a pool with one connection, which everybody must share.
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let settings = PoolSettings {
            max_connections: 1,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(60),
        };
        let db = Db::new(settings, |role| database.options(role));
        let mut admin = database.connect("postgres").await;
        // PostgreSQL ends a forgotten transaction after a while; here it must not help.
        let no_help =
            format!("ALTER ROLE app_rw IN DATABASE {} SET idle_in_transaction_session_timeout = 0", database.name());
        sqlx::raw_sql(AssertSqlSafe(no_help)).execute(&mut admin).await.unwrap();
        let tenants = [Uuid::now_v7(), Uuid::now_v7()];
        for (n, id) in tenants.iter().enumerate() {
            insert_tenant(&mut admin, *id, &format!("tenant-{n}")).await;
        }
        Self { database, db, admin, tenants: tenants.map(TenantId::from) }
    }

    /// What every session of the request path is doing, besides its last statement.
    async fn sessions(&mut self) -> Vec<(i32, String)> {
        let query = "SELECT pid, state FROM pg_stat_activity WHERE usename = 'app_rw' AND datname = $1";
        sqlx::query_as(query).bind(self.database.name()).fetch_all(&mut self.admin).await.unwrap()
    }

    /// Whether the request path waits for a lock.
    async fn is_blocked(&mut self) -> bool {
        let query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'app_rw' AND datname = $1 AND wait_event_type = 'Lock')";
        sqlx::query_scalar(query).bind(self.database.name()).fetch_one(&mut self.admin).await.unwrap()
    }

    async fn config_version(&mut self) -> i64 {
        let query = "SELECT config_version FROM platform.tenants WHERE tenant_id = $1";
        let id = self.tenants[0].uuid();
        sqlx::query_scalar(query).bind(id).fetch_one(&mut self.admin).await.unwrap()
    }

    /// The next transactions are really new ones, each sees its own tenant alone, and afterwards no session is in one.
    async fn assert_clean(&mut self, what: &str) {
        let dropped_at: DateTime<Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut self.admin).await.unwrap();
        for tenant in self.tenants {
            // The pool has one connection: this is the dropped transaction's, or one that replaces it.
            let mut tx = TenantTx::begin_read(&self.db, tenant).await.unwrap();
            let seen = tenants::find(&mut tx).await.unwrap().map(|tenant| tenant.id);
            assert_eq!(seen, Some(tenant), "{what}");
            // BEGIN within a transaction is no more than a warning, so a left-over one would be older than this one.
            self.wait_for_none(&format!("xact_start < '{}'", dropped_at.to_rfc3339()), what).await;
            tx.commit().await.unwrap();
        }
        self.wait_for_none("state <> 'idle'", what).await;
    }

    /// Waits until no session of the request path fulfils the condition.
    async fn wait_for_none(&mut self, condition: &str, what: &str) {
        let query =
            format!("SELECT pid FROM pg_stat_activity WHERE usename = 'app_rw' AND datname = $1 AND {condition}");
        let wait = async {
            loop {
                let query = sqlx::query_scalar::<_, i32>(AssertSqlSafe(query.clone()));
                if query.bind(self.database.name()).fetch_all(&mut self.admin).await.unwrap().is_empty() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{what}: a session with {condition}: {:?}", self.sessions().await);
        }
    }
}

async fn insert_tenant(admin: &mut PgConnection, id: Uuid, slug: &str) {
    let insert =
        "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan) VALUES ($1, $2, $2, 'global', 'free')";
    sqlx::query(insert).bind(id).bind(slug).execute(admin).await.unwrap();
}

/// Polls a future so many times, letting everything else proceed in between, and drops it if it is not done by then.
async fn poll_times<T>(future: impl Future<Output = T>, n_polls: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..n_polls {
        let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn a_begin_dropped_while_connecting_leaves_no_transaction_and_no_tenant_behind() {
    let mut world = World::new().await;
    let mut n_dropped = 0;
    for n_polls in 1.. {
        let begun = poll_times(TenantTx::begin(&world.db, world.tenants[0]), n_polls).await;
        let is_whole = begun.is_some();
        n_dropped += usize::from(!is_whole);
        if let Some(begun) = begun {
            begun.unwrap().commit().await.unwrap();
        }
        world.assert_clean(&format!("begin dropped after {n_polls} polls")).await;
        if is_whole {
            break;
        }
    }
    assert!(n_dropped > 0, "it was never dropped half-way");
}

#[tokio::test]
async fn a_begin_dropped_when_it_was_sent_and_not_answered_costs_its_connection() {
    let mut world = World::new().await;
    world.assert_clean("before any drop").await;
    let [(backend, _)] = world.sessions().await[..] else { panic!("the pool has one connection") };
    let backend = Pid::from_raw(backend);
    // Frozen, it cannot answer before the future is dropped.
    kill(backend, Signal::SIGSTOP).unwrap();
    let begun = poll_times(TenantTx::begin(&world.db, world.tenants[0]), 5).await;
    kill(backend, Signal::SIGCONT).unwrap();
    assert!(begun.is_none(), "a frozen server answered");
    world.assert_clean("begin dropped before its answer").await;
    world.wait_for_none(&format!("pid = {backend}"), "the frozen connection").await;
}

#[tokio::test]
async fn a_transaction_dropped_between_statements_changes_nothing() {
    let mut world = World::new().await;
    let mut tx = TenantTx::begin(&world.db, world.tenants[0]).await.unwrap();
    assert_eq!(tenants::replace_config(&mut tx, 1, &json!({})).await.unwrap(), Some(2));
    drop(tx);
    world.assert_clean("dropped between statements").await;
    assert_eq!(world.config_version().await, 1);
}

#[tokio::test]
async fn a_transaction_dropped_during_a_statement_changes_nothing() {
    let mut world = World::new().await;
    let mut blocker = world.database.connect("postgres").await;
    sqlx::raw_sql("BEGIN; SELECT FROM platform.tenants FOR UPDATE").execute(&mut blocker).await.unwrap();
    let mut tx = TenantTx::begin(&world.db, world.tenants[0]).await.unwrap();
    {
        let config = json!({});
        let mut statement = pin!(tenants::replace_config(&mut tx, 1, &config));
        let blocked = async { while !world.is_blocked().await {} };
        tokio::select! {
            changed = &mut statement => panic!("{changed:?}"),
            waited = tokio::time::timeout(PATIENCE, blocked) => waited.unwrap(),
        }
    }
    drop(tx);
    // PostgreSQL notices that its client is gone when the statement ends.
    sqlx::raw_sql("COMMIT").execute(&mut blocker).await.unwrap();
    world.assert_clean("dropped during a statement").await;
    assert_eq!(world.config_version().await, 1);
}

#[tokio::test]
async fn a_commit_dropped_at_any_point_happened_or_not_and_leaves_nothing_open() {
    let mut world = World::new().await;
    for n_polls in 1.. {
        let before = world.config_version().await;
        let mut tx = TenantTx::begin(&world.db, world.tenants[0]).await.unwrap();
        assert!(tenants::replace_config(&mut tx, before, &json!({})).await.unwrap().is_some());
        let committed = poll_times(tx.commit(), n_polls).await;
        world.assert_clean(&format!("commit dropped after {n_polls} polls")).await;
        let after = world.config_version().await;
        match committed {
            Some(result) => {
                result.unwrap();
                assert_eq!(after, before + 1);
                break;
            }
            None => assert!(after == before || after == before + 1),
        }
    }
}
