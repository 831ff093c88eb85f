//! Sign-in by identity providers: against a real one (npm `oidc-provider`), and against one that lies.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod abuse;
mod admission;
mod browser;
mod connections;
mod deprovisioning;
mod dns;
mod domains;
mod enforcement;
#[path = "../api/helpers.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod helpers;
mod hosts;
mod identities;
mod liar;
mod outbound;
mod provider;
mod real;
mod redis_sessions;
mod saml;
#[path = "../api/second_factor.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod second_factor;
#[path = "../api/soft_key.rs"]
mod soft_key;
mod step_up;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod support;
#[path = "../support/redis.rs"]
mod test_redis;
mod world;
