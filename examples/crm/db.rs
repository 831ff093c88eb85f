//! The database: one transaction for one tenant, and no other way in.
//!
//! Two locks keep tenants apart. Each query says `WHERE tenant_id = $1`; and row-level security, which
//! `platform.protect_table` put on the table, shows and takes only rows of the tenant that the transaction names. A query
//! that forgets the first is stopped by the second. The role (`crm_rw`) owns no table and cannot switch policies off.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor, PgConnection, PgPool, Postgres};

use crate::problem::Problem;
use crate::tenant::Tenant;

/// Connections that the pool opens at most.
const CONNECTIONS: u32 = 5;
/// Longest wait for a free one; then the answer is 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pool, hidden so that nobody takes a connection without a tenant.
pub struct Db {
    pool: PgPool,
}

impl Db {
    /// A pool that connects when it is first needed.
    ///
    /// # Errors
    /// If the URL is not one of a PostgreSQL.
    pub fn new(url: &str) -> sqlx::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT);
        Ok(Self { pool: pool.connect_lazy(url)? })
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Runs `work` in one transaction of the tenant: committed if it succeeds, rolled back if it fails.
    ///
    /// # Errors
    /// Those of `work`, and 503 if the database does not answer.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that takes a connection from the pool")]
    pub async fn in_tenant<T>(
        &self,
        tenant: &Tenant,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut unit = Unit { connection: self.pool.acquire().await?, finished: false };
        // SET LOCAL ends with the transaction. (set_config() would do the same, but the platform takes it from services,
        // so that no injected expression can switch the tenant.) SET takes no parameters; a UUID cannot carry SQL.
        let begin =
            format!("BEGIN; SET LOCAL app.current_tenant_id = '{}'; SET LOCAL statement_timeout = '2s'", tenant.id());
        unit.connection.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await?;
        let result = work(&mut unit.connection).await;
        let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
        match (unit.connection.execute(end).await, result) {
            (Ok(_), result) => {
                unit.finished = true;
                result
            }
            // The answer to COMMIT got lost: it may have happened. A client that tries again may find its own row there.
            (Err(error), Ok(_)) => Err(error.into()),
            (Err(_rollback), Err(problem)) => Err(problem),
        }
    }
}

/// A connection with a transaction in it.
///
/// When a client resets its connection, actix-web drops the handler wherever it waits. `sqlx::Transaction` is not up to
/// that: in sqlx 0.9.0, dropped while `begin()` waits, it hands the pool a connection with the transaction open, and the
/// next request would find itself inside it. So this guard exists before anything is sent, and unless the end was reached
/// the connection is closed.
struct Unit {
    connection: PoolConnection<Postgres>,
    finished: bool,
}

impl Drop for Unit {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
    }
}

impl From<sqlx::Error> for Problem {
    /// 503 where trying again may help; everything else is a bug of ours, and its text stays in the log.
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        let passing = match &error {
            Io(_) | Tls(_) | Protocol(_) | PoolClosed | PoolTimedOut | WorkerCrashed => true,
            // 08 connection lost, 53 out of resources, 57 cancelled, timed out or shutting down.
            Database(error) => {
                error.code().is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class)))
            }
            _ => false,
        };
        tracing::error!(%error, passing, "a query failed");
        if passing { Self::unavailable() } else { Self::internal() }
    }
}
