//! Transactions. The only places where one begins.
//!
//! `sqlx::Transaction` is not used for tenants: in sqlx 0.9.0 a dropped `begin()` future returns its connection to the pool
//! inside an open transaction, and with a tenant in the session that is a leak into the next request. A [`TenantTx`] exists
//! before anything is sent, and closes its connection unless it was finished properly.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Executor, PgConnection, PgPool, Postgres};

use super::error::DbError;
use super::pool::Db;
use crate::domain::ids::TenantId;

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
}

/// A transaction in which one tenant's rows are visible and no other's.
#[derive(Debug)]
pub struct TenantTx {
    connection: Option<PoolConnection<Postgres>>,
    tenant: TenantId,
}

impl TenantTx {
    /// Begins a transaction that reads and writes.
    ///
    /// # Errors
    /// [`DbError::Busy`] or [`DbError::Unavailable`].
    pub async fn begin(db: &Db, tenant: TenantId) -> Result<Self, DbError> {
        Self::begin_on(&db.rw, db.statement_timeout, tenant, Mode::Write).await
    }

    /// Begins a transaction that only reads; end it with [`TenantTx::finish`].
    ///
    /// # Errors
    /// [`DbError::Busy`] or [`DbError::Unavailable`].
    pub async fn begin_read(db: &Db, tenant: TenantId) -> Result<Self, DbError> {
        Self::begin_on(&db.rw, db.statement_timeout, tenant, Mode::Read).await
    }

    /// Begins a transaction of role `app_secrets`, which alone reads keys.
    ///
    /// # Errors
    /// [`DbError::Busy`] or [`DbError::Unavailable`].
    pub async fn begin_secrets(db: &Db, tenant: TenantId) -> Result<Self, DbError> {
        Self::begin_on(&db.secrets, db.statement_timeout, tenant, Mode::Write).await
    }

    /// Begins on the first connection of the pool that lives. After a restart of the database the idle ones are all dead; each
    /// is closed when its BEGIN fails, and nothing was done yet that could be done twice.
    async fn begin_on(pool: &PgPool, timeout: Duration, tenant: TenantId, mode: Mode) -> Result<Self, DbError> {
        for _ in 0..pool.size() {
            match Self::try_begin(pool, timeout, tenant, mode).await {
                Err(DbError::Unavailable(_)) => {}
                other => return other,
            }
        }
        Self::try_begin(pool, timeout, tenant, mode).await
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place where a tenant's transaction begins")]
    async fn try_begin(pool: &PgPool, timeout: Duration, tenant: TenantId, mode: Mode) -> Result<Self, DbError> {
        let connection = pool.acquire().await?;
        // Made before anything is sent: from here on a dropped future closes the connection.
        let mut tx = Self { connection: Some(connection), tenant };
        let begin = match mode {
            Mode::Read => "BEGIN READ ONLY",
            Mode::Write => "BEGIN",
        };
        // One round trip. A UUID's text cannot carry SQL. SET LOCAL and not set_config(): the function is revoked, so an
        // injected expression cannot switch tenant.
        let batch = format!(
            "{begin}; SET LOCAL app.current_tenant_id = '{tenant}'; SET LOCAL statement_timeout = {}",
            timeout.as_millis()
        );
        // A database that is frozen, or behind a dead network, ends no statement by itself.
        let begun = tx.connection()?.execute(sqlx::raw_sql(AssertSqlSafe(batch)));
        tokio::time::timeout(timeout, begun).await.map_err(|_elapsed| DbError::Silent)??;
        Ok(tx)
    }

    /// The tenant whose rows are visible.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, DbError> {
        self.connection.as_deref_mut().ok_or(DbError::Corrupt("transaction"))
    }

    /// Commits. An error that leaves the outcome open is [`DbError::OutcomeUnknown`].
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn commit(mut self) -> Result<(), DbError> {
        let result = self.connection()?.execute("COMMIT").await;
        match result {
            Ok(_) => {
                // Back to the pool: the transaction is over, so nothing of the tenant is left in the session.
                drop(self.connection.take());
                Ok(())
            }
            Err(error) => Err(match DbError::from(error) {
                DbError::Unavailable(source) => DbError::OutcomeUnknown(source),
                other => other,
            }),
        }
    }

    /// Ends a transaction without what it wrote, and keeps its connection: for refusals that are found halfway. A transaction that is
    /// only dropped is undone as well, at the price of its connection.
    pub async fn roll_back(mut self) {
        if let Ok(connection) = self.connection()
            && connection.execute("ROLLBACK").await.is_ok()
        {
            drop(self.connection.take());
        }
    }

    /// Ends a transaction that only read, off the caller's path.
    #[expect(
        clippy::disallowed_methods,
        reason = "one round trip that nobody waits for; its failure closes the connection"
    )]
    pub fn finish(mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        tokio::spawn(async move {
            if connection.execute("COMMIT").await.is_err() {
                connection.close_on_drop();
            }
        });
    }
}

impl Drop for TenantTx {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}

/// Why something is done without a tenant. Each is a look-up that the pinned functions of role `app_auth` offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemReason {
    /// Finding the tenant of a host name or id.
    ResolveTenant,
    /// Following the log of configuration changes.
    WatchConfig,
    /// An operator lists the tenants.
    ListTenants,
    /// Finding the tenants whose signing keys are due.
    RotateKeys,
    /// Finding tenants whose audit log has new rows to seal, or is to be checked.
    SealAudit,
    /// Finding mail that waits or was given up.
    FindMail,
    /// Taking and settling runs of jobs.
    RunJobs,
    /// Finding tenants with usage that was set aside for calls that never ended.
    SweepReservations,
    /// Making partitions of usage events, dropping old ones, forgetting old keys.
    KeepUsage,
    /// Finding what is new for the streams of usage that this process holds open.
    FeedStreams,
    /// Writing down the plans that are sold.
    KeepCatalogue,
    /// Finding tenants of whose subscription something is due.
    ChangeSubscriptions,
    /// Finding tenants whose billing periods are to be closed.
    CloseBilling,
    /// Finding whose invoice an id is, and which are open.
    FindInvoices,
    /// Finding whose an object of Stripe's is, and whose requests and payments wait.
    StripeWebhook,
}

impl SystemReason {
    /// The reason's name, in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResolveTenant => "resolve_tenant",
            Self::WatchConfig => "watch_config",
            Self::ListTenants => "list_tenants",
            Self::RotateKeys => "rotate_keys",
            Self::SealAudit => "seal_audit",
            Self::FindMail => "find_mail",
            Self::RunJobs => "run_jobs",
            Self::SweepReservations => "sweep_reservations",
            Self::KeepUsage => "keep_usage",
            Self::FeedStreams => "feed_streams",
            Self::KeepCatalogue => "keep_catalogue",
            Self::ChangeSubscriptions => "change_subscriptions",
            Self::CloseBilling => "close_billing",
            Self::FindInvoices => "find_invoices",
            Self::StripeWebhook => "stripe_webhook",
        }
    }
}

/// Access without a tenant, for a named reason. Role `app_auth` owns no rights on tables: it may call the functions that a
/// migration granted to it, and those return nothing personal.
#[derive(Debug)]
pub struct SystemTx<'db> {
    pub(super) pool: &'db PgPool,
}

impl<'db> SystemTx<'db> {
    /// Opens the access and says why in the log.
    #[must_use]
    pub fn new(db: &'db Db, reason: SystemReason) -> Self {
        tracing::trace!(reason = reason.as_str(), "system access");
        Self { pool: &db.auth }
    }
}
