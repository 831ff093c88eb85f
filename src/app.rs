//! The application: starts everything in order and stops it in reverse.
//!
//! Database → keys → actors → listeners. Stopping: readiness false → stop accepting → requests in flight finish, idle connections run out → actors → pools →
//! the embedded cluster.

mod actors;
mod database;
mod jobs;
mod reload;
mod shutdown;
mod stripe;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::web;
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::actors::ask::ActorMetrics;
use crate::actors::billing_meter::MeterMetrics;
use crate::actors::billing_meter::spool::Spool;
use crate::actors::supervisor::{Arbiters, ArbitersError, RestartPolicy, StartFailed, Supervisor};
use crate::clients::dns::DnsError;
use crate::clients::invoice_pdf::{InvoicePrinter, StartError as PrinterError};
use crate::clients::kms::{MASTER_KEY_VARIABLE, MasterKey, MasterKeyError};
use crate::clients::mailer::MailerError;
use crate::clients::outbound::TrustError;
use crate::clients::redis::RedisError;
use crate::clients::stripe::StripeError;
use crate::config::{self, Settings};
use crate::db::{Db, DbError};
use crate::http::TrustedNetworks;
use crate::http::access_log::AccessLog;
use crate::http::gateway::{RouteError, RouteTable, health};
use crate::http::metrics::HttpMetrics;
use crate::http::middleware::ip_limit::IpLimit;
use crate::http::readiness::Readiness;
use crate::http::server::{self, Listener, PublicServer, ServerError};
use crate::http::state::AppState;

use self::actors::{Ground, session_store};
pub use database::{Database, DatabaseError};
pub use shutdown::Stopped;

/// Threads that print invoices: one, because the gateway comes first.
const PRINTERS: usize = 1;
/// Invoices that may wait for it.
const PRINT_QUEUE: usize = 16;

/// The application cannot start, or had to give up.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database is not usable.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The master key cannot be had.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A route cannot be used.
    #[error("gateway.routes: {0}")]
    Routes(#[from] RouteError),
    /// The limit for each address is too large to be counted.
    #[error("limits.ip_per_minute is too large")]
    IpLimit,
    /// The configuration asks for Redis and names none.
    #[error("sessions.store is \"redis\", and redis.url is not set")]
    NoRedis,
    /// Redis cannot be used.
    #[error("redis.url: {0}")]
    Redis(#[from] RedisError),
    /// Stripe cannot be dealt with as the settings say.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// The platform's tenant cannot be looked up.
    #[error("the platform's tenant cannot be found")]
    Platform(#[source] DbError),
    /// There is no platform's tenant.
    #[error("there is no tenant of the platform's")]
    NoPlatform,
    /// Threads cannot be started.
    #[error("the actors' threads cannot be started")]
    Arbiters(#[from] ArbitersError),
    /// A thread cannot be started.
    #[error("the access log cannot be started")]
    AccessLog(#[source] std::io::Error),
    /// The hashing threads cannot be started.
    #[error("the hashing threads cannot be started")]
    Hasher(#[source] std::io::Error),
    /// Nothing can print invoices.
    #[error("the printer of invoices cannot be started")]
    Printer(#[from] PrinterError),
    /// The files for metered usage cannot be opened.
    #[error("data_dir: the spool cannot be opened")]
    Spool(#[source] std::io::Error),
    /// Nobody can be asked about names.
    #[error("sso.dns_server: {0}")]
    Dns(#[from] DnsError),
    /// Identity providers cannot be called with these settings.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Mail cannot be sent with these settings.
    #[error(transparent)]
    Mailer(#[from] MailerError),
    /// A part could not be brought up.
    #[error(transparent)]
    Start(#[from] StartFailed),
    /// A part stayed down while the server ran.
    #[error("{0} failed for good; see the log")]
    Escalated(String),
}

/// The program, running.
pub struct Application {
    running: Running,
    database: Database,
    port: u16,
    admin_port: u16,
}

/// Everything above the database.
struct Running {
    db: Db,
    state: web::Data<AppState>,
    tree: Supervisor,
    arbiters: Arc<Arbiters>,
    public: PublicServer,
    private: actix_web::dev::ServerHandle,
    health_checks: CancellationToken,
    log_writer: Option<std::thread::JoinHandle<()>>,
}

impl Application {
    /// Starts everything. `config_file` is read again for a reload of the routes; `shutdown` gives up a start under way.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn start(
        mut settings: Settings,
        config_file: Option<PathBuf>,
        shutdown: &CancellationToken,
    ) -> Result<Self, AppError> {
        warn_of_unused(&settings);
        // Sockets first: a taken port is told at once, and the port is known for URLs.
        let listener = server::bind(settings.server.listen, true)?;
        let admin_listener = server::bind(settings.admin.listen, false)?;
        let port = listener.socket.local_addr().map_or(settings.server.listen.port(), |address| address.port());
        settings.server.listen.set_port(port);
        let admin_port =
            admin_listener.socket.local_addr().map_or(settings.admin.listen.port(), |address| address.port());
        settings.admin.listen.set_port(admin_port);

        let master = Arc::new(MasterKey::load(&settings.data_dir, std::env::var(MASTER_KEY_VARIABLE).ok())?);
        let database = Database::start(&settings, &master, shutdown).await?;
        match Self::start_on(&database, settings, master, config_file, listener, admin_listener).await {
            Ok(running) => Ok(Self { running, database, port, admin_port }),
            Err(error) => {
                // Nothing may be left running that nobody watches.
                database.stop().await;
                Err(error)
            }
        }
    }

    async fn start_on(
        database: &Database,
        settings: Settings,
        master: Arc<MasterKey>,
        config_file: Option<PathBuf>,
        listener: Listener,
        admin_listener: Listener,
    ) -> Result<Running, AppError> {
        let db = database.pools(&settings, &master)?;
        database::check(&db, &settings, &master).await?;

        let settings = Arc::new(settings);
        let stripe = stripe::desk(Arc::clone(&settings), &db).await?;
        let mut metrics = Registry::default();
        let actor_metrics = ActorMetrics::register(&mut metrics);
        let meter_metrics = MeterMetrics::register(&mut metrics);
        let http_metrics = Arc::new(HttpMetrics::register(&mut metrics));
        let (access_log, log_writer) =
            AccessLog::start(&settings.log, http_metrics.dropped_log_lines.clone()).map_err(AppError::AccessLog)?;

        let routes = Arc::new(ArcSwap::from_pointee(route_table(&settings, None)?));
        let ip_limit = IpLimit::per_minute(settings.limits.ip_per_minute).ok_or(AppError::IpLimit)?;
        let certificate = server::certificate(&settings.server)?;
        let readiness = Arc::new(Readiness::default());
        let n_arbiters = NonZeroUsize::new(settings.tenants.arbiters).unwrap_or(NonZeroUsize::MIN);
        let arbiters = Arc::new(Arbiters::start(n_arbiters)?);
        let tree = Supervisor::new(RestartPolicy::ROOT, actor_metrics.clone());
        let sessions = session_store(&settings)?;
        let spool = Spool::open(&settings.data_dir.join("spool")).map_err(AppError::Spool)?;
        let spool = Arc::new(spool.limited_to(settings.metering.spool_max_bytes));
        let printer = InvoicePrinter::start(PRINTERS, PRINT_QUEUE)?;
        let ground = Ground {
            tree: &tree,
            arbiters: &arbiters,
            settings: &settings,
            db: &db,
            master: &master,
            metrics: &actor_metrics,
            sessions: &sessions,
            ip_limit: &ip_limit,
            certificate: certificate.as_ref(),
            spool: &spool,
            meter_metrics: &meter_metrics,
            printer: &printer,
            stripe: stripe.as_ref(),
        };
        let actors = ground.start().await?;
        let state = web::Data::new(AppState {
            spool,
            streams: actors.streams,
            networks: TrustedNetworks::new(&settings.gateway),
            reload_routes: Box::new(reload::reloader(Arc::clone(&settings), Arc::clone(&routes), config_file)),
            settings: Arc::clone(&settings),
            db: db.clone(),
            master,
            registry: actors.registry,
            registry_actor: actors.registry_actor,
            sessions,
            auth: actors.auth,
            notes: actors.notes,
            meter: actors.meter,
            secrets: actors.secrets,
            accounts: actors.accounts,
            printer,
            sso: actors.sso,
            stripe,
            cron: actors.cron,
            routes: Arc::clone(&routes),
            metrics: http_metrics,
            access_log,
            readiness,
            drain: Arc::default(),
        });
        let n_workers = match settings.server.workers {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            n => n,
        };
        let public =
            server::public(listener, &settings.server, n_workers, certificate.as_ref(), ip_limit, state.clone())?;
        let private = server::private(admin_listener, settings.admin.listen, state.clone(), Arc::new(metrics))?;
        let health_checks = CancellationToken::new();
        spawn_health_checks(routes, health_checks.clone());
        tracing::info!(
            url = format!("{}://{}", settings.gateway.public_scheme, settings.server.listen),
            admin = %settings.admin.listen,
            workers = n_workers,
            "serving"
        );
        Ok(Running { db, state, tree, arbiters, public, private, health_checks, log_writer })
    }

    /// The public listener's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The admin listener's port.
    #[must_use]
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }
}

/// The routes of the configuration; endpoints that `previous` has too keep what is known of them.
fn route_table(settings: &Settings, previous: Option<&RouteTable>) -> Result<RouteTable, RouteError> {
    let gateway = &settings.gateway;
    RouteTable::build_from(&gateway.routes, gateway.upstream_ca_file.as_deref(), previous)
}

#[expect(clippy::disallowed_methods, reason = "it keeps nothing but the endpoints' health, and ends with its token")]
fn spawn_health_checks(routes: Arc<ArcSwap<RouteTable>>, stop: CancellationToken) {
    actix_web::rt::spawn(health::run(routes, stop));
}

/// Says which settings nothing uses yet, so that nobody relies on them.
fn warn_of_unused(settings: &Settings) {
    for (key, is_set) in
        [("redis.url", settings.redis.url.is_some() && settings.sessions.store == config::SessionStore::Postgres)]
    {
        if is_set {
            tracing::warn!(key, "this setting has no effect yet");
        }
    }
}
