//! Brings a PostgreSQL cluster to the state the server needs: database, roles, rights, schema.
//!
//! Everything here is idempotent, so it runs at every start, and safe when two servers start at once: role and database
//! changes are serialised by an advisory lock in the cluster's `postgres` database, since such locks reach no further
//! than one database.
//!
//! The administrator is a superuser (the embedded cluster's) or, on an external cluster, a role with CREATEROLE and,
//! unless the database exists and belongs to it, CREATEDB. The latter cannot revoke `set_config` from everybody nor
//! (before PostgreSQL 16, or without BYPASSRLS itself) make `app_ops` see over tenants; that is reported, not fatal.
//! It becomes a member of the roles it makes, so it must be the one that made them, or be given ADMIN on them.

mod migrate;
mod roles;
mod scram;

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

pub use migrate::{Migrated, migrate, pending_migrations};
pub use roles::{AUTH, OPS, OWNER, READ_WRITE, SECRETS};

use roles::{Admin, execute};

/// Oldest server that is supported, as `server_version_num` counts.
const MIN_SERVER_VERSION: i32 = 150_000;

/// Serialises bootstrapping processes. Any number does, as long as it stays the same.
const LOCK: i64 = 0x0062_6f73_5f62_6f6f;

/// Why a cluster could not be brought to the needed state.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The server is too old.
    #[error("PostgreSQL {found} is too old: 15 or newer is needed")]
    ServerTooOld {
        /// Its `server_version`.
        found: String,
    },
    /// The database cannot hold every text.
    #[error("database {database:?} has the encoding {encoding}: UTF8 is needed")]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding.
        encoding: String,
    },
    /// A name in `database.service_roles` cannot be used.
    #[error(
        "database.service_roles: {0:?} cannot be a service's role; expected 1 to 63 of a-z, 0-9 and _, not starting with a \
         digit or pg_, and no role of the platform's own"
    )]
    ServiceRole(String),
    /// A name cannot be used for a database.
    #[error("{0:?} cannot be a database's name; expected 1 to 63 of a-z, A-Z, 0-9, _ and -")]
    DatabaseName(String),
    /// The database has migrations that this program does not know.
    #[error("the database is ahead of this program (it has migration {0}): run the newer release")]
    DatabaseIsAhead(i64),
    /// A migration failed.
    #[error("a migration failed")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// No random bytes from the system.
    #[error("the system gives no random bytes")]
    Random(#[source] aws_lc_rs::error::Unspecified),
    /// A statement failed; a missing right of the administrator shows here.
    #[error("the database refused")]
    Sql(#[from] sqlx::Error),
}

/// What [`bootstrap`] could not do; each is a sentence for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bootstrapped {
    /// Protections that are missing because the administrator may not set them up.
    pub warnings: Vec<String>,
}

/// Makes `database` and the roles if they are missing and puts their attributes and rights right.
///
/// `admin` is how the administrator connects; its own database does not matter. `passwords` gives the password of a
/// role (printable ASCII) and is `None` where none is asked for, as in the embedded cluster. The database gets its
/// tables from [`migrate()`].
///
/// # Errors
/// A server older than 15, a name that cannot be used, or whatever the administrator may not do.
pub async fn bootstrap(
    admin: &PgConnectOptions,
    database: &str,
    service_roles: &[String],
    passwords: Option<&(dyn Fn(&str) -> SecretString + Sync)>,
) -> Result<Bootstrapped, BootstrapError> {
    check_database_name(database)?;
    let mut conn = match admin.clone().database("postgres").connect().await {
        Ok(conn) => conn,
        // Some hosts have no such database, or keep it closed.
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("3D000" | "42501")) => {
            admin.clone().database(database).connect().await?
        }
        Err(other) => return Err(other.into()),
    };
    let result = bootstrap_on(&mut conn, admin, database, service_roles, passwords).await;
    // Closing ends the session, and with it the lock, whatever happened.
    let closed = conn.close().await;
    let bootstrapped = result?;
    closed?;
    for warning in &bootstrapped.warnings {
        tracing::warn!("{warning}");
    }
    Ok(bootstrapped)
}

async fn bootstrap_on(
    conn: &mut PgConnection,
    options: &PgConnectOptions,
    database: &str,
    service_roles: &[String],
    passwords: Option<&(dyn Fn(&str) -> SecretString + Sync)>,
) -> Result<Bootstrapped, BootstrapError> {
    let admin = Admin::read(conn).await?;
    if admin.server_version < MIN_SERVER_VERSION {
        let found = sqlx::query_scalar("SHOW server_version").fetch_one(conn).await?;
        return Err(BootstrapError::ServerTooOld { found });
    }
    for role in service_roles {
        roles::check_service_role(role, &admin.name)?;
    }
    sqlx::query("SELECT pg_catalog.pg_advisory_lock($1)").bind(LOCK).execute(&mut *conn).await?;

    let mut done = Bootstrapped::default();
    for spec in roles::specs(service_roles) {
        let verifier = match passwords {
            Some(password) if spec.login => {
                Some(scram::verifier(&password(&spec.name)).map_err(BootstrapError::Random)?)
            }
            _ => None,
        };
        roles::ensure(conn, &admin, &spec, verifier.as_deref(), &mut done.warnings).await?;
    }
    ensure_database(conn, database).await?;
    grant_on_database(conn, database, service_roles).await?;

    let mut inside = options.clone().database(database).connect().await?;
    let secured = secure_inside(&mut inside, &admin, database, &mut done.warnings).await;
    inside.close().await?;
    secured?;
    Ok(done)
}

async fn ensure_database(conn: &mut PgConnection, database: &str) -> Result<(), BootstrapError> {
    let encoding: Option<String> = sqlx::query_scalar(
        "SELECT pg_catalog.pg_encoding_to_char(encoding)::text FROM pg_catalog.pg_database WHERE datname = $1",
    )
    .bind(database)
    .fetch_optional(&mut *conn)
    .await?;
    match encoding {
        None => {
            execute(conn, format!("CREATE DATABASE \"{database}\" TEMPLATE template0 ENCODING 'UTF8'")).await?;
            tracing::info!(database, "made the database");
            Ok(())
        }
        Some(encoding) if encoding == "UTF8" => Ok(()),
        Some(encoding) => Err(BootstrapError::Encoding { database: database.to_owned(), encoding }),
    }
}

async fn grant_on_database(
    conn: &mut PgConnection,
    database: &str,
    service_roles: &[String],
) -> Result<(), BootstrapError> {
    let mut clients = vec![READ_WRITE, AUTH, SECRETS, OPS, OWNER];
    clients.extend(service_roles.iter().map(String::as_str));
    let clients = clients.join(", ");
    // One simple-query batch is one transaction: there is no moment without the grants.
    execute(
        conn,
        format!(
            "REVOKE ALL ON DATABASE \"{database}\" FROM PUBLIC; \
             GRANT CONNECT ON DATABASE \"{database}\" TO {clients}; \
             GRANT CREATE ON DATABASE \"{database}\" TO {OWNER}"
        ),
    )
    .await?;
    Ok(())
}

/// What is set inside the database. `set_config` is a function, so an SQL injection can call it from a query and become
/// another tenant; `SET LOCAL` is a statement and out of its reach. So the function is taken away where that is ours
/// to decide.
async fn secure_inside(
    conn: &mut PgConnection,
    admin: &Admin,
    database: &str,
    warnings: &mut Vec<String>,
) -> Result<(), BootstrapError> {
    execute(conn, "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned()).await?;
    if admin.is_superuser {
        execute(
            conn,
            format!(
                "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC; \
                 GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO {OPS}"
            ),
        )
        .await?;
    }
    // A REVOKE by somebody who is not the owner is a mere warning to PostgreSQL, so look at the outcome.
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s on database %s', privilege_type, datname) \
         FROM pg_catalog.pg_database, pg_catalog.aclexplode(coalesce(datacl, acldefault('d', datdba))) \
         WHERE datname = $1 AND grantee = 0 \
         UNION ALL \
         SELECT format('%s on schema public', privilege_type) \
         FROM pg_catalog.pg_namespace, pg_catalog.aclexplode(coalesce(nspacl, acldefault('n', nspowner))) \
         WHERE nspname = 'public' AND grantee = 0 \
         UNION ALL \
         SELECT 'EXECUTE on function set_config' \
         FROM pg_catalog.pg_proc, pg_catalog.aclexplode(coalesce(proacl, acldefault('f', proowner))) \
         WHERE oid = 'pg_catalog.set_config(text,text,boolean)'::regprocedure AND grantee = 0",
    )
    .bind(database)
    .fetch_all(conn)
    .await?;
    warnings.extend(open.into_iter().map(|right| {
        format!(
            "every role has {right}, and the administrator role {} may not revoke it; ask a superuser to",
            admin.name
        )
    }));
    Ok(())
}

fn check_database_name(name: &str) -> Result<(), BootstrapError> {
    let well_formed = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if well_formed { Ok(()) } else { Err(BootstrapError::DatabaseName(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_cannot_carry_sql() {
        for good in ["businessos", "a-b_C1"] {
            check_database_name(good).unwrap();
        }
        for bad in ["", "a\"b", "a b", "a;b", "ä", &"x".repeat(64)] {
            assert!(check_database_name(bad).is_err(), "{bad:?}");
        }
    }
}
