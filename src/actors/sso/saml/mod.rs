//! Connections that speak SAML 2.0.
//!
//! A response comes with another site's form, without the browser's cookie. It is checked and used up at once (`arrive`); what it said
//! waits for the browser, which comes for it by a link of this host, with its cookie (`collect`), and only then is somebody admitted.

mod arrive;
mod begin;
mod collect;
mod diagnose;
mod keys;
mod metadata;

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Semaphore;

pub use arrive::{Posted, arrive};
pub use collect::collect;
pub use keys::{activate_key, add_key};
pub use metadata::{adopt, fetch_metadata, read_metadata, refresh, refresh_all};

pub(super) use begin::begin;
pub(super) use diagnose::diagnose;
pub(super) use keys::{insert_first, make_key};

use super::{SECRETS_DEADLINE, SsoDesk, SsoError, redirect_uri};
use crate::actors::secrets::{OpenSecret, StoredSecret};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clients::saml::{IdentityProvider, ServiceProvider, SpKey};
use crate::db::saml_keys::SamlKey;
use crate::db::{TenantTx, saml_keys, sso_connections};
use crate::domain::ids::ConnectionId;
use crate::domain::saml::SamlSettings;

/// What the platform calls itself in a connection: the URL of its metadata. It carries the connection's id, so that what was said to one
/// connection is never an answer to another, of whatever tenant.
#[must_use]
pub fn entity_id(view: &TenantView, id: ConnectionId) -> String {
    format!("{}/auth/sso/{id}/metadata", view.issuer)
}

/// The platform's metadata in a connection, for the provider's admin. It shows public keys and addresses, and nothing of the provider.
///
/// # Errors
/// [`SsoError::UnknownConnection`], or the database's.
pub async fn own_metadata(desk: &SsoDesk, tenant: &TenantHandle, id: ConnectionId) -> Result<String, SsoError> {
    let view = tenant.view_full();
    let mut tx = TenantTx::begin_read(&desk.auth.db, view.tenant.id).await?;
    let connection = sso_connections::find(&mut tx, id).await?;
    let keys = saml_keys::list_of(&mut tx, id).await?;
    tx.finish();
    connection.filter(|connection| connection.saml().is_some()).ok_or(SsoError::UnknownConnection)?;
    let public =
        |key: SamlKey| SpKey { private_key_pem: SecretString::default(), certificate_pem: key.certificate_pem };
    Ok(desk.saml.own_metadata(&side(&view, id, keys.into_iter().map(public).collect())))
}

/// The platform's side of a connection, with keys that sign and decrypt.
async fn service_provider(desk: &SsoDesk, view: &TenantView, id: ConnectionId) -> Result<ServiceProvider, SsoError> {
    let mut tx = TenantTx::begin_read(&desk.auth.db, view.tenant.id).await?;
    let stored = saml_keys::list_of(&mut tx, id).await;
    tx.finish();
    let mut keys = Vec::new();
    for SamlKey { id, certificate_pem, .. } in stored? {
        let message = OpenSecret { tenant: view.tenant.id, secret: StoredSecret::SamlKey(id) };
        let bytes = desk.auth.secrets.ask(message, SECRETS_DEADLINE).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_text: std::str::Utf8Error| SsoError::CorruptSecret)?;
        keys.push(SpKey { private_key_pem: SecretString::from(text), certificate_pem });
    }
    Ok(side(view, id, keys))
}

/// The platform's side of a connection, which can read nothing that is encrypted.
fn without_keys(view: &TenantView, id: ConnectionId) -> ServiceProvider {
    side(view, id, Vec::new())
}

fn side(view: &TenantView, id: ConnectionId, keys: Vec<SpKey>) -> ServiceProvider {
    ServiceProvider { entity_id: entity_id(view, id), acs_url: redirect_uri(view), keys }
}

/// The provider's side of a connection.
pub(super) fn identity_provider(settings: &SamlSettings) -> IdentityProvider {
    IdentityProvider {
        entity_id: settings.idp_entity_id.clone(),
        sso_redirect_url: settings.sso_redirect_url.clone(),
        sso_post_url: settings.sso_post_url.clone(),
        certificates: settings.certificates.clone(),
        want_authn_requests_signed: settings.wants_signed_requests,
        valid_until: None,
    }
}

/// Documents that are read at once, and how long one waits for its turn.
static READING: Semaphore = Semaphore::const_new(2);
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// Work for the processor, away from the threads that requests wait on. Strangers can ask for it: few at once, and the place is given
/// back when the work is over, whether or not anybody waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SsoError> {
    let turn = tokio::time::timeout(TURN_WITHIN, READING.acquire()).await;
    let turn = turn.map_err(|_elapsed: tokio::time::error::Elapsed| SsoError::Busy)?;
    let turn = turn.map_err(|_closed: tokio::sync::AcquireError| SsoError::Busy)?;
    let work = move || {
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(SsoError::Panicked)
}
