//! What every handler can reach.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::access_log::AccessLog;
use super::client::TrustedNetworks;
use super::drain::Drain;
use super::gateway::routes::RouteTable;
use super::metrics::HttpMetrics;
use super::readiness::Readiness;
use crate::actors::ask::ActorRef;
use crate::actors::auth::{AuthActor, AuthContext};
use crate::actors::billing_meter::BillingMeter;
use crate::actors::billing_meter::spool::Spool;
use crate::actors::cron::CronActor;
use crate::actors::scribe::Notes;
use crate::actors::secrets::SecretsActor;
use crate::actors::sessions::SessionStore;
use crate::actors::sso::SsoDesk;
use crate::actors::stripe::Desk;
use crate::actors::tenant::TenantRegistry;
use crate::actors::tenant::registry::RegistryActor;
use crate::actors::usage_feed::Hub;
use crate::clients::invoice_pdf::InvoicePrinter;
use crate::clients::kms::MasterKey;
use crate::config::Settings;
use crate::db::Db;

/// Shared by all workers.
pub struct AppState {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database, for plain tenant-scoped reads and writes.
    pub db: Db,
    /// Wraps new tenants' keys.
    pub master: Arc<MasterKey>,
    /// The active tenants.
    pub registry: Arc<TenantRegistry>,
    /// Starts the others.
    pub registry_actor: ActorRef<RegistryActor>,
    /// Where sessions live, for plain reads.
    pub sessions: Arc<dyn SessionStore>,
    /// Signs users in and out.
    pub auth: ActorRef<AuthActor>,
    /// What is written down beside requests.
    pub notes: Arc<Notes>,
    /// Counts what was used.
    pub meter: ActorRef<BillingMeter>,
    /// Where the gateway writes down what was used.
    pub spool: Arc<Spool>,
    /// The streams of usage that are open here.
    pub streams: Arc<Hub>,
    /// Reads keys, and turns them over.
    pub secrets: ActorRef<SecretsActor>,
    /// What changes of accounts work with.
    pub accounts: AuthContext,
    /// Prints invoices.
    pub printer: InvoicePrinter,
    /// Signs users in by tenants' identity providers.
    pub sso: Arc<SsoDesk>,
    /// What it takes to deal with Stripe; none where it is not configured.
    pub stripe: Option<Arc<Desk>>,
    /// Runs jobs.
    pub cron: ActorRef<CronActor>,
    /// The gateway's routes.
    pub routes: Arc<ArcSwap<RouteTable>>,
    /// Reads the routes again from the configuration.
    pub reload_routes: Box<dyn Fn() -> Result<usize, String> + Send + Sync>,
    /// Whom to believe about clients' addresses and hosts.
    pub networks: TrustedNetworks,
    /// What is counted.
    pub metrics: Arc<HttpMetrics>,
    /// Where requests are logged.
    pub access_log: AccessLog,
    /// Whether the server may be sent requests.
    pub readiness: Arc<Readiness>,
    /// Open connections, and whether they are to be closed.
    pub drain: Arc<Drain>,
}
