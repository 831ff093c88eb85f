//! The database as the server starts with it: embedded or external, its roles, its schema, and the checks before anybody is served.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use crate::actors::onboarding::{Onboard, OnboardingError, onboard};
use crate::clients::kms::MasterKey;
use crate::config::{ConfigError, Settings};
use crate::db::bootstrap::{self, BootstrapError};
use crate::db::embedded::{Embedded, EmbeddedError, Endpoint, SUPERUSER, available_bytes, default_pool_size};
use crate::db::pool::PoolSettings;
use crate::db::{Db, DbError, SystemReason, SystemTx, directory, installation, plan_versions};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::tenant::{PLATFORM_SLUG, Slug, TenantName};

/// Name of the database in the embedded cluster.
const EMBEDDED_DATABASE: &str = "businessos";

/// The database is not usable.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The embedded cluster did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// `database.url` cannot be read.
    #[error("database.url: {0}")]
    Url(#[source] sqlx::Error),
    /// Roles or schema could not be made.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// Migrations are pending, and the server may not apply them.
    #[error("{0} migrations are pending: run `businessos migrate`, or set database.migrate_on_start")]
    Pending(usize),
    /// The database does not answer.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The server's role could see through row-level security.
    #[error("refusing to start: {0}")]
    Role(String),
    /// Row-level security has a hole.
    #[error("refusing to start: rls-check found errors\n{0}")]
    RowLevelSecurity(String),
    /// Another master key than the one the data was encrypted with.
    #[error("refusing to start: the master key has fingerprint {found}, the data was encrypted with {expected}")]
    WrongMasterKey {
        /// Fingerprint of the present key.
        found: String,
        /// Fingerprint of the right key.
        expected: String,
    },
    /// The configuration has other figures for a version of a plan than those that it was sold with.
    #[error(transparent)]
    Plans(ConfigError),
    /// A password could not be derived.
    #[error("the roles' passwords could not be derived")]
    Passwords,
    /// The platform's own tenant could not be made.
    #[error("the platform's own tenant could not be made")]
    PlatformTenant(#[source] OnboardingError),
    /// The embedded cluster does not run.
    #[error("the embedded PostgreSQL in {0} does not run: start the server, which runs it")]
    NoCluster(String),
}

/// Where the database is, and the embedded cluster if there is one.
pub struct Database {
    admin: PgConnectOptions,
    name: String,
    embedded: Option<Embedded>,
}

impl Database {
    /// Starts the embedded cluster, or takes the external one; brings roles and schema to where they must be.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn start(
        settings: &Settings,
        master: &MasterKey,
        shutdown: &CancellationToken,
    ) -> Result<Self, DatabaseError> {
        let database = match &settings.database.url {
            Some(url) => Self::external(url)?,
            None => {
                let embedded = Embedded::start(&settings.database, &settings.data_dir, shutdown).await?;
                let admin = embedded.connect_options(SUPERUSER, EMBEDDED_DATABASE);
                Self { admin, name: EMBEDDED_DATABASE.to_owned(), embedded: Some(embedded) }
            }
        };
        match database.prepare(settings, master).await {
            Ok(()) => Ok(database),
            Err(error) => {
                // Nothing may be left running that nobody watches.
                database.stop().await;
                Err(error)
            }
        }
    }

    async fn prepare(&self, settings: &Settings, master: &MasterKey) -> Result<(), DatabaseError> {
        if settings.database.migrate_on_start {
            return self.migrate(settings, master).await;
        }
        self.check_master_key(master).await?;
        match bootstrap::pending_migrations(&self.admin).await?.len() {
            0 => Ok(()),
            n => Err(DatabaseError::Pending(n)),
        }
    }

    /// Refuses a wrong master key before anything is changed: the roles' passwords derive from it, and other nodes use them.
    async fn check_master_key(&self, master: &MasterKey) -> Result<(), DatabaseError> {
        match installation::peek_fingerprint(&self.admin).await? {
            Some(expected) if expected != master.fingerprint() => {
                Err(DatabaseError::WrongMasterKey { found: master.fingerprint().to_owned(), expected })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The database for a command beside a running server: the external one, or the embedded cluster that the server runs.
    ///
    /// # Errors
    /// [`DatabaseError::Url`] or [`DatabaseError::NoCluster`].
    pub fn beside(settings: &Settings) -> Result<Self, DatabaseError> {
        match &settings.database.url {
            Some(url) => Self::external(url),
            None => {
                let endpoint = Endpoint::find(&settings.data_dir)
                    .filter(Endpoint::is_open)
                    .ok_or_else(|| DatabaseError::NoCluster(settings.data_dir.display().to_string()))?;
                let admin = endpoint.connect_options(SUPERUSER, EMBEDDED_DATABASE);
                Ok(Self { admin, name: EMBEDDED_DATABASE.to_owned(), embedded: None })
            }
        }
    }

    fn external(url: &SecretString) -> Result<Self, DatabaseError> {
        let admin: PgConnectOptions = url.expose_secret().parse().map_err(DatabaseError::Url)?;
        let name = admin.get_database().unwrap_or(EMBEDDED_DATABASE).to_owned();
        Ok(Self { admin: admin.database(&name), name, embedded: None })
    }

    /// Brings roles and schema to where they must be.
    ///
    /// # Errors
    /// [`DatabaseError::Bootstrap`].
    pub async fn migrate(&self, settings: &Settings, master: &MasterKey) -> Result<(), DatabaseError> {
        self.check_master_key(master).await?;
        let password = |role: &str| master.role_password(role).unwrap_or_default();
        // Nobody asks for passwords on the embedded cluster's socket.
        let passwords: Option<&(dyn Fn(&str) -> SecretString + Sync)> =
            settings.database.url.as_ref().map(|_| &password as _);
        bootstrap::bootstrap(&self.admin, &self.name, &settings.database.service_roles, passwords).await?;
        bootstrap::migrate(&self.admin).await?;
        Ok(())
    }

    /// How the administrator connects.
    #[must_use]
    pub fn admin(&self) -> &PgConnectOptions {
        &self.admin
    }

    /// How a role of the platform's or a service's connects.
    ///
    /// # Errors
    /// [`DatabaseError::Passwords`].
    pub fn role(&self, settings: &Settings, master: &MasterKey, role: &str) -> Result<PgConnectOptions, DatabaseError> {
        let options = self.admin.clone().username(role);
        if settings.database.url.is_none() {
            return Ok(options);
        }
        let password = master
            .role_password(role)
            .map_err(|_key: crate::domain::envelope::EnvelopeError| DatabaseError::Passwords)?;
        Ok(options.password(password.expose_secret()))
    }

    /// The server's pools.
    ///
    /// # Errors
    /// [`DatabaseError::Passwords`].
    pub fn pools(&self, settings: &Settings, master: &MasterKey) -> Result<Db, DatabaseError> {
        let max_connections = match settings.database.max_connections {
            0 => default_pool_size(available_bytes()),
            n => n,
        };
        let mut roles = Vec::new();
        for role in ["app_rw", "app_auth", "app_secrets"] {
            roles.push((role, self.role(settings, master, role)?));
        }
        let pool = PoolSettings {
            max_connections,
            acquire_timeout: Duration::from_millis(settings.database.acquire_timeout_ms),
            statement_timeout: Duration::from_millis(settings.database.statement_timeout_ms),
        };
        tracing::info!(connections = max_connections, "connections of the request path");
        Ok(Db::new(pool, |wanted| {
            let known = roles.iter().find(|(role, _)| *role == wanted);
            known.map_or_else(|| self.admin.clone(), |(_, options)| options.clone())
        }))
    }

    /// Stops the embedded cluster, if there is one.
    pub(super) async fn stop(self) {
        if let Some(embedded) = self.embedded
            && let Err(error) = embedded.stop().await
        {
            tracing::error!(%error, "the embedded PostgreSQL did not stop");
        }
    }
}

/// What must hold before anybody is served.
pub(super) async fn check(
    db: &Db,
    settings: &Settings,
    master: &std::sync::Arc<MasterKey>,
) -> Result<(), DatabaseError> {
    if let Some(objection) = db.role_objection().await? {
        return Err(DatabaseError::Role(objection));
    }
    let report = db.check_catalogue(&settings.database.service_roles).await?;
    if report.has_errors() {
        return Err(DatabaseError::RowLevelSecurity(report.to_string()));
    }
    let expected = installation::claim_fingerprint(db, master.fingerprint()).await?;
    if expected != master.fingerprint() {
        return Err(DatabaseError::WrongMasterKey { found: master.fingerprint().to_owned(), expected });
    }
    record_plans(db, settings).await?;
    ensure_platform_tenant(db, settings, master).await
}

/// Writes down the plans that are sold. What was once sold under a version is not changed.
async fn record_plans(db: &Db, settings: &Settings) -> Result<(), DatabaseError> {
    let system = SystemTx::new(db, SystemReason::KeepCatalogue);
    let mut mistakes = Vec::new();
    for (name, plan) in &settings.plans {
        let figures = plan.figures(&settings.billing.currency);
        let on_record = plan_versions::record(&system, name, plan.version, &figures).await?;
        if on_record != figures {
            mistakes.push(format!(
                "plans.{name}: found other figures than were sold as version {}, expected a higher version with them",
                plan.version
            ));
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(DatabaseError::Plans(ConfigError(mistakes))) }
}

/// The operators' own tenant, made on first start.
async fn ensure_platform_tenant(
    db: &Db,
    settings: &Settings,
    master: &std::sync::Arc<MasterKey>,
) -> Result<(), DatabaseError> {
    let system = SystemTx::new(db, SystemReason::ResolveTenant);
    if directory::find_by_slug(&system, PLATFORM_SLUG).await?.is_some() {
        return Ok(());
    }
    let malformed =
        |_constant: crate::domain::tenant::TenantError| DatabaseError::Role("the platform's name".to_owned());
    let wish = Onboard {
        slug: Slug::parse(PLATFORM_SLUG).map_err(malformed)?,
        name: TenantName::parse("Platform").map_err(malformed)?,
        region: settings.onboarding.regions.first().cloned().unwrap_or_default(),
        plan: settings.onboarding.default_plan.clone(),
        admin: None,
        actor: AuditActor::System,
        source: AuditSource::default(),
    };
    match onboard(settings, db, master, wish).await {
        // Another process was first.
        Ok(_) | Err(OnboardingError::SubdomainTaken) => Ok(()),
        Err(error) => Err(DatabaseError::PlatformTenant(error)),
    }
}
