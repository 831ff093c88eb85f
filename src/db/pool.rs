//! Connection pools, one for each role: what a role may not do, no bug on its pool can do either.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};

use super::error::DbError;
use super::rls_check::{self, CheckError, Options, Report};

/// Connections of role `app_auth`: look-ups before a tenant is known, and the config watcher.
const AUTH_CONNECTIONS: u32 = 3;
/// Longest run of a statement on them: pinned functions do a bounded piece of work each.
const AUTH_STATEMENT_TIMEOUT: &str = "60s";
/// Connections of role `app_secrets`.
const SECRETS_CONNECTIONS: u32 = 2;

/// Longest wait for a connection of theirs whose user has left in the middle of a statement. The pool itself would wait for a machine
/// that has vanished until the kernel gives it up, and few of them are all that there are.
const LONGEST_RELEASE: Duration = Duration::from_secs(5);

/// How to size the pools.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Connections of the request path.
    pub max_connections: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// Longest run of one statement.
    pub statement_timeout: Duration,
}

async fn still_answers(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(LONGEST_RELEASE, connection.ping()).await {
        Ok(answered) => answered.map(|()| true),
        // An error and not `false`: that one would be said goodbye to, and waited for again.
        Err(_elapsed) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// The database as the server uses it.
#[derive(Debug, Clone)]
pub struct Db {
    /// Role `app_rw`: tenants' tables under row-level security.
    pub(super) rw: PgPool,
    /// Role `app_auth`: pinned functions only.
    pub(super) auth: PgPool,
    /// Role `app_secrets`: tables of keys.
    pub(super) secrets: PgPool,
    pub(super) statement_timeout: Duration,
}

impl Db {
    /// Makes the pools; no connection is opened before it is needed. `options` gives the connection options of a role.
    #[must_use]
    pub fn new(settings: PoolSettings, options: impl Fn(&str) -> PgConnectOptions) -> Self {
        let sized = |n: u32| {
            PgPoolOptions::new()
                .max_connections(n)
                .acquire_timeout(settings.acquire_timeout)
                .idle_timeout(Duration::from_secs(300))
                .max_lifetime(Duration::from_secs(3_600))
                // No ping: it would cost each transaction a round trip. A connection that died while idle shows at BEGIN,
                // which is repeated on another one.
                .test_before_acquire(false)
        };
        let open = |pool: PgPoolOptions, options: PgConnectOptions| {
            pool.connect_lazy_with(options.application_name("businessos"))
        };
        let pool = |role: &str, n: u32| open(sized(n), options(role));
        // Its statements run outside of the transactions that set a limit themselves.
        let auth = options("app_auth").options([("statement_timeout", AUTH_STATEMENT_TIMEOUT)]);
        Self {
            rw: pool("app_rw", settings.max_connections),
            auth: open(
                sized(AUTH_CONNECTIONS).after_release(|connection, _| Box::pin(still_answers(connection))),
                auth,
            ),
            secrets: pool("app_secrets", SECRETS_CONNECTIONS),
            statement_timeout: settings.statement_timeout,
        }
    }

    /// All connections that the pools may open together.
    #[must_use]
    pub fn total_connections(max_connections: u32) -> u32 {
        max_connections + AUTH_CONNECTIONS + SECRETS_CONNECTIONS
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ping(&self) -> Result<(), DbError> {
        let asked = tokio::time::timeout(self.statement_timeout, sqlx::query("SELECT 1").execute(&self.auth));
        asked.await.map_err(|_elapsed| DbError::Silent)??;
        Ok(())
    }

    /// Refuses to go on if the server's own role could see through row-level security.
    ///
    /// # Errors
    /// [`DbError`] if the database does not answer; `Ok(Some(reason))` if the role has a right that it must not have.
    pub async fn role_objection(&self) -> Result<Option<String>, DbError> {
        let row: (String, bool, bool) =
            sqlx::query_as("SELECT rolname::text, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
                .fetch_one(&self.rw)
                .await?;
        let (role, is_superuser, bypasses) = row;
        Ok((is_superuser || bypasses).then(|| {
            let right = if is_superuser { "SUPERUSER" } else { "BYPASSRLS" };
            format!("role {role} has {right}: it would see every tenant's rows (ALTER ROLE {role} NO{right})")
        }))
    }

    /// Runs the catalogue part of `rls-check` with the server's own rights.
    ///
    /// # Errors
    /// [`DbError`] if the database does not answer.
    #[expect(clippy::disallowed_methods, reason = "catalogue queries touch no tenant's rows")]
    pub async fn check_catalogue(&self, service_roles: &[String]) -> Result<Report, DbError> {
        let mut connection = self.rw.acquire().await?;
        match rls_check::check(&mut connection, &Options::new(service_roles)).await {
            Ok(report) => Ok(report),
            Err(CheckError::Sql(error)) => Err(error.into()),
        }
    }

    /// A listener for the notifications of `platform.config_log`.
    ///
    /// # Errors
    /// [`DbError`] if the database does not answer.
    pub async fn listen(&self) -> Result<sqlx::postgres::PgListener, DbError> {
        let mut listener = sqlx::postgres::PgListener::connect_with(&self.auth).await?;
        listener.listen(super::config_log::CHANNEL).await?;
        Ok(listener)
    }

    /// Closes the pools when what runs has ended.
    pub async fn close(&self) {
        self.rw.close().await;
        self.auth.close().await;
        self.secrets.close().await;
    }
}
