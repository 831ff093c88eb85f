//! The registry: finds active tenants without a lock, starts the others at first use, and passivates idle ones.

mod actor;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

pub use actor::{ApplyChange, PassivateIdle, RegistryActor, StartTenant};

use super::handle::TenantHandle;
use super::supervisor::TenantSupervisor;
use crate::actors::ask::{ActorRef, AskError};
use crate::actors::supervisor::{ChildHandle, ChildState};
use crate::clock;
use crate::domain::ids::TenantId;

/// Longest wait for a tenant to start.
const START_DEADLINE: Duration = Duration::from_secs(5);
/// An unknown name is looked up again after this long.
const UNKNOWN_TTL_NS: u64 = 5_000_000_000;

/// How a tenant is named by whoever looks for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// By subdomain.
    Slug(Box<str>),
    /// By a host of its own.
    Host(Box<str>),
    /// By id.
    Id(TenantId),
}

/// A tenant cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is no such tenant.
    #[error("there is no such tenant")]
    Unknown,
    /// It cannot be loaded now.
    #[error("the tenant cannot be loaded now")]
    Unavailable,
}

/// The active tenants. Shared by every thread; reading takes no lock.
#[derive(Debug)]
pub struct TenantRegistry {
    by_id: papaya::HashMap<TenantId, Arc<TenantHandle>>,
    by_slug: papaya::HashMap<Box<str>, Arc<TenantHandle>>,
    /// Hosts of their own that active tenants have or once had: an entry counts only while the tenant's view lists the host, so that
    /// there is one truth, and it goes out with the view.
    by_host: papaya::HashMap<Box<str>, Arc<TenantHandle>>,
    children: papaya::HashMap<TenantId, ChildHandle<TenantSupervisor>>,
    /// Names that no tenant has → when that was found out. Bounded.
    unknown: Cache<Wanted, u64>,
}

impl TenantRegistry {
    /// An empty registry that remembers up to `unknown_capacity` names that no tenant has.
    #[must_use]
    pub fn new(unknown_capacity: usize) -> Self {
        Self {
            by_id: papaya::HashMap::new(),
            by_slug: papaya::HashMap::new(),
            by_host: papaya::HashMap::new(),
            children: papaya::HashMap::new(),
            unknown: Cache::new(unknown_capacity),
        }
    }

    /// The active tenant with this subdomain.
    #[must_use]
    pub fn find_slug(&self, slug: &str) -> Option<Arc<TenantHandle>> {
        self.by_slug.pin().get(slug).cloned()
    }

    /// The active tenant that has this host.
    #[must_use]
    pub fn find_host(&self, host: &str) -> Option<Arc<TenantHandle>> {
        self.by_host.pin().get(host).filter(|handle| handle.view().has_host(host)).cloned()
    }

    /// The active tenant with this id.
    #[must_use]
    pub fn find_id(&self, id: TenantId) -> Option<Arc<TenantHandle>> {
        self.by_id.pin().get(&id).cloned()
    }

    /// Number of active tenants.
    #[must_use]
    pub fn n_active(&self) -> usize {
        self.by_id.len()
    }

    /// The tenant, started if it is not active.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(
        &self,
        actor: &ActorRef<RegistryActor>,
        wanted: Wanted,
    ) -> Result<Arc<TenantHandle>, ResolveError> {
        let active = match &wanted {
            Wanted::Slug(slug) => self.find_slug(slug),
            Wanted::Host(host) => self.find_host(host),
            Wanted::Id(id) => self.find_id(*id),
        };
        if let Some(handle) = active {
            return Ok(handle);
        }
        if self.is_known_unknown(&wanted) {
            return Err(ResolveError::Unknown);
        }
        let started = actor.ask(StartTenant { wanted: wanted.clone() }, START_DEADLINE).await;
        match started {
            Ok(handle) => Ok(handle),
            Err(AskError::Refused(ResolveError::Unknown)) => {
                self.unknown.insert(wanted, clock::monotonic_ns());
                Err(ResolveError::Unknown)
            }
            Err(
                AskError::Refused(ResolveError::Unavailable)
                | AskError::Overloaded
                | AskError::TimedOut
                | AskError::Unavailable,
            ) => {
                // While the database is away nobody proves a host: what was nobody's stays so, and clients that name their tenant
                // in another way are served.
                let is_nobodys = matches!(wanted, Wanted::Host(_)) && self.unknown.get(&wanted).is_some();
                if is_nobodys {
                    self.unknown.insert(wanted, clock::monotonic_ns());
                }
                Err(if is_nobodys { ResolveError::Unknown } else { ResolveError::Unavailable })
            }
        }
    }

    fn is_known_unknown(&self, wanted: &Wanted) -> bool {
        self.unknown.get(wanted).is_some_and(|since| clock::monotonic_ns().saturating_sub(since) < UNKNOWN_TTL_NS)
    }

    /// Forgets which names are unknown: a tenant was made somewhere, or has a new host.
    pub fn forget_unknown(&self) {
        self.unknown.clear();
    }

    fn insert(&self, handle: &Arc<TenantHandle>, child: ChildHandle<TenantSupervisor>) {
        self.children.pin().insert(handle.id(), child);
        self.by_slug.pin().insert(handle.slug().as_str().into(), Arc::clone(handle));
        for host in &handle.view().hosts {
            self.by_host.pin().insert(host.as_str().into(), Arc::clone(handle));
        }
        self.by_id.pin().insert(handle.id(), Arc::clone(handle));
    }

    /// Remembers where an active tenant's host leads.
    fn insert_host(&self, host: &str, handle: &Arc<TenantHandle>) {
        self.by_host.pin().insert(host.into(), Arc::clone(handle));
    }

    fn remove(&self, id: TenantId) -> Option<ChildHandle<TenantSupervisor>> {
        if let Some(handle) = self.by_id.pin().remove(&id) {
            self.by_slug.pin().remove(handle.slug().as_str());
            self.by_host.pin().retain(|_, known| known.id() != id);
        }
        self.children.pin().remove(&id).cloned()
    }

    fn child_state(&self, id: TenantId) -> Option<ChildState> {
        self.children.pin().get(&id).map(ChildHandle::state)
    }

    /// Empties the tables; the supervisors are the caller's to stop.
    fn abandon(&self) -> Vec<ChildHandle<TenantSupervisor>> {
        self.by_slug.pin().clear();
        self.by_host.pin().clear();
        self.by_id.pin().clear();
        let children = self.children.pin();
        let abandoned = children.values().cloned().collect();
        children.clear();
        abandoned
    }

    fn idle(&self, idle_ns: u64) -> Vec<Arc<TenantHandle>> {
        let now_ns = clock::monotonic_ns();
        self.by_id.pin().values().filter(|handle| handle.is_idle(now_ns, idle_ns)).cloned().collect()
    }
}
