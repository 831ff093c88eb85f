//! Sign-in by tenants' identity providers.
//!
//! Not an actor: what is written is written in transactions, and what is asked of a provider is asked between them, so that no connection
//! to the database waits for somebody else's server. A browser leaves with a row (`begin`), comes back and uses it up (`callback`), and
//! takes a code to its client, which redeems it (`redeem`).

mod admit;
mod begin;
mod callback;
mod connections;
mod diagnose;
mod domains;
mod error;
mod failures;
mod identities;
mod outcome;
mod providers;
mod redeem;
pub mod saml;

use std::sync::Arc;

use aws_lc_rs::digest;
use secrecy::SecretString;
use serde_json::Value;

pub use begin::{Departure, Start, Wish, begin, begin_for_user};
pub use callback::{Back, come_back};
pub use connections::{
    ConnectionChange, NewConnection, check_enforcement, connections_of_address, create, delete, end_session, update,
};
pub use diagnose::{Check, CheckState, diagnose};
pub use domains::{claim, recheck_all, release, verify};
pub use error::SsoError;
pub use identities::unlink;
pub use redeem::{Redeem, Redeemed, redeem};

use self::failures::Failures;
use self::providers::Providers;
use super::auth::AuthContext;
use super::secrets::{OpenSecret, StoredSecret};
use super::tenant::TenantView;
use crate::clients::dns::Dns;
use crate::clients::oidc::Registration;
use crate::clients::outbound::Outbound;
use crate::clients::saml::{Saml, SamlVerifier};
use crate::db::sso_connections::OidcSettings;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::ConnectionId;

/// Longest wait for the secrets actor.
const SECRETS_DEADLINE: std::time::Duration = std::time::Duration::from_secs(3);

/// What sign-in by identity providers works with.
pub struct SsoDesk {
    /// What any sign-in works with.
    pub auth: AuthContext,
    /// Asks DNS about domains.
    pub dns: Dns,
    /// Calls providers.
    pub outbound: Outbound,
    saml: Arc<dyn SamlVerifier>,
    providers: Providers,
    failures: Failures,
}

impl std::fmt::Debug for SsoDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SsoDesk").field("outbound", &self.outbound).finish_non_exhaustive()
    }
}

impl SsoDesk {
    /// A desk that knows no provider yet.
    #[must_use]
    pub fn new(auth: AuthContext, dns: Dns, outbound: Outbound) -> Arc<Self> {
        let providers = Providers::new(auth.settings.sso.keys_cooldown_s);
        Arc::new(Self { auth, dns, outbound, saml: Arc::new(Saml), providers, failures: Failures::default() })
    }

    /// The platform as a client of a connection's provider.
    async fn registration(
        &self,
        view: &TenantView,
        id: ConnectionId,
        oidc: &OidcSettings,
    ) -> Result<Registration, SsoError> {
        let client_secret = if oidc.has_secret {
            let secret = StoredSecret::SsoClient(id);
            let bytes = self.auth.secrets.ask(OpenSecret { tenant: view.tenant.id, secret }, SECRETS_DEADLINE).await?;
            let text = std::str::from_utf8(&bytes).map_err(|_text: std::str::Utf8Error| SsoError::CorruptSecret)?;
            Some(SecretString::from(text))
        } else {
            None
        };
        Ok(Registration {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret,
            redirect_uri: redirect_uri(view),
        })
    }
}

/// Where providers send browsers back to: on the tenant's own host, so that nothing of it reaches another tenant's.
#[must_use]
pub fn redirect_uri(view: &TenantView) -> String {
    format!("{}/auth/sso/callback", view.issuer)
}

/// SHA-256 of something that is random enough not to be tried out.
fn hash(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

fn event(
    actor: AuditActor,
    action: &'static str,
    target: (&'static str, String),
    source: AuditSource,
    detail: Value,
) -> AuditEvent {
    let (target_kind, target_id) = target;
    AuditEvent {
        actor,
        action,
        target_kind,
        target_id: Some(target_id),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail,
    }
}
