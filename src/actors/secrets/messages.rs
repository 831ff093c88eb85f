//! The secrets actor's protocol.

use super::keys::{KeysError, TenantKeys};
use crate::actors::ask::Request;
use crate::domain::ids::TenantId;

/// Query: a tenant's keys, opened. Sent by a tenant's supervisor when it (re)builds its state; a lost reply means asking again.
#[derive(Debug)]
pub struct UnlockTenant {
    /// Whose keys.
    pub tenant: TenantId,
}

impl Request for UnlockTenant {
    const NAME: &'static str = "unlock_tenant";
    type Reply = TenantKeys;
    type Refusal = KeysError;
}
