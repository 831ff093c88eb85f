//! When API keys, and tokens of identity providers, were last used.

use std::collections::HashMap;
use std::hash::Hash;

use chrono::{DateTime, Utc};

use crate::domain::ids::TenantId;

/// Keys whose use waits to be written; the use of further ones is written when they are used again.
const MAX_KEYS: usize = 50_000;

/// Key → its tenant and the second of its latest use. Noting takes no lock.
#[derive(Debug)]
pub struct KeyUses<K: Hash + Eq> {
    latest: papaya::HashMap<K, (TenantId, i64)>,
}

impl<K: Hash + Eq> Default for KeyUses<K> {
    fn default() -> Self {
        Self { latest: papaya::HashMap::new() }
    }
}

impl<K: Copy + Hash + Eq> KeyUses<K> {
    /// Notes that a key was used at `now_s` (seconds since 1970).
    pub fn note(&self, tenant: TenantId, key: K, now_s: i64) {
        let latest = self.latest.pin();
        if latest.len() < MAX_KEYS || latest.contains_key(&key) {
            latest.insert(key, (tenant, now_s));
        }
    }

    /// Takes what was noted, by tenant. A use that is noted meanwhile is in this answer or the next.
    #[must_use]
    pub fn take(&self) -> HashMap<TenantId, Vec<(K, DateTime<Utc>)>> {
        let latest = self.latest.pin();
        let keys: Vec<K> = latest.keys().copied().collect();
        let mut taken: HashMap<_, Vec<_>> = HashMap::new();
        for key in keys {
            if let Some((tenant, at_s)) = latest.remove(&key)
                && let Some(at) = DateTime::from_timestamp(*at_s, 0)
            {
                taken.entry(*tenant).or_default().push((key, at));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::ApiKeyId;

    #[test]
    fn the_latest_use_of_each_key_is_taken_once() {
        let (tenant, other) = (TenantId::from(Uuid::from_u128(1)), TenantId::from(Uuid::from_u128(2)));
        let (key, second) = (ApiKeyId::from(Uuid::from_u128(3)), ApiKeyId::from(Uuid::from_u128(4)));
        let uses = KeyUses::<ApiKeyId>::default();
        uses.note(tenant, key, 10);
        uses.note(tenant, key, 20);
        uses.note(other, second, 30);
        let taken = uses.take();
        assert_eq!(taken[&tenant], [(key, DateTime::from_timestamp(20, 0).expect("a time"))]);
        assert_eq!(taken[&other].len(), 1);
        assert!(uses.take().is_empty());
    }
}
