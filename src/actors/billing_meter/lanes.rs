//! Whose events go next. While a tenant's transaction is under way its further events wait, and then go together: the busier
//! a tenant, the larger its transactions.

use std::collections::{HashMap, VecDeque};

use crate::domain::ids::TenantId;

/// Bounds of what waits and of what is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Transactions at once.
    pub n_running: usize,
    /// Events of one transaction; a single request with more goes alone.
    pub per_batch: usize,
    /// Events of one tenant that wait.
    pub per_tenant: usize,
    /// Events that wait. The last fifth of them is for tenants with nothing waiting.
    pub in_total: usize,
}

#[derive(Debug)]
struct Lane<W> {
    waiting: VecDeque<(usize, W)>,
    n_events: usize,
    is_running: bool,
}

/// A lane for each tenant with work; they take turns.
#[derive(Debug)]
pub(super) struct Lanes<W> {
    bounds: Bounds,
    lanes: HashMap<TenantId, Lane<W>>,
    /// Lanes with waiting work that are not under way, each once.
    turn: VecDeque<TenantId>,
    n_running: usize,
    n_waiting: usize,
}

impl<W> Lanes<W> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, lanes: HashMap::new(), turn: VecDeque::new(), n_running: 0, n_waiting: 0 }
    }

    /// Puts a request with so many events into its tenant's lane, or gives it back if there is no room.
    pub(super) fn push(&mut self, tenant: TenantId, n_events: usize, request: W) -> Result<(), W> {
        let waiting = self.lanes.get(&tenant).map_or(0, |lane| lane.n_events);
        let in_total = self.n_waiting + n_events;
        // The last fifth is kept for tenants with nothing waiting, so that a few busy ones cannot shut the others out.
        let is_reserve = in_total > self.bounds.in_total / 5 * 4;
        if waiting + n_events > self.bounds.per_tenant || in_total > self.bounds.in_total || (is_reserve && waiting > 0)
        {
            return Err(request);
        }
        let lane = self.lanes.entry(tenant).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            n_events: 0,
            is_running: false,
        });
        if lane.waiting.is_empty() && !lane.is_running {
            self.turn.push_back(tenant);
        }
        lane.waiting.push_back((n_events, request));
        lane.n_events += n_events;
        self.n_waiting += n_events;
        Ok(())
    }

    /// The requests of the next transaction, if there may be one more. [`Self::done`] ends it.
    pub(super) fn next(&mut self) -> Option<(TenantId, Vec<W>)> {
        if self.n_running >= self.bounds.n_running {
            return None;
        }
        let tenant = self.turn.pop_front()?;
        let lane = self.lanes.get_mut(&tenant)?;
        let (mut n_taken, mut batch) = (0, Vec::new());
        while let Some((n_events, _)) = lane.waiting.front() {
            if n_taken > 0 && n_taken + n_events > self.bounds.per_batch {
                break;
            }
            let Some((n_events, request)) = lane.waiting.pop_front() else { break };
            n_taken += n_events;
            batch.push(request);
        }
        lane.n_events -= n_taken;
        lane.is_running = true;
        self.n_waiting -= n_taken;
        self.n_running += 1;
        Some((tenant, batch))
    }

    /// The tenant's transaction is over.
    pub(super) fn done(&mut self, tenant: TenantId) {
        self.n_running -= 1;
        let Some(lane) = self.lanes.get_mut(&tenant) else { return };
        lane.is_running = false;
        if lane.waiting.is_empty() {
            self.lanes.remove(&tenant);
        } else {
            self.turn.push_back(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId::from(Uuid::from_u128(n))
    }

    fn lanes() -> Lanes<&'static str> {
        Lanes::new(Bounds { n_running: 2, per_batch: 10, per_tenant: 20, in_total: 30 })
    }

    #[test]
    fn what_comes_while_a_transaction_runs_goes_together_in_the_next() {
        let mut lanes = lanes();
        lanes.push(tenant(1), 1, "a").expect("room");
        assert_eq!(lanes.next(), Some((tenant(1), vec!["a"])));
        for request in ["b", "c"] {
            lanes.push(tenant(1), 4, request).expect("room");
        }
        lanes.push(tenant(1), 3, "d").expect("room");
        assert_eq!(lanes.next(), None, "one transaction of a tenant at a time");
        lanes.done(tenant(1));
        assert_eq!(lanes.next(), Some((tenant(1), vec!["b", "c"])), "as many as go into a batch");
        lanes.done(tenant(1));
        assert_eq!(lanes.next(), Some((tenant(1), vec!["d"])));
        lanes.done(tenant(1));
        assert_eq!(lanes.next(), None);
        assert!(lanes.lanes.is_empty() && lanes.turn.is_empty() && lanes.n_waiting == 0);
    }

    #[test]
    fn a_busy_tenant_leaves_room_and_turns_to_the_others() {
        let mut lanes = lanes();
        for request in ["a", "b"] {
            lanes.push(tenant(1), 10, request).expect("room");
        }
        assert_eq!(lanes.push(tenant(1), 1, "c"), Err("c"), "the tenant's bound");
        lanes.push(tenant(2), 9, "x").expect("room for others");
        assert_eq!(lanes.push(tenant(3), 2, "y"), Err("y"), "the bound of all");
        assert_eq!(lanes.next(), Some((tenant(1), vec!["a"])));
        assert_eq!(lanes.next(), Some((tenant(2), vec!["x"])));
        lanes.push(tenant(3), 2, "y").expect("room again");
        assert_eq!(lanes.next(), None, "two at once");
        lanes.done(tenant(1));
        assert_eq!(lanes.next(), Some((tenant(3), vec!["y"])), "who waited longer is first");
        lanes.done(tenant(2));
        assert_eq!(lanes.next(), Some((tenant(1), vec!["b"])));
    }

    #[test]
    fn the_last_fifth_is_for_tenants_with_nothing_waiting() {
        let mut lanes = lanes();
        lanes.push(tenant(1), 15, "a").expect("room");
        lanes.push(tenant(2), 9, "b").expect("room");
        assert_eq!(lanes.push(tenant(2), 1, "c"), Err("c"), "24 of 30 are taken");
        lanes.push(tenant(3), 5, "d").expect("room for whoever has nothing waiting");
        assert_eq!(lanes.push(tenant(3), 1, "e"), Err("e"));
        lanes.push(tenant(4), 1, "f").expect("room");
        assert_eq!(lanes.push(tenant(5), 1, "g"), Err("g"), "the bound of all");
    }

    #[test]
    fn a_request_that_is_larger_than_a_batch_goes_alone() {
        let mut lanes = lanes();
        lanes.push(tenant(1), 15, "a").expect("room");
        lanes.push(tenant(1), 1, "b").expect("room");
        assert_eq!(lanes.next(), Some((tenant(1), vec!["a"])));
    }
}
