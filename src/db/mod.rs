//! Every SQL statement of the program, one file for each noun.
//!
//! Nothing outside this room can reach a connection. Tenant tables are read and written through [`tx::TenantTx`], which
//! carries its tenant in row-level security and in its type; the few look-ups before a tenant is known go through
//! [`tx::SystemTx`], which names its reason.

pub mod account_links;
pub mod api_keys;
pub mod audit;
pub mod audit_seal;
pub mod billing_periods;
pub mod billing_profiles;
pub mod bootstrap;
pub mod code_attempts;
pub mod config_log;
pub mod data_keys;
pub mod directory;
pub mod email_domains;
pub mod embedded;
pub mod error;
pub mod factors;
pub mod installation;
pub mod invitations;
pub mod invoice_files;
pub mod invoices;
pub mod job_runs;
pub mod mail_outbox;
pub mod mail_queue;
pub mod mfa_challenges;
pub mod passkey_ceremonies;
pub mod passkeys;
pub mod payment_events;
pub mod payment_state;
pub mod pending_items;
pub mod plan_versions;
pub mod pool;
pub mod recovery_codes;
pub mod reservations;
pub mod rls_check;
pub mod scim_groups;
pub mod scim_members;
pub mod scim_tokens;
pub mod scim_users;
pub mod sessions;
pub mod sign_in_attempts;
pub mod signing_keys;
pub mod sso_codes;
pub mod sso_connections;
pub mod sso_flows;
pub mod sso_identities;
pub mod sso_sessions;
pub mod standing;
pub mod stream_events;
pub mod stream_feed;
pub mod stream_tickets;
pub mod stripe_checkouts;
pub mod stripe_collections;
pub mod stripe_customers;
pub mod stripe_events;
pub mod stripe_objects;
pub mod stripe_queue;
pub mod stripe_requests;
pub mod subscriptions;
pub mod tenant_secrets;
pub mod tenants;
pub mod totp_factors;
pub mod tx;
pub mod usage_alerts;
pub mod usage_counters;
pub mod usage_ingest;
pub mod usage_reports;
pub mod usage_upkeep;
pub mod user_admin;
pub mod user_removal;
pub mod users;

pub use error::DbError;
pub use pool::Db;
pub use tx::{SystemReason, SystemTx, TenantTx};
