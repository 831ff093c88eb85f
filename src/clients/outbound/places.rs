//! How many exchanges there may be at once: in all, for one tenant, and with one host.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::ids::TenantId;

/// Most places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// Of one tenant.
    pub(super) tenant: usize,
    /// For one host and port.
    pub(super) host: usize,
}

/// Places, as they are taken.
#[derive(Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
    bounds: Bounds,
}

/// How many are taken; who has none is not among them.
#[derive(Default)]
struct Taken {
    tenants: HashMap<TenantId, usize>,
    hosts: HashMap<(String, u16), usize>,
}

/// A place; given back when it is dropped.
pub(super) struct Place {
    places: Places,
    tenant: TenantId,
    host: (String, u16),
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { taken: Arc::default(), bounds }
    }

    /// A place, if there is one.
    pub(super) fn take(&self, tenant: TenantId, host: &str, port: u16) -> Option<Place> {
        let host = (host.to_owned(), port);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = taken.tenants.get(&tenant).copied().unwrap_or(0);
        let of_host = taken.hosts.get(&host).copied().unwrap_or(0);
        let all = taken.hosts.values().sum::<usize>();
        if of_tenant >= self.bounds.tenant || of_host >= self.bounds.host || all >= self.bounds.all {
            return None;
        }
        taken.tenants.insert(tenant, of_tenant + 1);
        taken.hosts.insert(host.clone(), of_host + 1);
        Some(Place { places: self.clone(), tenant, host })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        give_back(&mut taken.tenants, &self.tenant);
        give_back(&mut taken.hosts, &self.host);
    }
}

fn give_back<K: Hash + Eq>(taken: &mut HashMap<K, usize>, whose: &K) {
    match taken.get_mut(whose) {
        Some(n) if *n > 1 => *n -= 1,
        Some(_) | None => drop(taken.remove(whose)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn one_host_does_not_take_the_places_of_others() {
        let (places, tenant) = (Places::new(Bounds { all: 3, tenant: 3, host: 2 }), clock::new_id());
        let take = |host: &str| places.take(tenant, host, 443);
        let (a, _b) = (take("slow").expect("first"), take("slow").expect("second"));
        assert!(take("slow").is_none());
        drop(places.take(tenant, "slow", 8443).expect("another port is another service"));
        let _c = take("other").expect("another host's");
        assert!(take("third").is_none(), "three in all");
        drop(a);
        assert!(take("third").is_some());
    }

    #[test]
    fn one_tenant_does_not_take_the_places_of_others() {
        let places = Places::new(Bounds { all: 4, tenant: 2, host: 4 });
        let (greedy, other) = (clock::new_id(), clock::new_id());
        let take = |tenant, host: &str| places.take(tenant, host, 443);
        let (a, _b) = (take(greedy, "a").expect("first"), take(greedy, "b").expect("second"));
        assert!(take(greedy, "c").is_none(), "however many hosts it names");
        let _c = take(other, "a").expect("another tenant's");
        drop(a);
        assert!(take(greedy, "c").is_some());
        assert_eq!(places.taken.lock().expect("nobody panicked").tenants.len(), 2, "who has none is forgotten");
    }
}
