//! Faults: the real program, its PostgreSQL and its services are killed, frozen and stopped while requests run.
//!
//! Nothing here asserts a time: what is waited for is looked at again and again, and a wait that ends by its bound is a
//! failure. Measured times are printed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::print_stderr, reason = "measured times are for people")]

#[expect(dead_code, reason = "not every test binary uses all of it")]
#[path = "../support/mod.rs"]
mod support;

#[path = "../support/stripe_contract.rs"]
mod stripe_contract;

#[expect(
    dead_code,
    unused_imports,
    clippy::disallowed_methods,
    reason = "not every test binary uses all of it; its time is its own"
)]
#[path = "../../examples/stripe_fake/fake/mod.rs"]
mod fake;

mod closing;
mod database_faults;
mod drain;
mod load;
mod metering;
mod overload;
mod paying;
mod refusals;
mod server_killed;
mod tenant_panic;
mod upstream;
mod upstream_faults;
mod wire;
mod world;
