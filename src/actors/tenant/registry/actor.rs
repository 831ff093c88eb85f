//! The registry's actor: the one that starts and stops tenants' supervisors.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{ResolveError, TenantRegistry, Wanted};
use crate::actors::ask::{ActorMetrics, ActorRef, ChildActor, Ctx, Handle, Request, Responder};
use crate::actors::supervisor::{Arbiters, ChildHandle, ChildSpec, ChildState, Owner, StartError, supervise};
use crate::actors::tenant::handle::TenantHandle;
use crate::actors::tenant::loader::{LoadError, Loader};
use crate::actors::tenant::messages::{ReloadTenant, RevokeApiKey, RevokeSession};
use crate::actors::tenant::supervisor::TenantSupervisor;
use crate::clock;
use crate::db::config_log::{Change, ConfigChange};
use crate::db::{SystemReason, SystemTx, directory};
use crate::domain::ids::TenantId;

/// A change that a full mailbox did not take is offered again after this long.
const RETRY_CHANGE_AFTER: Duration = Duration::from_millis(100);

/// A tenant whose supervisor gave up is not started again for so long.
const COOL_DOWN_NS: u64 = 5_000_000_000;

/// Query: the handle of a tenant, started if need be. Sent by requests that found no active tenant; idempotent.
#[derive(Debug)]
pub struct StartTenant {
    /// Which.
    pub wanted: Wanted,
}

impl Request for StartTenant {
    const NAME: &'static str = "start_tenant";
    type Reply = Arc<TenantHandle>;
    type Refusal = ResolveError;
}

/// Event, idempotent: the config log names a change. Sent by the config watcher, which repeats it until it is taken.
#[derive(Debug)]
pub struct ApplyChange {
    /// The change.
    pub change: ConfigChange,
}

impl Request for ApplyChange {
    const NAME: &'static str = "apply_change";
    type Reply = ();
    type Refusal = std::convert::Infallible;
}

/// Command, idempotent: stop the supervisors of tenants that are idle; replies with how many. Sent by cron in every process.
#[derive(Debug)]
pub struct PassivateIdle;

impl Request for PassivateIdle {
    const NAME: &'static str = "passivate_idle";
    type Reply = u64;
    type Refusal = std::convert::Infallible;
}

/// A supervisor gave up: its tenant must leave the table, so that the next request starts it anew.
#[derive(Debug)]
struct TenantFailed {
    tenant: TenantId,
}

impl Request for TenantFailed {
    const NAME: &'static str = "tenant_failed";
    type Reply = ();
    type Refusal = std::convert::Infallible;
}

/// Starts, finds and stops tenants' supervisors.
pub struct RegistryActor {
    registry: Arc<TenantRegistry>,
    loader: Loader,
    arbiters: Arc<Arbiters>,
    metrics: ActorMetrics,
    passivate_after: Duration,
    mailbox_capacity: u32,
    /// Supervisors that an earlier life of this actor left behind.
    orphans: Vec<ChildHandle<TenantSupervisor>>,
    /// Starts under way, and who waits for them.
    starting: HashMap<Wanted, Vec<Responder<StartTenant>>>,
    /// Tenants whose supervisor gave up, and when each may be tried again.
    cooling: HashMap<TenantId, u64>,
    /// A change arrived while something started: what starts may have read the state before it.
    is_dirty: bool,
}

impl RegistryActor {
    /// An actor over an empty table. After a crash of its own the table is emptied: requests start their tenants again.
    #[must_use]
    pub fn new(registry: Arc<TenantRegistry>, loader: Loader, arbiters: Arc<Arbiters>, metrics: ActorMetrics) -> Self {
        let settings = &loader.settings.tenants;
        Self {
            orphans: registry.abandon(),
            registry,
            arbiters,
            metrics,
            passivate_after: Duration::from_secs(settings.passivate_after_s),
            mailbox_capacity: u32::try_from(settings.mailbox_capacity).unwrap_or(u32::MAX),
            loader,
            starting: HashMap::new(),
            cooling: HashMap::new(),
            is_dirty: false,
        }
    }

    fn finish_start(&mut self, wanted: &Wanted, found: Result<Found, ResolveError>, ctx: &mut Ctx<'_, Self>) {
        let waiting = self.starting.remove(wanted).unwrap_or_default();
        let found = found.and_then(|found| match found {
            // Active by another name, or started by it meanwhile.
            Found::Active(handle) => Ok(handle),
            Found::Loaded(handle) => match self.registry.find_id(handle.id()) {
                Some(active) => Ok(active),
                None if self.is_cooling(handle.id()) => Err(ResolveError::Unavailable),
                None => Ok(self.adopt(handle, ctx)),
            },
        });
        if self.is_dirty
            && let Ok(handle) = &found
        {
            self.offer(handle, Change::Keys, ctx);
        }
        // Only what is in the table: a tenant that was passivated meanwhile must not be found by its host.
        if let (Wanted::Host(host), Ok(handle)) = (wanted, &found)
            && self.registry.find_id(handle.id()).is_some_and(|active| Arc::ptr_eq(&active, handle))
        {
            self.registry.insert_host(host, handle);
        }
        if self.starting.is_empty() {
            self.is_dirty = false;
        }
        for responder in waiting {
            responder.answer(match &found {
                Ok(handle) => Ok(Arc::clone(handle)),
                Err(ResolveError::Unknown) => Err(ResolveError::Unknown),
                Err(ResolveError::Unavailable) => Err(ResolveError::Unavailable),
            });
        }
    }

    fn is_cooling(&mut self, id: TenantId) -> bool {
        let now_ns = clock::monotonic_ns();
        self.cooling.retain(|_, until_ns| *until_ns > now_ns);
        self.cooling.contains_key(&id)
    }

    fn adopt(&mut self, handle: Arc<TenantHandle>, ctx: &mut Ctx<'_, Self>) -> Arc<TenantHandle> {
        let mut hasher = DefaultHasher::new();
        handle.id().hash(&mut hasher);
        let spec =
            ChildSpec { mailbox_capacity: self.mailbox_capacity, ..ChildSpec::transient(handle.id().to_string()) };
        let owner = Arc::new(TenantOwner { tenant: handle.id(), registry: ctx.actor() });
        let (loader, shown) = (self.loader.clone(), Arc::clone(&handle));
        let is_first_life = AtomicBool::new(true);
        let child = supervise(&self.arbiters.pick(hasher.finish()), spec, &self.metrics, owner, move || {
            let (loader, handle) = (loader.clone(), Arc::clone(&shown));
            let is_first_life = is_first_life.swap(false, Ordering::Relaxed);
            async move {
                if is_first_life {
                    Ok(TenantSupervisor::adopt(handle, loader))
                } else {
                    TenantSupervisor::rebuild(handle, loader).await.map_err(StartError::new)
                }
            }
        });
        handle.set_supervisor(child.actor.clone());
        self.registry.insert(&handle, child);
        handle
    }

    /// Tells a tenant's supervisor of a change, and again until its mailbox takes it.
    fn offer(&mut self, handle: &Arc<TenantHandle>, change: Change, ctx: &mut Ctx<'_, Self>) {
        let Some(supervisor) = handle.supervisor() else { return };
        let told = match change {
            Change::SessionRevoked(session) => supervisor.tell(RevokeSession { session }),
            Change::ApiKeyRevoked(key) => supervisor.tell(RevokeApiKey { key }),
            Change::Tenant { version } => supervisor.tell(ReloadTenant { at_least: Some(version) }),
            Change::Keys | Change::Usage | Change::Hosts => supervisor.tell(ReloadTenant { at_least: None }),
        };
        if told.is_err() && self.registry.find_id(handle.id()).is_some() {
            let handle = Arc::clone(handle);
            ctx.run_later(RETRY_CHANGE_AFTER, move |actor, ctx| actor.offer(&handle, change, ctx));
        }
    }
}

enum Found {
    Active(Arc<TenantHandle>),
    Loaded(Arc<TenantHandle>),
}

async fn find(registry: &TenantRegistry, loader: &Loader, wanted: Wanted) -> Result<Found, ResolveError> {
    let system = SystemTx::new(&loader.db, SystemReason::ResolveTenant);
    let id = match wanted {
        Wanted::Slug(slug) => directory::find_by_slug(&system, &slug).await,
        Wanted::Host(host) => directory::find_by_host(&system, &host).await,
        Wanted::Id(id) => directory::find_by_id(&system, id).await,
    };
    let id = id.map_err(|error| unavailable(&error))?.ok_or(ResolveError::Unknown)?;
    if let Some(active) = registry.find_id(id) {
        return Ok(Found::Active(active));
    }
    match loader.load(id).await {
        Ok(loaded) => Ok(Found::Loaded(Arc::new(TenantHandle::new(loaded)))),
        Err(LoadError::Gone) => Err(ResolveError::Unknown),
        Err(error @ (LoadError::Db(_) | LoadError::Sessions(_) | LoadError::Keys(_))) => Err(unavailable(&error)),
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> ResolveError {
    tracing::warn!(error, "a tenant could not be loaded");
    ResolveError::Unavailable
}

struct TenantOwner {
    tenant: TenantId,
    registry: ActorRef<RegistryActor>,
}

impl Owner for TenantOwner {
    fn child_failed(&self, _name: &str) {
        if self.registry.tell(TenantFailed { tenant: self.tenant }).is_err() {
            tracing::error!(tenant.id = %self.tenant, "a failed tenant could not be reported");
        }
    }
}

impl ChildActor for RegistryActor {
    const KIND: &'static str = "tenant_registry";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        for orphan in self.orphans.drain(..) {
            ctx.spawn(async move { orphan.stop().await }, |_actor, (), _ctx| {});
        }
    }

    async fn stopping(self) {
        for child in self.registry.abandon() {
            child.stop().await;
        }
    }
}

impl Handle<StartTenant> for RegistryActor {
    fn handle(&mut self, message: StartTenant, responder: Responder<StartTenant>, ctx: &mut Ctx<'_, Self>) {
        match self.starting.entry(message.wanted.clone()) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push(responder),
            Entry::Vacant(waiting) => {
                waiting.insert(vec![responder]);
                let (registry, loader) = (Arc::clone(&self.registry), self.loader.clone());
                let wanted = message.wanted.clone();
                ctx.spawn(async move { find(&registry, &loader, wanted).await }, move |actor, found, ctx| {
                    actor.finish_start(&message.wanted, found, ctx);
                });
            }
        }
    }
}

impl Handle<ApplyChange> for RegistryActor {
    fn handle(&mut self, message: ApplyChange, responder: Responder<ApplyChange>, ctx: &mut Ctx<'_, Self>) {
        let ConfigChange { seq: _, tenant, change } = message.change;
        self.is_dirty |= !self.starting.is_empty();
        if change == Change::Hosts {
            // Perhaps one that was asked for before it was proved.
            self.registry.forget_unknown();
        }
        match self.registry.find_id(tenant) {
            Some(handle) => self.offer(&handle, change, ctx),
            // Perhaps a new tenant, whose name was asked for too early.
            None => self.registry.forget_unknown(),
        }
        responder.reply(());
    }
}

impl Handle<PassivateIdle> for RegistryActor {
    fn handle(&mut self, _message: PassivateIdle, responder: Responder<PassivateIdle>, ctx: &mut Ctx<'_, Self>) {
        let idle_ns = u64::try_from(self.passivate_after.as_nanos()).unwrap_or(u64::MAX);
        let mut n = 0;
        for handle in self.registry.idle(idle_ns) {
            if let Some(child) = self.registry.remove(handle.id()) {
                n += 1;
                tracing::debug!(tenant.id = %handle.id(), "the tenant is idle and was passivated");
                ctx.spawn(async move { child.stop().await }, |_actor, (), _ctx| {});
            }
        }
        responder.reply(n);
    }
}

impl Handle<TenantFailed> for RegistryActor {
    fn handle(&mut self, message: TenantFailed, responder: Responder<TenantFailed>, _ctx: &mut Ctx<'_, Self>) {
        if self.registry.child_state(message.tenant) == Some(ChildState::Failed) {
            self.registry.remove(message.tenant);
            self.cooling.insert(message.tenant, clock::monotonic_ns() + COOL_DOWN_NS);
        }
        responder.reply(());
    }
}
