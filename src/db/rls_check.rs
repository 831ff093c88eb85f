//! `rls-check`: are tenants kept apart in this database?
//!
//! Two parts. The *catalogue* part compares every table, index, key, view, function, role and right with the rules
//! (`catalogue.sql`); any role can run it, in milliseconds, so the server does at every start. The *behavioural* part
//! makes rows for two invented tenants in every tenant table and tries, as the application's own roles, to reach one
//! tenant's rows as the other; it is rolled back, needs the administrator, and moves sequences.

mod behaviour;
mod catalogue;
mod exemptions;
mod report;
mod rows;

use sqlx::PgConnection;

pub use exemptions::{EXEMPTIONS, Exemption};
pub use report::{Finding, Level, NotProbed, Report};

use crate::db::bootstrap::{AUTH, READ_WRITE, SECRETS};

/// What to check.
#[derive(Debug, Clone)]
pub struct Options {
    /// Roles that run on behalf of tenants; each must exist.
    pub app_roles: Vec<String>,
    /// Run the behavioural part as well.
    pub behaviour: bool,
    /// Known exceptions.
    pub exemptions: &'static [Exemption],
}

impl Options {
    /// The platform's roles and the services', the platform's exemptions, catalogue part only.
    pub fn new(service_roles: &[String]) -> Self {
        let mut app_roles: Vec<String> = [READ_WRITE, AUTH, SECRETS].map(str::to_owned).to_vec();
        app_roles.extend_from_slice(service_roles);
        Self { app_roles, behaviour: false, exemptions: EXEMPTIONS }
    }

    /// With the behavioural part.
    #[must_use]
    pub fn with_behaviour(self) -> Self {
        Self { behaviour: true, ..self }
    }
}

/// Why a check could not be finished. A check that did not finish says nothing about tenants.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The database refused a question that every check asks.
    #[error("the check could not be finished")]
    Sql(#[from] sqlx::Error),
}

/// Runs the check on the database of `conn`, which must be outside a transaction and is left so.
///
/// The catalogue part works as any role, the behavioural part as a superuser or as a member of `app_owner` and of each
/// application role.
///
/// # Errors
/// Where the check could not be finished; findings are no error but in the report.
pub async fn check(conn: &mut PgConnection, options: &Options) -> Result<Report, CheckError> {
    let mut report = Report::default();
    let mut findings = catalogue::check(conn, options).await?;
    if options.behaviour {
        findings.extend(behaviour::check(conn, options, &mut report).await?);
    }
    exemptions::apply(findings, options.exemptions, options.behaviour, &mut report);
    report.sort();
    Ok(report)
}
