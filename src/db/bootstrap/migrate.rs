//! The schema: migrations compiled into the program, run as `app_owner`.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::roles::OWNER;
use super::{BootstrapError, roles};

/// The record of applied migrations lives where no role but the owner can look.
const TABLE: &str = "platform_meta._sqlx_migrations";
const SCHEMA: &str = "platform_meta";

/// Serialises migrating processes. Any number does, as long as it stays the same.
const LOCK: i64 = 0x0062_6f73_5f6d_6967;

/// What [`migrate`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Migrations applied now.
    pub applied: usize,
    /// Migrations this program knows.
    pub known: usize,
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.dangerous_set_table_name(TABLE);
    migrator.create_schema(SCHEMA);
    // The lock below is taken without a lock timeout; sqlx's own would be under the one for the migrations.
    migrator.set_locking(false);
    migrator
}

/// Applies the pending migrations to the database that `admin` names, each in a transaction of its own, owned by
/// `app_owner`. Waits while another process migrates. A migration that cannot get a lock within 30 seconds fails
/// rather than holding up everybody who queues behind it; the next start tries again.
///
/// # Errors
/// A failed migration, or a database that is ahead of this program.
pub async fn migrate(admin: &PgConnectOptions) -> Result<Migrated, BootstrapError> {
    let mut conn = admin.connect().await?;
    let result = migrate_on(&mut conn).await;
    // Closing ends the session, and with it the lock, whatever happened.
    let closed = conn.close().await;
    let migrated = result?;
    closed?;
    Ok(migrated)
}

async fn migrate_on(conn: &mut PgConnection) -> Result<Migrated, BootstrapError> {
    sqlx::query("SELECT pg_catalog.pg_advisory_lock($1)").bind(LOCK).execute(&mut *conn).await?;
    // An empty search_path makes a migration name every schema, so nothing lands in the wrong one.
    roles::execute(conn, format!("SET ROLE {OWNER}; SET search_path = ''; SET lock_timeout = '30s'")).await?;
    let migrator = migrator();
    let before = applied(conn).await?;
    migrator.run_direct(None, conn, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => BootstrapError::DatabaseIsAhead(version),
        other => BootstrapError::Migrate(other),
    })?;
    let now = applied(conn).await?;
    let migrated = Migrated { applied: now.len() - before.len(), known: migrator.iter().count() };
    tracing::info!(applied = migrated.applied, known = migrated.known, "schema is up to date");
    Ok(migrated)
}

/// Versions of the migrations that this program knows and the database lacks; for a server that must not migrate by
/// itself.
///
/// # Errors
/// Those of the connection.
pub async fn pending_migrations(admin: &PgConnectOptions) -> Result<Vec<i64>, BootstrapError> {
    let mut conn = admin.connect().await?;
    roles::execute(&mut conn, format!("SET ROLE {OWNER}")).await?;
    let applied = applied(&mut conn).await?;
    conn.close().await?;
    Ok(migrator().iter().map(|migration| migration.version).filter(|version| !applied.contains(version)).collect())
}

async fn applied(conn: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT pg_catalog.to_regclass($1) IS NOT NULL").bind(TABLE).fetch_one(&mut *conn).await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM platform_meta._sqlx_migrations WHERE success").fetch_all(conn).await
}
