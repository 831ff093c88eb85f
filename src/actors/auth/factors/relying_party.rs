//! A tenant as a WebAuthn relying party: its id is the tenant's own host, so that no tenant's passkey is offered to another.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use webauthn_rs::prelude::{AuthenticationResult, Passkey, Url, Webauthn, WebauthnBuilder, WebauthnError};

use crate::actors::auth::AuthError;
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::DbError;
use crate::domain::factor::CHALLENGE_TTL_S;

/// Passkeys of one user at most.
pub(super) const MAX_PASSKEYS: usize = 20;

/// The relying party of a tenant. Ceremonies are answered from its canonical URL and nowhere else.
pub(super) fn of(view: &TenantView) -> Result<Webauthn, AuthError> {
    let origin = Url::parse(&view.issuer).map_err(|_issuer| AuthError::Webauthn(WebauthnError::Configuration))?;
    let host = origin.host_str().ok_or(AuthError::Webauthn(WebauthnError::Configuration))?;
    WebauthnBuilder::new(host, &origin)
        .and_then(|builder| builder.rp_name(&view.tenant.name).build())
        .map_err(AuthError::Webauthn)
}

/// Until when a ceremony that begins now may be answered.
pub(super) fn expiry() -> DateTime<Utc> {
    clock::now() + TimeDelta::seconds(CHALLENGE_TTL_S)
}

/// What the database keeps of a ceremony or a passkey.
pub(super) fn stored<T: Serialize>(value: &T) -> Result<Value, AuthError> {
    serde_json::to_value(value).map_err(|_json| AuthError::CorruptSecret)
}

/// The other way round.
pub(super) fn restored<T: DeserializeOwned>(value: Value) -> Result<T, AuthError> {
    serde_json::from_value(value).map_err(|_json| AuthError::Db(DbError::Corrupt("a passkey or its ceremony")))
}

/// The authenticator's answer is not what was asked for. The cause goes to the log; the client learns "no".
pub(super) fn refused(error: WebauthnError) -> AuthError {
    tracing::debug!(%error, "a passkey ceremony failed");
    AuthError::InvalidPasskey
}

/// The method of a passkey (RFC 8176): a key that is bound to its device, or one that is synchronised.
pub(super) fn method(result: &AuthenticationResult) -> &'static str {
    if result.backup_eligible() { "swk" } else { "hwk" }
}

/// The passkeys of stored rows.
pub(super) fn passkeys(rows: Vec<crate::db::passkeys::Passkey>) -> Result<Vec<Passkey>, AuthError> {
    rows.into_iter().map(|row| restored(row.credential)).collect()
}
