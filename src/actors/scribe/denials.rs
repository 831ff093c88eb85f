//! Refusals that wait to be written to the audit log.
//!
//! An attacker decides how many there are, so each tenant has so many rows a minute; the rest is counted, and the count gets a
//! row of its own when the minute is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::audit::AuditEvent;
use crate::domain::ids::TenantId;

/// Tenants with refusals in one minute that get rows; beyond, refusals are only in the access log and the metrics.
const MAX_TENANTS: usize = 10_000;

/// What is to be written of one tenant.
#[derive(Debug, Default, PartialEq)]
pub struct Tally {
    /// Refusals with a row each.
    pub events: Vec<AuditEvent>,
    /// Refusals of a minute that is over, that have none.
    pub n_left_out: u64,
}

#[derive(Debug, Default)]
struct Minute {
    minute: i64,
    n_kept: u32,
    tally: Tally,
    /// Of the minute that runs.
    n_left_out: u64,
}

impl Minute {
    fn turn_to(&mut self, minute: i64) {
        if self.minute != minute {
            self.tally.n_left_out += std::mem::take(&mut self.n_left_out);
            self.minute = minute;
            self.n_kept = 0;
        }
    }
}

/// Refusals by tenant.
#[derive(Debug)]
pub struct Denials {
    per_minute: u32,
    tenants: Mutex<HashMap<TenantId, Minute>>,
}

impl Denials {
    /// Keeps so many refusals of each tenant a minute.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, tenants: Mutex::default() }
    }

    /// Notes a refusal at `now_s` (seconds since 1970). `event` is made only if it is kept.
    pub fn note(&self, tenant: TenantId, now_s: i64, event: impl FnOnce() -> AuditEvent) {
        let mut tenants = self.lock();
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(&tenant) {
            return;
        }
        let minute = tenants.entry(tenant).or_default();
        minute.turn_to(now_s.div_euclid(60));
        if minute.n_kept < self.per_minute {
            minute.n_kept += 1;
            minute.tally.events.push(event());
        } else {
            minute.n_left_out += 1;
        }
    }

    /// Takes what is to be written at `now_s`, and forgets tenants without refusals in this minute.
    #[must_use]
    pub fn take(&self, now_s: i64) -> Vec<(TenantId, Tally)> {
        let now = now_s.div_euclid(60);
        let mut tenants = self.lock();
        let mut taken = Vec::new();
        for (tenant, minute) in tenants.iter_mut() {
            minute.turn_to(now);
            let tally = std::mem::take(&mut minute.tally);
            if tally != Tally::default() {
                taken.push((*tenant, tally));
            }
        }
        tenants.retain(|_, minute| minute.n_kept > 0 || minute.n_left_out > 0);
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Minute>> {
        // Nothing panics while it is held, and the counts would be usable if something did.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::domain::audit::{AuditActor, AuditOutcome, AuditSource};

    fn event() -> AuditEvent {
        AuditEvent {
            actor: AuditActor::Anonymous,
            action: "request.deny",
            target_kind: "route",
            target_id: None,
            outcome: AuditOutcome::Denied,
            code: None,
            source: AuditSource::default(),
            detail: json!({}),
        }
    }

    #[test]
    fn a_flood_leaves_some_rows_and_a_count() {
        let denials = Denials::new(2);
        let (attacked, calm) = (TenantId::from(Uuid::from_u128(1)), TenantId::from(Uuid::from_u128(2)));
        for _ in 0..1_000 {
            denials.note(attacked, 30, event);
        }
        denials.note(calm, 30, event);
        let taken: HashMap<_, _> = denials.take(31).into_iter().collect();
        assert_eq!((taken[&attacked].events.len(), taken[&attacked].n_left_out), (2, 0));
        assert_eq!(taken[&calm].events.len(), 1);
        denials.note(attacked, 59, event);
        assert!(denials.take(59).is_empty(), "the minute's rows are used up, and the count waits for its end");
        assert_eq!(denials.take(60), [(attacked, Tally { events: vec![], n_left_out: 999 })]);
        assert!(denials.take(61).is_empty());
        denials.note(attacked, 62, event);
        assert_eq!(denials.take(63).len(), 1, "a new minute has new rows");
    }
}
