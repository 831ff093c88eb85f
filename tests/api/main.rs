//! The platform from outside: HTTP requests against whole applications on real databases.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod edge;
mod forged_tokens;
mod gateway;
mod helpers;
mod import;
mod invitations;
mod limits;
mod mail;
mod mailbox;
mod nodes;
mod onboarding;
mod operator;
mod passwords;
mod ratchet;
mod sessions;
mod sign_in;
mod smtp;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod support;
mod tenants;
mod throttle;
mod upstream;
mod users;
