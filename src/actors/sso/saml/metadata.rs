//! Providers' metadata: read when a connection is made, and again as long as it has a URL.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::header::{ACCEPT, DATE};
use http::{Request, Response};
use serde_json::json;

use super::super::{SsoDesk, SsoError, connections, event};
use super::blocking;
use crate::actors::accounts::Asker;
use crate::actors::tenants_in_turn::{self, ChoreError};
use crate::clients::outbound::OutboundError;
use crate::clients::saml::{IdentityProvider, MetadataFault};
use crate::db::sso_connections::{Connection, Protocol};
use crate::db::{DbError, TenantTx, audit, saml_connections, sso_connections};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::ids::{ConnectionId, TenantId};
use crate::domain::saml::{MAX_CERTIFICATES, SamlSettings};

/// What a provider's URL answered.
pub(super) struct Fetched {
    pub(super) provider: IdentityProvider,
    /// The provider's clock.
    pub(super) date: Option<DateTime<Utc>>,
}

/// Reads metadata that an admin has pasted.
///
/// # Errors
/// [`SsoError::Metadata`].
pub async fn read_metadata(desk: &SsoDesk, xml: &str) -> Result<IdentityProvider, SsoError> {
    let (verifier, text) = (Arc::clone(&desk.saml), xml.to_owned());
    let provider = blocking(move || verifier.read_metadata(&text)).await??;
    // Browsers are sent to these addresses.
    for url in [&provider.sso_redirect_url, &provider.sso_post_url].into_iter().flatten() {
        desk.outbound.check_url(url).map_err(SsoError::MetadataAddress)?;
    }
    if provider.certificates.len() > MAX_CERTIFICATES {
        return Err(MetadataFault::TooManyCertificates(MAX_CERTIFICATES).into());
    }
    Ok(provider)
}

/// Reads a provider's metadata from its URL.
///
/// # Errors
/// [`SsoError::MetadataHttp`], [`SsoError::MetadataStatus`], or as [`read_metadata`].
pub async fn fetch_metadata(desk: &SsoDesk, tenant: TenantId, url: &str) -> Result<IdentityProvider, SsoError> {
    Ok(fetch(desk, tenant, url).await?.provider)
}

pub(super) async fn fetch(desk: &SsoDesk, tenant: TenantId, url: &str) -> Result<Fetched, SsoError> {
    let answer = get(desk, tenant, url).await.map_err(SsoError::MetadataHttp)?;
    if answer.status() != http::StatusCode::OK {
        return Err(SsoError::MetadataStatus(answer.status().as_u16()));
    }
    let date = date_of(&answer);
    let text = std::str::from_utf8(answer.body())
        .map_err(|_text: std::str::Utf8Error| MetadataFault::NotXml("it is not UTF-8"))?;
    Ok(Fetched { provider: read_metadata(desk, text).await?, date })
}

pub(super) async fn get(desk: &SsoDesk, tenant: TenantId, url: &str) -> Result<Response<Vec<u8>>, OutboundError> {
    let request = Request::get(url).header(ACCEPT, "application/samlmetadata+xml, application/xml, text/xml, */*");
    let request = request.body(Vec::new()).map_err(|_malformed: http::Error| OutboundError::Url)?;
    desk.outbound.of(tenant).call(request).await
}

/// What a server's clock says (RFC 9110 §6.6.1).
pub(super) fn date_of(answer: &Response<Vec<u8>>) -> Option<DateTime<Utc>> {
    let text = answer.headers().get(DATE)?.to_str().ok()?;
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

/// Reads a connection's metadata again, for an admin.
///
/// # Errors
/// [`SsoError::UnknownConnection`], [`SsoError::NotSaml`], [`SsoError::NoMetadataUrl`], as [`fetch_metadata`], or
/// [`SsoError::OtherProvider`].
pub async fn refresh(desk: &SsoDesk, tenant: TenantId, asker: Asker, id: ConnectionId) -> Result<Connection, SsoError> {
    let connection = find(desk, tenant, id).await?.ok_or(SsoError::UnknownConnection)?;
    connections::check_owner(&asker, &connection)?;
    let settings = connection.saml().ok_or(SsoError::NotSaml)?;
    let url = settings.metadata_url.as_deref().ok_or(SsoError::NoMetadataUrl)?;
    let fetched = fetch_metadata(desk, tenant, url).await;
    take_over(desk, tenant, id, url, fetched, (asker.actor, asker.source)).await?;
    find(desk, tenant, id).await?.ok_or(SsoError::UnknownConnection)
}

/// Reads the metadata of all connections whose turn it is; returns how many. A provider that is away changes nothing of what is known of
/// it.
///
/// # Errors
/// [`ChoreError`], with what was done besides done.
pub async fn refresh_all(desk: &SsoDesk) -> Result<u64, ChoreError> {
    tenants_in_turn::each(&desk.auth.db, async |tenant| refresh_of(desk, tenant).await).await
}

async fn refresh_of(desk: &SsoDesk, tenant: TenantId) -> Result<u64, DbError> {
    let seconds = i64::try_from(desk.auth.settings.sso.metadata_refresh_s).unwrap_or(i64::MAX / 2);
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant).await?;
    let due = saml_connections::list_due(&mut tx, seconds).await;
    tx.finish();
    let mut n_done = 0;
    for id in due? {
        let mut tx = TenantTx::begin_read(&desk.auth.db, tenant).await?;
        let settings = saml_connections::find(&mut tx, id).await;
        tx.finish();
        let Some(url) = settings?.and_then(|settings| settings.metadata_url) else { continue };
        let fetched = fetch_metadata(desk, tenant, &url).await;
        let system = (AuditActor::System, AuditSource { ip: None, user_agent: None, request_id: None });
        match take_over(desk, tenant, id, &url, fetched, system).await {
            Ok(()) => n_done += 1,
            Err(SsoError::Db(error)) => return Err(error),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, tenant.id = %tenant, connection.id = %id, "metadata of a provider could not be read");
            }
        }
    }
    Ok(n_done)
}

/// Takes over what was read, or notes why nothing was.
async fn take_over(
    desk: &SsoDesk,
    tenant: TenantId,
    id: ConnectionId,
    url: &str,
    fetched: Result<IdentityProvider, SsoError>,
    (actor, source): (AuditActor, AuditSource),
) -> Result<(), SsoError> {
    let mut tx = TenantTx::begin(&desk.auth.db, tenant).await?;
    sso_connections::lock_all(&mut tx).await?;
    let Some(mut connection) = sso_connections::find(&mut tx, id).await? else { return Ok(()) };
    let Protocol::Saml(settings) = &mut connection.protocol else { return Ok(()) };
    // Somebody has set another one while this one was asked.
    if settings.metadata_url.as_deref() != Some(url) {
        return Ok(());
    }
    let adopted = fetched.and_then(|provider| adopt(settings, provider));
    let error = adopted.as_ref().err().map(full_text);
    if let Ok(true) = adopted {
        let detail = json!({ "entity_id": settings.idp_entity_id, "n_certificates": settings.certificates.len() });
        sso_connections::update(&mut tx, &connection, None).await?;
        let target = ("sso_connection", id.to_string());
        audit::insert(&mut tx, &event(actor, "sso_connection.refresh", target, source, detail)).await?;
    }
    saml_connections::note_metadata(&mut tx, id, error.as_deref()).await?;
    tx.commit().await?;
    adopted.map(|_changed| ())
}

/// Sets what metadata says; whether anything is new. Keys are those that are published now: the old one for as long as it is among them.
///
/// # Errors
/// [`SsoError::OtherProvider`].
pub fn adopt(settings: &mut SamlSettings, provider: IdentityProvider) -> Result<bool, SsoError> {
    let IdentityProvider {
        entity_id,
        sso_redirect_url,
        sso_post_url,
        certificates,
        want_authn_requests_signed,
        valid_until: _,
    } = provider;
    if entity_id != settings.idp_entity_id {
        return Err(SsoError::OtherProvider { found: entity_id });
    }
    let before = settings.clone();
    settings.sso_redirect_url = sso_redirect_url;
    settings.sso_post_url = sso_post_url;
    settings.certificates = certificates;
    settings.wants_signed_requests = want_authn_requests_signed;
    Ok(*settings != before)
}

/// An error with its cause, for admins.
pub(super) fn full_text(error: &SsoError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

async fn find(desk: &SsoDesk, tenant: TenantId, id: ConnectionId) -> Result<Option<Connection>, SsoError> {
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant).await?;
    let found = sso_connections::find(&mut tx, id).await;
    tx.finish();
    Ok(found?)
}
