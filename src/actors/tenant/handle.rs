//! What the rest of the program holds of an active tenant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::loader::Loaded;
use super::supervisor::TenantSupervisor;
use super::view::TenantView;
use crate::actors::ask::ActorRef;
use crate::clock;
use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::quota::{self, Quotas};
use crate::domain::rate_limit::{Decision, RatePolicy};
use crate::domain::tenant::Slug;

/// Whose requests a limit counts. Callers who prove nothing have a bucket of their own: a stranger must not be able to use up
/// what a tenant's users need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Users with a good credential.
    SignedIn,
    /// Everybody else, on routes that ask for no credential.
    Anonymous,
    /// The tenant's identity provider: its synchronisation takes nothing from the users, nor they from it.
    Provisioner,
}

/// An active tenant: its published view, its rate-limit state and its supervisor.
#[derive(Debug)]
pub struct TenantHandle {
    id: TenantId,
    slug: Slug,
    view: ArcSwap<TenantView>,
    /// Beside the view, because usage changes far more often than anything else of a tenant.
    quotas: ArcSwap<Quotas>,
    /// Theoretical arrival times of the rate limit. They outlive views, so a config change does not refill the limit.
    signed_in_tat_ns: AtomicU64,
    anonymous_tat_ns: AtomicU64,
    provisioner_tat_ns: AtomicU64,
    events_tat_ns: AtomicU64,
    /// The same for each meter past a soft limit that slows its calls; nobody else takes the lock.
    throttled_tat_ns: Mutex<BTreeMap<MeterName, u64>>,
    in_flight: AtomicU32,
    websockets: AtomicU32,
    last_used_ns: AtomicU64,
    supervisor: OnceLock<ActorRef<TenantSupervisor>>,
}

impl TenantHandle {
    pub(super) fn new(loaded: Loaded) -> Self {
        let Loaded { view, quotas } = loaded;
        Self {
            id: view.tenant.id,
            slug: view.tenant.slug.clone(),
            view: ArcSwap::from_pointee(view),
            quotas: ArcSwap::from_pointee(quotas),
            signed_in_tat_ns: AtomicU64::new(0),
            anonymous_tat_ns: AtomicU64::new(0),
            provisioner_tat_ns: AtomicU64::new(0),
            events_tat_ns: AtomicU64::new(0),
            throttled_tat_ns: Mutex::default(),
            in_flight: AtomicU32::new(0),
            websockets: AtomicU32::new(0),
            last_used_ns: AtomicU64::new(clock::monotonic_ns()),
            supervisor: OnceLock::new(),
        }
    }

    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> TenantId {
        self.id
    }

    /// The tenant's subdomain.
    #[must_use]
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// The published view, for a moment's reading.
    pub fn view(&self) -> Guard<Arc<TenantView>> {
        self.view.load()
    }

    /// The published view, to keep.
    #[must_use]
    pub fn view_full(&self) -> Arc<TenantView> {
        self.view.load_full()
    }

    pub(super) fn publish(&self, view: TenantView) {
        self.view.store(Arc::new(view));
    }

    /// What the tenant has used in the present period, as far as this process knows.
    pub fn quotas(&self) -> Guard<Arc<Quotas>> {
        self.quotas.load()
    }

    /// Takes over newer figures; older ones change nothing.
    pub(super) fn publish_quotas(&self, news: &Quotas) {
        self.quotas.rcu(|known| quota::merge(known, news));
    }

    /// The tenant's supervisor. `None` only while the tenant starts.
    #[must_use]
    pub fn supervisor(&self) -> Option<&ActorRef<TenantSupervisor>> {
        self.supervisor.get()
    }

    pub(super) fn set_supervisor(&self, supervisor: ActorRef<TenantSupervisor>) {
        // A second call would mean two supervisors for one handle; the first one stays the writer.
        let _ = self.supervisor.set(supervisor);
    }

    /// Notes that the tenant is in use, so that it is not passivated.
    pub fn touch(&self, now_ns: u64) {
        self.last_used_ns.store(now_ns, Ordering::Relaxed);
    }

    pub(super) fn is_idle(&self, now_ns: u64, idle_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_used_ns.load(Ordering::Relaxed)) >= idle_ns
            && self.in_flight.load(Ordering::Relaxed) == 0
            && self.websockets.load(Ordering::Relaxed) == 0
    }

    /// Counts one request against the tenant's limit, without a lock.
    pub fn take(&self, bucket: Bucket, policy: RatePolicy, now_ns: u64) -> Decision {
        let kept = match bucket {
            Bucket::SignedIn => &self.signed_in_tat_ns,
            Bucket::Anonymous => &self.anonymous_tat_ns,
            Bucket::Provisioner => &self.provisioner_tat_ns,
        };
        take_many(kept, 1, policy, now_ns)
    }

    /// Counts `n` posted usage events against the rate that the plan has for them: all pass, or none. The rate is this process's own.
    pub fn take_events(&self, n: u32, policy: RatePolicy, now_ns: u64) -> Decision {
        take_many(&self.events_tat_ns, n, policy, now_ns)
    }

    /// Counts one call against the rate that a meter has past its soft limit. The rate is this process's own.
    pub fn take_throttled(&self, meter: &MeterName, policy: RatePolicy, now_ns: u64) -> Decision {
        let mut kept = self.throttled_tat_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let decision = policy.take(kept.get(meter).copied().unwrap_or(0), now_ns);
        if let Decision::Allowed { tat_ns, .. } = decision {
            kept.insert(meter.clone(), tat_ns);
        }
        decision
    }

    /// Enters one request, unless `limit` of them are in flight already. The guard leaves when dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, limit: u32) -> Option<InFlight> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let entered = InFlight { tenant: Arc::clone(self) };
        (before < limit).then_some(entered)
    }
}

impl TenantHandle {
    /// Enters one WebSocket, unless `limit` of them are open already. The guard leaves when dropped, and until then the tenant is not
    /// passivated.
    #[must_use]
    pub fn enter_websocket(self: &Arc<Self>, limit: u32) -> Option<OpenWebSocket> {
        let before = self.websockets.fetch_add(1, Ordering::Relaxed);
        let entered = OpenWebSocket { tenant: Arc::clone(self) };
        (before < limit).then_some(entered)
    }
}

fn take_many(kept: &AtomicU64, n: u32, policy: RatePolicy, now_ns: u64) -> Decision {
    let mut tat = kept.load(Ordering::Relaxed);
    loop {
        let decision = policy.take_many(n, tat, now_ns);
        let Decision::Allowed { tat_ns, .. } = decision else {
            return decision;
        };
        match kept.compare_exchange_weak(tat, tat_ns, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return decision,
            Err(current) => tat = current,
        }
    }
}

/// One open WebSocket of a tenant.
#[derive(Debug)]
pub struct OpenWebSocket {
    tenant: Arc<TenantHandle>,
}

impl Drop for OpenWebSocket {
    fn drop(&mut self) {
        self.tenant.websockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request of a tenant in flight.
#[derive(Debug)]
pub struct InFlight {
    tenant: Arc<TenantHandle>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.tenant.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
