//! The database: embedded cluster, roles, schema, `rls-check`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bootstrap;
mod closing;
mod discounts;
mod due_keys;
mod embedded;
mod job_runs;
mod limits;
mod metered;
mod periods;
mod reservations;
mod rls_behaviour;
mod rls_check;
mod subscriptions;
mod tx;
mod usage_terms;
mod usage_upkeep;
