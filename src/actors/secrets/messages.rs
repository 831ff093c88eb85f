//! The secrets actor's protocol.

use super::keys::{KeysError, TenantKeys};
use crate::actors::ask::Request;
use crate::domain::audit::{AuditActor, AuditSource};
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

/// Command, idempotent: do what is due of a tenant's key rotation; replies with the number of steps. Sent by the key rotator;
/// after a lost reply the tenant is due again, and what was done is not.
#[derive(Debug)]
pub struct AdvanceKeys {
    /// Whose keys.
    pub tenant: TenantId,
}

impl Request for AdvanceKeys {
    const NAME: &'static str = "advance_keys";
    type Reply = usize;
    type Refusal = KeysError;
}

/// Command, not idempotent but harmless to repeat: drop all signing keys of a tenant and have a new one sign; replies with its
/// id. Sent by the handler of an emergency rotation; after a lost reply the list of keys tells.
#[derive(Debug)]
pub struct ReplaceKeys {
    /// Whose keys.
    pub tenant: TenantId,
    /// Who asks.
    pub actor: AuditActor,
    /// From where.
    pub source: AuditSource,
}

impl Request for ReplaceKeys {
    const NAME: &'static str = "replace_keys";
    type Reply = String;
    type Refusal = KeysError;
}
