//! The supervisor's state without the actor around it: which sessions are revoked, and which reloads are under way.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::view::ApiKeys;
use crate::domain::ids::{ApiKeyId, SessionId};

/// Sessions that ended while tokens of theirs may be alive.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    until_s: Arc<HashMap<SessionId, i64>>,
}

impl Revocations {
    pub(super) fn new(until_s: Arc<HashMap<SessionId, i64>>) -> Self {
        Self { until_s }
    }

    /// Adds a session and forgets those whose tokens have all expired. Returns the new table to publish, or `None` if
    /// nothing is new.
    pub(super) fn add(&mut self, session: SessionId, until_s: i64, now_s: i64) -> Option<Arc<HashMap<SessionId, i64>>> {
        if self.until_s.contains_key(&session) {
            return None;
        }
        let mut next: HashMap<_, _> =
            self.until_s.iter().filter(|(_, until)| **until > now_s).map(|(k, v)| (*k, *v)).collect();
        next.insert(session, until_s);
        self.until_s = Arc::new(next);
        Some(Arc::clone(&self.until_s))
    }

    /// Takes over a freshly read table. Revocations that arrived while it was read stay: revoked is for ever.
    pub(super) fn merge(&mut self, read: &HashMap<SessionId, i64>, now_s: i64) -> Arc<HashMap<SessionId, i64>> {
        let kept = self.until_s.iter().filter(|(_, until)| **until > now_s);
        self.until_s = Arc::new(read.iter().chain(kept).map(|(k, v)| (*k, *v)).collect());
        Arc::clone(&self.until_s)
    }
}

/// API keys that were revoked while the tenant is being read: what is read may still show them.
#[derive(Debug, Default)]
pub(super) struct RevokedKeys {
    keys: HashSet<ApiKeyId>,
}

impl RevokedKeys {
    /// Notes a revoked key. Returns the keys that are left to publish, or `None` if it was not among those shown.
    pub(super) fn add(&mut self, key: ApiKeyId, shown: &ApiKeys, is_reading: bool) -> Option<Arc<ApiKeys>> {
        if is_reading {
            self.keys.insert(key);
        }
        shown.values().any(|known| known.id == key).then(|| Arc::new(without(shown, |id| id == key)))
    }

    /// Takes the revoked keys out of what a read that ended shows. The next read begins after their revocation was committed,
    /// so it cannot show them any more.
    pub(super) fn strike_out(&mut self, read: Arc<ApiKeys>) -> Arc<ApiKeys> {
        let revoked = std::mem::take(&mut self.keys);
        if read.values().any(|key| revoked.contains(&key.id)) {
            Arc::new(without(&read, |id| revoked.contains(&id)))
        } else {
            read
        }
    }
}

fn without(keys: &ApiKeys, is_out: impl Fn(ApiKeyId) -> bool) -> ApiKeys {
    keys.iter().filter(|(_, key)| !is_out(key.id)).map(|(hash, key)| (*hash, Arc::clone(key))).collect()
}

/// What to do about a wish to reload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReloadStep {
    /// Start reading.
    Start,
    /// Somebody reads already, but may have begun before the change: read once more after.
    Queued,
}

/// At most one read at a time, and always one that began after the last wish.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    is_running: bool,
    is_wanted_again: bool,
}

impl Reloads {
    pub(super) fn wish(&mut self) -> ReloadStep {
        if self.is_running {
            self.is_wanted_again = true;
            ReloadStep::Queued
        } else {
            self.is_running = true;
            ReloadStep::Start
        }
    }

    /// Whether somebody reads.
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// A read ended; returns whether to start another.
    pub(super) fn ended(&mut self) -> bool {
        self.is_running = std::mem::take(&mut self.is_wanted_again);
        self.is_running
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn session(n: u128) -> SessionId {
        Uuid::from_u128(n).into()
    }

    #[test]
    fn a_revocation_is_published_once_and_forgotten_when_its_tokens_are_dead() {
        let mut revocations = Revocations::default();
        assert_eq!(revocations.add(session(1), 100, 0).map(|table| table.len()), Some(1));
        assert!(revocations.add(session(1), 100, 0).is_none());
        let table = revocations.add(session(2), 300, 100).expect("new");
        assert!(!table.contains_key(&session(1)) && table.contains_key(&session(2)));
    }

    #[test]
    fn a_reload_keeps_what_was_revoked_meanwhile() {
        let mut revocations = Revocations::default();
        revocations.add(session(1), 100, 0);
        let table = revocations.merge(&HashMap::from([(session(2), 100)]), 50);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_read_that_began_before_a_revocation_does_not_bring_the_key_back() {
        let key = |n: u8| {
            let id: ApiKeyId = Uuid::from_u128(u128::from(n)).into();
            let key = crate::domain::api_key::ApiKey {
                id,
                created_by: Uuid::from_u128(9).into(),
                scopes: vec![],
                expires_at: None,
            };
            ([n; 32], Arc::new(key))
        };
        let (first, second) = (key(1), key(2));
        let shown: Arc<ApiKeys> = Arc::new([first.clone(), second.clone()].into());
        let mut revoked = RevokedKeys::default();
        let left = revoked.add(first.1.id, &shown, true).expect("it was shown");
        assert_eq!(left.len(), 1);
        assert!(revoked.add(first.1.id, &left, true).is_none(), "nothing new to publish");
        assert_eq!(*revoked.strike_out(Arc::clone(&shown)), *left);
        assert_eq!(revoked.strike_out(shown).len(), 2, "a later read is believed");
    }

    #[test]
    fn wishes_during_a_read_are_served_by_one_further_read() {
        let mut reloads = Reloads::default();
        assert_eq!(reloads.wish(), ReloadStep::Start);
        assert_eq!(reloads.wish(), ReloadStep::Queued);
        assert_eq!(reloads.wish(), ReloadStep::Queued);
        assert!(reloads.ended());
        assert!(!reloads.ended());
        assert_eq!(reloads.wish(), ReloadStep::Start);
    }
}
