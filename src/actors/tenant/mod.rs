//! Tenants at run time: one supervisor for each active tenant, and the registry that starts, finds and passivates them.
//!
//! The supervisor is the one writer of the tenant's cached state. It publishes an immutable [`TenantView`] in the tenant's
//! [`TenantHandle`]; requests read that without a lock, a message or a query.

mod handle;
mod loader;
mod messages;
pub mod registry;
mod state;
mod supervisor;
mod view;

pub use handle::{Bucket, InFlight, OpenWebSocket, TenantHandle};
pub use loader::{LoadError, Loaded, Loader};
pub use messages::{RebuildTenant, ReloadError, ReloadTenant, RevokeApiKey, RevokeSession, UsageCounted};
pub use registry::{ResolveError, TenantRegistry, Wanted};
pub use supervisor::TenantSupervisor;
pub use view::{
    ApiKeys, TenantView, canonical_host, canonical_url, held_subscription, plan_of, upgrade_url, url_of_host,
};
