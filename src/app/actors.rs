//! The supervision tree's children: what each is built from, and in which order they start.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use super::jobs::JobGround;
use crate::actors::ask::{ActorMetrics, ActorRef, ChildActor};
use crate::actors::auth::{AuthActor, AuthContext, Hasher};
use crate::actors::billing_meter::spool::Spool;
use crate::actors::billing_meter::{BillingMeter, MeterContext, MeterMetrics, rules_of};
use crate::actors::config_watcher::ConfigWatcher;
use crate::actors::cron::CronActor;
use crate::actors::mailer::{Delivery, MailerActor};
use crate::actors::scribe::{Notes, Scribe};
use crate::actors::secrets::{SecretsActor, SecretsContext};
use crate::actors::sessions::{PostgresSessions, RedisSessions, SessionStore};
use crate::actors::sso::SsoDesk;
use crate::actors::stripe::Desk;
use crate::actors::supervisor::{ArbiterHandle, Arbiters, ChildSpec, Supervisor};
use crate::actors::tenant::registry::RegistryActor;
use crate::actors::tenant::{Loader, TenantRegistry};
use crate::actors::usage_feed::{Hub, HubLimits, UsageFeed};
use crate::clients::dns::Dns;
use crate::clients::invoice_pdf::InvoicePrinter;
use crate::clients::kms::MasterKey;
use crate::clients::mailer::Mailer;
use crate::clients::outbound::Outbound;
use crate::clients::redis::Redis;
use crate::config::{self, RedisSettings, Settings};
use crate::db::Db;
use crate::domain::key_rotation::RotationPolicy;
use crate::http::middleware::ip_limit::IpLimit;
use crate::http::tls::Certificate;

/// Messages that may wait for an actor of which requests ask little.
const MAILBOX: u32 = 1_024;
/// Messages that may wait for an actor that every tenant's start needs.
const LARGE_MAILBOX: u32 = 4_096;

/// What actors are built from.
pub(super) struct Ground<'a> {
    pub(super) tree: &'a Supervisor,
    pub(super) arbiters: &'a Arc<Arbiters>,
    pub(super) settings: &'a Arc<Settings>,
    pub(super) db: &'a Db,
    pub(super) master: &'a Arc<MasterKey>,
    pub(super) metrics: &'a ActorMetrics,
    pub(super) sessions: &'a Arc<dyn SessionStore>,
    pub(super) ip_limit: &'a IpLimit,
    pub(super) certificate: Option<&'a Arc<Certificate>>,
    pub(super) spool: &'a Arc<Spool>,
    pub(super) meter_metrics: &'a MeterMetrics,
    pub(super) printer: &'a InvoicePrinter,
    pub(super) stripe: Option<&'a Arc<Desk>>,
}

/// The actors that the rest of the program talks to.
pub(super) struct Actors {
    pub(super) registry: Arc<TenantRegistry>,
    pub(super) registry_actor: ActorRef<RegistryActor>,
    pub(super) auth: ActorRef<AuthActor>,
    pub(super) secrets: ActorRef<SecretsActor>,
    /// What changes of accounts work with.
    pub(super) accounts: AuthContext,
    pub(super) sso: Arc<SsoDesk>,
    pub(super) meter: ActorRef<BillingMeter>,
    /// What requests note in passing, for the scribe to write.
    pub(super) notes: Arc<Notes>,
    pub(super) cron: ActorRef<CronActor>,
    /// The streams of usage that are open here.
    pub(super) streams: Arc<Hub>,
}

impl Ground<'_> {
    /// Starts all, each before those that ask it.
    pub(super) async fn start(&self) -> Result<Actors, AppError> {
        let settings = self.settings;
        let secrets = self.start_secrets().await?;
        let accounts = AuthContext {
            settings: Arc::clone(settings),
            db: self.db.clone(),
            sessions: Arc::clone(self.sessions),
            hasher: Hasher::start(hashing_permits(settings), settings.auth.hashing_queue).map_err(AppError::Hasher)?,
            secrets: secrets.clone(),
        };
        let context = accounts.clone();
        let auth = self.child("auth", MAILBOX, move || AuthActor::new(context.clone())).await?;

        let registry = Arc::new(TenantRegistry::new(settings.tenants.unknown_host_cache));
        let registry_actor = self.start_registry(&registry, &secrets).await?;
        let (db, told) = (self.db.clone(), registry_actor.clone());
        self.child("config_watcher", MAILBOX, move || ConfigWatcher::new(db.clone(), told.clone())).await?;

        let delivery = Arc::new(Delivery {
            settings: Arc::clone(settings),
            db: self.db.clone(),
            registry: Arc::clone(&registry),
            registry_actor: registry_actor.clone(),
            mailer: Mailer::new(&settings.mail, &settings.data_dir)?,
            printer: self.printer.clone(),
        });
        self.child("mailer", MAILBOX, move || MailerActor::new(Arc::clone(&delivery))).await?;

        let meter = Arc::new(MeterContext {
            settings: Arc::clone(settings),
            db: self.db.clone(),
            registry: Arc::clone(&registry),
            registry_actor: registry_actor.clone(),
            spool: Arc::clone(self.spool),
            metrics: self.meter_metrics.clone(),
            rules: rules_of(settings),
        });
        let meter = self.child("billing_meter", MAILBOX, move || BillingMeter::new(Arc::clone(&meter))).await?;

        let notes = Arc::new(Notes::new(settings.audit.denials_per_minute));
        let (db, kept, every) = (self.db.clone(), Arc::clone(&notes), seconds(settings.auth.api_key_use_flush_s));
        self.child("scribe", MAILBOX, move || Scribe::new(db.clone(), Arc::clone(&kept), every)).await?;

        let streams = self.start_feed().await?;
        let dns = Dns::new(settings.sso.dns_server)?;
        let outbound = Outbound::new(&settings.sso, dns.clone())?;
        let sso = SsoDesk::new(accounts.clone(), dns, outbound);
        // The last to start and the first to stop: its jobs ask the others.
        let jobs = JobGround {
            settings,
            db: self.db,
            secrets: &secrets,
            registry: &registry_actor,
            ip_limit: self.ip_limit,
            certificate: self.certificate,
            stripe: self.stripe,
            sso: &sso,
        };
        let (db, jobs, node) = (self.db.clone(), jobs.jobs(), this_process());
        let cron = self
            .child("cron", MAILBOX, move || CronActor::new(db.clone(), Arc::clone(&jobs), Arc::clone(&node)))
            .await?;
        Ok(Actors { registry, registry_actor, auth, secrets, accounts, sso, meter, notes, streams, cron })
    }

    async fn start_secrets(&self) -> Result<ActorRef<SecretsActor>, AppError> {
        let auth = &self.settings.auth;
        let context = SecretsContext {
            db: self.db.clone(),
            master: Arc::clone(self.master),
            policy: RotationPolicy::new(auth.key_rotation_days, auth.key_prepublish_s, auth.access_token_ttl_s),
            algorithm: auth.signing_algorithm.into(),
        };
        self.child("secrets", LARGE_MAILBOX, move || SecretsActor::new(context.clone())).await
    }

    async fn start_registry(
        &self,
        registry: &Arc<TenantRegistry>,
        secrets: &ActorRef<SecretsActor>,
    ) -> Result<ActorRef<RegistryActor>, AppError> {
        let loader = Loader {
            settings: Arc::clone(self.settings),
            db: self.db.clone(),
            sessions: Arc::clone(self.sessions),
            secrets: secrets.clone(),
        };
        let (shared, threads, metrics) = (Arc::clone(registry), Arc::clone(self.arbiters), self.metrics.clone());
        let make =
            move || RegistryActor::new(Arc::clone(&shared), loader.clone(), Arc::clone(&threads), metrics.clone());
        self.child("tenant_registry", LARGE_MAILBOX, make).await
    }

    async fn start_feed(&self) -> Result<Arc<Hub>, AppError> {
        let config::StreamSettings { max_per_tenant, max_total, poll_ms, queue, ping_s: _ } = self.settings.stream;
        let hub = Arc::new(Hub::new(HubLimits { max_per_tenant, max_total, queue }));
        let (db, fed, every) = (self.db.clone(), Arc::clone(&hub), Duration::from_millis(poll_ms));
        self.child("usage_feed", MAILBOX, move || UsageFeed::new(db.clone(), Arc::clone(&fed), every)).await?;
        Ok(hub)
    }

    /// Starts one child for good, on the first of the actors' threads; `make` builds it again after a crash.
    async fn child<A: ChildActor>(
        &self,
        name: &'static str,
        mailbox_capacity: u32,
        make: impl Fn() -> A + Send + 'static,
    ) -> Result<ActorRef<A>, AppError> {
        let control: ArbiterHandle = self.arbiters.pick(0);
        let spec = ChildSpec { mailbox_capacity, ..ChildSpec::permanent(name) };
        let child = self.tree.start(&control, spec, move || std::future::ready(Ok(make()))).await?;
        Ok(child.actor)
    }
}

/// Where sessions live, by the settings.
pub(super) fn session_store(settings: &Settings) -> Result<Arc<dyn SessionStore>, AppError> {
    let RedisSettings { url, max_connections, timeout_ms } = &settings.redis;
    match (settings.sessions.store, url) {
        (config::SessionStore::Postgres, _) => Ok(Arc::new(PostgresSessions)),
        (config::SessionStore::Redis, Some(url)) => {
            let redis = Redis::new(url, *max_connections, Duration::from_millis(*timeout_ms))?;
            Ok(Arc::new(RedisSessions::new(redis)))
        }
        (config::SessionStore::Redis, None) => Err(AppError::NoRedis),
    }
}

/// A name for this process that an operator can find it by.
fn this_process() -> Arc<str> {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    format!("{host}/{}", std::process::id()).into()
}

fn hashing_permits(settings: &Settings) -> usize {
    match settings.auth.hashing_permits {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        n => n,
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
