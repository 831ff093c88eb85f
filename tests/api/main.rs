//! The platform from outside: HTTP requests against whole applications on real databases.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod ai;
mod api_keys;
mod audit;
mod audit_ratchet;
#[path = "../sso/browser.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod browser;
#[path = "../sso/dns.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod dns;
mod dunning;
mod edge;
mod factors;
mod forged_tokens;
mod gateway;
mod hardening;
mod helpers;
mod import;
mod invitations;
mod invoices;
mod jobs;
mod left_calls;
#[path = "../sso/liar.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod liar;
mod limits;
mod mail;
mod mailbox;
mod metered;
mod nodes;
mod onboarding;
mod operator;
mod passkeys;
mod passwords;
mod proof_races;
mod provider;
mod quotas;
mod ratchet;
mod second_factor;
mod session_stores;
mod sessions;
mod sign_in;
mod signing_keys;
mod smtp;
mod soft_key;
mod step_up;
mod stream_client;
mod subscribe;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other test binaries use the rest")]
mod support;
mod tenant_secrets;
mod tenants;
#[path = "../support/redis.rs"]
mod test_redis;
mod throttle;
mod upstream;
mod upstream_tls;
mod usage;
mod usage_figures;
mod usage_nodes;
mod usage_spool;
mod usage_stream;
mod users;
mod watch;
mod websocket_service;
mod websocket_tunnels;
