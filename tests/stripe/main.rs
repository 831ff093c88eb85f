//! Stripe: the program against a Stripe of our own (`examples/stripe_fake`), which fails in Stripe's own ways.
//!
//! Every call that a test makes, every answer and every event is checked at its end against the types that Stripe generates from
//! its API description (`scripts/stripe-contract.py`). Sums at the fake and in our books are compared to the minor unit.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![expect(clippy::disallowed_methods, reason = "the fake's time is its own")]

#[expect(dead_code, reason = "not every test binary uses all of it")]
#[path = "../support/mod.rs"]
mod support;

#[path = "../support/stripe_contract.rs"]
mod stripe_contract;

#[expect(dead_code, reason = "not every test binary uses all of it")]
#[path = "../api/helpers.rs"]
mod helpers;

#[path = "../../examples/stripe_fake/fake/mod.rs"]
mod fake;

mod checkouts;
mod contract;
mod crediting;
mod intents;
mod invoices;
mod killed;
mod outcomes;
mod reconciliation;
mod subscribing;
mod webhooks;
mod world;
