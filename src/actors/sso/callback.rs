//! A browser that comes back from a provider.

use secrecy::SecretString;
use uuid::Uuid;

use super::outcome::{self, Named, conclude};
use super::providers::Provider;
use super::{SsoDesk, SsoError, begin, hash};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clients::oidc::{self, Claims, IdTokenError, OidcError, Registration};
use crate::clock;
use crate::db::TenantTx;
use crate::db::sso_connections::Connection;
use crate::db::sso_flows::{self, Flow};
use crate::domain::audit::AuditSource;
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::sso::Person;

/// What a browser brings back.
#[derive(Debug)]
pub struct Back<'a> {
    /// `state`.
    pub state: &'a str,
    /// `code`.
    pub code: Option<SecretString>,
    /// `error`.
    pub error: Option<&'a str>,
    /// `iss` (RFC 9207).
    pub issuer: Option<&'a str>,
    /// What the browser's cookie says.
    pub browser: Option<&'a str>,
}

/// Uses the flow up, asks the provider who it is, and gives the browser a code for its client; returns where the browser goes now, with
/// `code` or `error`. `word` is the name of an error in the API. The flow is used up, whatever came of it: a failure is told where the
/// client can read it.
///
/// # Errors
/// [`SsoError::InvalidState`] if no flow of this browser waits, or the database's. Everything later is told to the client by
/// `return_to`.
pub async fn come_back(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    back: Back<'_>,
    source: &AuditSource,
    word: impl Fn(&SsoError) -> &'static str,
) -> Result<String, SsoError> {
    let view = tenant.view_full();
    let id = row_token::decode(back.state, RowTokenPurpose::SsoState, view.tenant.id, &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| SsoError::InvalidState)?;
    let browser = hash(back.browser.ok_or(SsoError::InvalidState)?);
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let flow = sso_flows::spend(&mut tx, id, &browser).await?.ok_or(SsoError::InvalidState)?;
    tx.commit().await?;
    let outcome = finish(desk, tenant, id, &flow, back, browser, source).await;
    outcome::tell(desk, &view, &flow, outcome, source.clone(), word).await
}

async fn finish(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    id: Uuid,
    flow: &Flow,
    back: Back<'_>,
    browser: Vec<u8>,
    source: &AuditSource,
) -> Result<String, SsoError> {
    let view = &tenant.view_full();
    let connection = begin::usable(desk, view, flow.connection).await?;
    let oidc = connection.oidc().ok_or(SsoError::InvalidState)?;
    let issuer = &oidc.issuer;
    let provider = desk.providers.get(&desk.outbound.of(view.tenant.id), issuer).await?;
    // RFC 9207 §2.4: an answer that another provider gave must not have its code sent to this one, nor the other way round.
    let is_announced = provider.discovery.authorization_response_iss_parameter_supported;
    if back.issuer.map_or(is_announced, |named| named != issuer) {
        return Err(SsoError::MixUp);
    }
    if let Some(error) = back.error {
        let is_word = (1..=64).contains(&error.len()) && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        return Err(SsoError::Declined(if is_word { error.to_owned() } else { "unknown".to_owned() }));
    }
    let code = back.code.ok_or_else(|| SsoError::Declined("unknown".to_owned()))?;
    let registration = desk.registration(view, connection.id, oidc).await?;
    let claims = ask_provider(desk, view, &connection, &registration, &provider, id, &code).await?;
    let role_values = connection.roles.claim.as_ref().map(|claim| claims.values(claim));
    let person = Person {
        subject: claims.subject(oidc.subject_from).ok_or(SsoError::NoSubject)?,
        email: claims.email().map(|(email, verified)| (email.to_owned(), verified)),
        name: claims.name().map(str::to_owned),
        role_values: role_values.unwrap_or_default(),
    };
    let named = Named { person, proof: claims.proof(), mfa_values: &oidc.mfa_acr_values };
    conclude(desk, tenant, &connection, flow, named, browser, source).await
}

/// Exchanges the provider's code, and believes what the ID token says only then.
async fn ask_provider(
    desk: &SsoDesk,
    view: &TenantView,
    connection: &Connection,
    registration: &Registration,
    provider: &Provider,
    flow: Uuid,
    code: &SecretString,
) -> Result<Claims, SsoError> {
    let (nonce, verifier) = (begin::nonce(view, flow), begin::verifier(view, flow));
    let outbound = desk.outbound.of(view.tenant.id);
    let received = oidc::exchange(&outbound, registration, &provider.discovery, code, &verifier).await?;
    let claims = match oidc::verify(&received, &provider.keys, registration, &nonce, clock::now()) {
        Err(IdTokenError::UnknownKey) => {
            // It has turned its keys over, or somebody makes up keys.
            let again = desk.providers.refetch_keys(&outbound, &registration.issuer).await?;
            let again = again.ok_or(IdTokenError::UnknownKey)?;
            oidc::verify(&received, &again.keys, registration, &nonce, clock::now())?
        }
        verified => verified?,
    };
    let lacks_role = connection.roles.claim.as_ref().is_some_and(|claim| !claims.has(claim));
    match &provider.discovery.userinfo_endpoint {
        Some(url) if lacks_role || claims.email().is_none() => {
            let subject = claims.sub().ok_or(SsoError::NoSubject)?.to_owned();
            let added = received.user_info(&outbound, url, &subject).await;
            match added {
                Ok(added) => Ok(claims.with_user_info(added)),
                Err(error @ OidcError::UserInfoMismatch) => Err(error.into()),
                Err(error) => {
                    // Somebody who is known needs none of it; whoever is not is told what is missing.
                    tracing::warn!(error = &error as &dyn std::error::Error, connection.id = %connection.id, "no userinfo");
                    Ok(claims)
                }
            }
        }
        Some(_) | None => Ok(claims),
    }
}
