//! Stripe's rules, as far as they are arithmetic: signatures of webhooks, requests and how to find out what came of them, and
//! what objects say about a tenant's money.

pub mod facts;
pub mod intent;
pub mod signature;
pub mod verdict;

/// Version of Stripe's API that requests ask for and that webhooks are to be set up with.
pub const API_VERSION: &str = "2026-09-30.endive";
