//! The secrets actor's protocol.

use zeroize::Zeroizing;

use super::keys::{KeysError, TenantKeys};
use crate::actors::ask::Request;
use crate::db::totp_factors::SealedSecret;
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::ids::{ConnectionId, FactorId, SamlKeyId, TenantId};
use crate::domain::tenant_secret::SecretName;

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

/// A secret of one row, and so the place that its envelope is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredSecret {
    /// The secret of an authenticator app.
    Totp(FactorId),
    /// The platform's secret as a client of an identity provider.
    SsoClient(ConnectionId),
    /// The private half of a key of the platform's, for a SAML connection.
    SamlKey(SamlKeyId),
    /// One that the tenant gave the platform to use on its behalf.
    OfTenant(SecretName),
}

/// Query: an envelope around a secret that is to be stored. Sent before the row is inserted; a lost reply means asking again.
pub struct SealSecret {
    /// Whose.
    pub tenant: TenantId,
    /// Where it will be stored.
    pub secret: StoredSecret,
    /// The secret.
    pub plaintext: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for SealSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tenant, secret, plaintext: _ } = self;
        f.debug_struct("SealSecret").field("tenant", tenant).field("secret", secret).finish_non_exhaustive()
    }
}

impl Request for SealSecret {
    const NAME: &'static str = "seal_secret";
    type Reply = SealedSecret;
    type Refusal = KeysError;
}

/// Query: what a stored envelope holds. Sent by whoever must use the secret now; a lost reply means asking again.
#[derive(Debug)]
pub struct OpenSecret {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub secret: StoredSecret,
}

impl Request for OpenSecret {
    const NAME: &'static str = "open_secret";
    type Reply = Zeroizing<Vec<u8>>;
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
