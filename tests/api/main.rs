//! The platform from outside: HTTP requests against whole applications on real databases.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod edge;
mod factors;
mod forged_tokens;
mod gateway;
mod helpers;
mod limits;
mod nodes;
mod onboarding;
mod operator;
mod passkeys;
mod ratchet;
mod second_factor;
mod sessions;
mod sign_in;
mod soft_key;
mod step_up;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod support;
mod tenants;
mod upstream;
