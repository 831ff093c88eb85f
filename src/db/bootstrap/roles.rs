//! The roles, as data and as statements.

use sqlx::{AssertSqlSafe, PgConnection};

use super::BootstrapError;

/// What a role may do. Everything not named here is off for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoleSpec {
    pub name: String,
    /// May sign in. The others are taken on by the administrator with `SET ROLE`.
    pub login: bool,
    /// Sees every tenant's rows.
    pub bypass_rls: bool,
}

/// Settings that every login role starts its sessions with: a session that forgot its transaction, or waits for a lock
/// behind a migration, ends by itself.
const SESSION_SETTINGS: &[(&str, &str)] = &[("idle_in_transaction_session_timeout", "10s"), ("lock_timeout", "3s")];

/// The owner of every table: migrations run as it, nobody signs in as it.
pub const OWNER: &str = "app_owner";
/// The request path's role.
pub const READ_WRITE: &str = "app_rw";
/// Look-ups before the tenant is known, through pinned functions only.
pub const AUTH: &str = "app_auth";
/// The tables of keys and secrets.
pub const SECRETS: &str = "app_secrets";
/// Export, move and erasure over all tenants.
pub const OPS: &str = "app_ops";

pub(super) fn specs(service_roles: &[String]) -> Vec<RoleSpec> {
    let role = |name: &str, login, bypass_rls| RoleSpec { name: name.to_owned(), login, bypass_rls };
    let mut specs = vec![
        role(OWNER, false, false),
        role(READ_WRITE, true, false),
        role(AUTH, true, false),
        role(SECRETS, true, false),
        role(OPS, false, true),
    ];
    specs.extend(service_roles.iter().map(|name| role(name, true, false)));
    specs
}

/// A service role must not be one of ours, PostgreSQL's or the administrator's.
pub(super) fn check_service_role(name: &str, admin: &str) -> Result<(), BootstrapError> {
    let ours = [OWNER, READ_WRITE, AUTH, SECRETS, OPS].contains(&name);
    let well_formed = !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if ours || !well_formed || name == admin || name == "public" || name == "none" || name.starts_with("pg_") {
        return Err(BootstrapError::ServiceRole(name.to_owned()));
    }
    Ok(())
}

/// What the administrator may do itself.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Admin {
    pub name: String,
    pub is_superuser: bool,
    pub may_bypass_rls: bool,
    pub server_version: i32,
}

impl Admin {
    pub async fn read(conn: &mut PgConnection) -> Result<Self, sqlx::Error> {
        sqlx::query_as(
            "SELECT rolname::text AS name, rolsuper AS is_superuser, rolbypassrls AS may_bypass_rls, \
                    current_setting('server_version_num')::int AS server_version \
             FROM pg_catalog.pg_roles WHERE rolname = current_user",
        )
        .fetch_one(conn)
        .await
    }

    /// Before 16 only superusers made roles with BYPASSRLS; since then a CREATEROLE that has it may pass it on.
    fn may_grant_bypass_rls(&self) -> bool {
        self.is_superuser || (self.may_bypass_rls && self.server_version >= 160_000)
    }
}

#[derive(sqlx::FromRow)]
struct RoleRow {
    rolcanlogin: bool,
    rolsuper: bool,
    rolbypassrls: bool,
    rolcreatedb: bool,
    rolcreaterole: bool,
    rolinherit: bool,
    rolreplication: bool,
    settings: Vec<String>,
}

/// Makes the role or puts its attributes right; says what it had to leave.
pub(super) async fn ensure(
    conn: &mut PgConnection,
    admin: &Admin,
    spec: &RoleSpec,
    verifier: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<(), BootstrapError> {
    let RoleSpec { name, login, bypass_rls } = spec;
    let bypass_rls = *bypass_rls && admin.may_grant_bypass_rls();
    let row: Option<RoleRow> = sqlx::query_as(
        "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolinherit, rolreplication, \
                coalesce(rolconfig, '{}') AS settings \
         FROM pg_catalog.pg_roles WHERE rolname = $1",
    )
    .bind(name)
    .fetch_optional(&mut *conn)
    .await?;

    if spec.bypass_rls && !bypass_rls && !row.as_ref().is_some_and(|row| row.rolbypassrls) {
        warnings.push(format!(
            "the administrator role {} may not grant BYPASSRLS, so {name} cannot see over tenants: export, move and \
             erasure of tenants need ALTER ROLE {name} BYPASSRLS by a superuser",
            admin.name
        ));
    }
    // Only what differs is altered: even NOSUPERUSER asks for a superuser.
    let clauses = match &row {
        None => {
            let login = if *login { "LOGIN" } else { "NOLOGIN" };
            let bypass = if bypass_rls { "BYPASSRLS" } else { "NOBYPASSRLS" };
            execute(
                conn,
                format!(
                    "CREATE ROLE {name} {login} {bypass} NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION"
                ),
            )
            .await?;
            Vec::new()
        }
        Some(row) => differences(row, *login, spec.bypass_rls, bypass_rls),
    };
    if !clauses.is_empty() {
        tracing::warn!(role = name, changes = clauses.join(" "), "putting a role's attributes right");
        execute(conn, format!("ALTER ROLE {name} {}", clauses.join(" "))).await?;
    }
    if let Some(verifier) = verifier.filter(|_| *login) {
        execute(conn, format!("ALTER ROLE {name} PASSWORD '{verifier}'")).await?;
    }
    if *login {
        let settings = row.map(|row| row.settings).unwrap_or_default();
        for (key, value) in SESSION_SETTINGS {
            if !settings.iter().any(|setting| setting == &format!("{key}={value}")) {
                execute(conn, format!("ALTER ROLE {name} SET {key} = '{value}'")).await?;
            }
        }
    }
    join(conn, admin, name).await
}

fn differences(row: &RoleRow, login: bool, wants_bypass: bool, may_bypass: bool) -> Vec<&'static str> {
    let mut clauses = Vec::new();
    let mut compare = |has: bool, wanted: bool, on: &'static str, off: &'static str| {
        if has != wanted {
            clauses.push(if wanted { on } else { off });
        }
    };
    compare(row.rolcanlogin, login, "LOGIN", "NOLOGIN");
    compare(row.rolsuper, false, "SUPERUSER", "NOSUPERUSER");
    compare(row.rolcreatedb, false, "CREATEDB", "NOCREATEDB");
    compare(row.rolcreaterole, false, "CREATEROLE", "NOCREATEROLE");
    compare(row.rolinherit, false, "INHERIT", "NOINHERIT");
    compare(row.rolreplication, false, "REPLICATION", "NOREPLICATION");
    // A superuser may have given BYPASSRLS to app_ops by hand; that stays.
    let keeps = wants_bypass && !may_bypass && row.rolbypassrls;
    compare(row.rolbypassrls, may_bypass || keeps, "BYPASSRLS", "NOBYPASSRLS");
    clauses
}

/// An administrator that is no superuser has to be a member of a role to `SET ROLE` to it: to `app_owner` for
/// migrations, to the others for the behavioural check.
async fn join(conn: &mut PgConnection, admin: &Admin, role: &str) -> Result<(), BootstrapError> {
    let kind = if admin.server_version >= 160_000 { "SET" } else { "MEMBER" };
    let is_member: bool = sqlx::query_scalar("SELECT pg_catalog.pg_has_role(current_user, $1::name, $2)")
        .bind(role)
        .bind(kind)
        .fetch_one(&mut *conn)
        .await?;
    if !is_member {
        execute(conn, format!("GRANT {role} TO CURRENT_USER")).await?;
    }
    Ok(())
}

/// Runs one statement built from names that were checked or are ours.
pub(super) async fn execute(conn: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(conn).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_role_is_an_ordinary_name_of_its_own() {
        for good in ["crm_rw", "billing2", "_x"] {
            check_service_role(good, "postgres").unwrap();
        }
        for bad in [
            "",
            "app_rw",
            "app_owner",
            "postgres",
            "pg_monitor",
            "public",
            "none",
            "CRM",
            "a b",
            "a;b",
            "2a",
            &"x".repeat(64),
        ] {
            assert!(check_service_role(bad, "postgres").is_err(), "{bad:?}");
        }
    }
}
