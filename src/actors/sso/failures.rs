//! How many refused sign-ins of strangers become rows of the audit trail: they are written for good, and cost whoever posts them nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::ids::TenantId;

/// Rows of one tenant in a minute at most; the log has the others.
const PER_MINUTE: u32 = 60;

/// What was written of each tenant in the present minute.
#[derive(Debug, Default)]
pub(super) struct Failures {
    seen: Mutex<(i64, HashMap<TenantId, u32>)>,
}

impl Failures {
    /// Takes one of the tenant's places in the minute of `now_s`, in seconds since 1970; false if there is none left.
    pub(super) fn take(&self, tenant: TenantId, now_s: i64) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (minute, counts) = &mut *seen;
        if *minute != now_s.div_euclid(60) {
            *minute = now_s.div_euclid(60);
            counts.clear();
        }
        let n = counts.entry(tenant).or_default();
        *n = n.saturating_add(1);
        if *n > PER_MINUTE {
            tracing::info!(tenant.id = %tenant, "a refused sign-in is not written down: there were too many in this minute");
        }
        *n <= PER_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_tenant_has_its_places_each_minute_and_takes_nobody_elses() {
        let (failures, one, other) = (Failures::default(), clock::new_id(), clock::new_id());
        assert!((0..PER_MINUTE).all(|_| failures.take(one, 120)));
        assert!(!failures.take(one, 179));
        assert!(failures.take(other, 179));
        assert!(failures.take(one, 180));
    }
}
