//! SCIM 2.0 (RFC 7644) for tenants' identity providers, and what admins set of it.
//!
//! Refusals are problems as everywhere; the edge writes them in SCIM's shape below `/scim/v2`.

mod answer;
pub(super) mod bulk;
pub(super) mod discovery;
pub(super) mod document;
pub(super) mod groups;
mod input;
pub(super) mod mapping;
pub(super) mod search;
pub(super) mod tokens;
pub(super) mod users;
