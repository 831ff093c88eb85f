//! SCIM 2.0 over HTTP, as identity providers speak it: users, groups, questions, bulk requests, and what becomes of access.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[expect(dead_code, reason = "not every test binary uses all of it")]
#[path = "../support/mod.rs"]
mod support;

#[expect(dead_code, reason = "not every test binary uses all of it")]
#[path = "../api/helpers.rs"]
mod helpers;

#[expect(dead_code, reason = "not every test binary uses all of it")]
#[path = "../api/upstream.rs"]
mod upstream;

mod access;
mod adoption;
mod bulk;
mod dialects;
mod groups;
mod questions;
mod roles;
mod tokens;
mod users;
mod world;
