//! Saying what is wrong with a connection, before its people find out.

use super::{SsoDesk, SsoError, redirect_uri, saml};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clients::oidc::{self, Discovery, OidcError};
use crate::clients::outbound::OutboundError;
use crate::db::sso_connections::{self, OidcSettings, Protocol};
use crate::db::{TenantTx, email_domains};
use crate::domain::ids::ConnectionId;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// Works, but see the detail.
    Warning,
    /// Nobody can sign in like this.
    Failed,
    /// Cannot be known from here.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name, stable for programs.
    pub name: &'static str,
    /// How it ended.
    pub state: CheckState,
    /// What was found, for people.
    pub detail: String,
}

pub(super) fn check(name: &'static str, state: CheckState, detail: impl Into<String>) -> Check {
    Check { name, state, detail: detail.into() }
}

/// Looks at everything about a connection that can be known without a person. What builds on something that failed is left out.
///
/// # Errors
/// [`SsoError::UnknownConnection`], or the database's.
pub async fn diagnose(desk: &SsoDesk, tenant: &TenantHandle, id: ConnectionId) -> Result<Vec<Check>, SsoError> {
    let view = tenant.view_full();
    let mut tx = TenantTx::begin_read(&desk.auth.db, tenant.id()).await?;
    let connection = sso_connections::find(&mut tx, id).await?;
    let domains = email_domains::list(&mut tx).await?;
    tx.finish();
    let connection = connection.ok_or(SsoError::UnknownConnection)?;
    let mut checks = Vec::new();
    let n_domains = domains.iter().filter(|domain| domain.connection_id == Some(id.uuid())).count();
    checks.push(match (connection.is_enabled, n_domains) {
        (false, _) => check("enabled", CheckState::Warning, "the connection is switched off"),
        (true, 0) => check(
            "domains",
            CheckState::Warning,
            "no proved domain is given to it: nobody is found or made by their address",
        ),
        (true, n) => check("domains", CheckState::Ok, format!("{n} proved domains")),
    });
    checks.push(check(
        "redirect_uri",
        CheckState::Unknown,
        format!("register this with the provider, to the letter: {}", redirect_uri(&view)),
    ));
    checks.extend(match &connection.protocol {
        Protocol::Oidc(settings) => diagnose_oidc(desk, &view, id, settings).await?,
        Protocol::Saml(settings) => saml::diagnose(desk, &view, &connection, settings).await,
    });
    Ok(checks)
}

async fn diagnose_oidc(
    desk: &SsoDesk,
    view: &TenantView,
    id: ConnectionId,
    settings: &OidcSettings,
) -> Result<Vec<Check>, SsoError> {
    // What was learnt is what sign-ins find too.
    desk.providers.forget(&settings.issuer);
    let mut checks = Vec::new();
    let outbound = desk.outbound.of(view.tenant.id);
    let discovery = match oidc::discover(&outbound, &settings.issuer).await {
        Ok(discovery) => discovery,
        Err(error) => {
            checks.push(discovery_failure(&settings.issuer, &error));
            return Ok(checks);
        }
    };
    checks.push(check("discovery", CheckState::Ok, format!("the provider is {}", discovery.issuer)));
    match oidc::fetch_keys(&outbound, &discovery).await {
        Ok(keys) => checks.push(check("jwks", CheckState::Ok, format!("{} keys that can be used", keys.keys().len()))),
        Err(error) => checks.push(check("jwks", CheckState::Failed, failure("jwks_uri", &error))),
    }
    checks.push(algorithms(&discovery));
    checks.push(pkce(&discovery));
    let registration = desk.registration(view, id, settings).await?;
    let probed = oidc::probe_client(&outbound, &registration, &discovery).await;
    checks.push(client(probed));
    Ok(checks)
}

fn discovery_failure(issuer: &str, error: &OidcError) -> Check {
    match error {
        OidcError::IssuerMismatch { found } => check(
            "issuer",
            CheckState::Failed,
            format!(
                "the provider calls itself {found:?}, and this connection's issuer is {issuer:?}: they must be equal"
            ),
        ),
        OidcError::Endpoint { which, source } => check(
            "endpoints",
            CheckState::Failed,
            format!("{which} of the provider's document cannot be used: {source}"),
        ),
        error => check("discovery", CheckState::Failed, failure("/.well-known/openid-configuration", error)),
    }
}

fn failure(what: &str, error: &OidcError) -> String {
    match error {
        OidcError::Http(OutboundError::Private) => {
            format!("{what}: the address is not one of the public internet, and this platform calls no others")
        }
        OidcError::Http(error) => format!("{what}: {error}"),
        OidcError::Status { status, .. } => format!("{what} answered with status {status}"),
        OidcError::Unreadable { .. } => format!("what {what} answered is not what the standard says"),
        error => format!("{what}: {error}"),
    }
}

fn algorithms(discovery: &Discovery) -> Check {
    const BELIEVED: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    let offered = &discovery.id_token_signing_alg_values_supported;
    if offered.iter().any(|algorithm| BELIEVED.contains(&algorithm.as_str())) {
        check("algorithms", CheckState::Ok, "the provider signs in a way that is believed")
    } else {
        check(
            "algorithms",
            CheckState::Failed,
            "the provider offers no signature with a private key: set it to RS256 or ES256",
        )
    }
}

fn pkce(discovery: &Discovery) -> Check {
    let has_s256 = discovery.code_challenge_methods_supported.iter().flatten().any(|method| method == "S256");
    if has_s256 {
        check("pkce", CheckState::Ok, "the provider takes PKCE with S256")
    } else {
        check(
            "pkce",
            CheckState::Warning,
            "the provider does not say that it takes PKCE with S256; it is sent all the same",
        )
    }
}

/// What the answer to a code that is none says about the client.
fn client(probed: Result<(), OidcError>) -> Check {
    match probed {
        Err(OidcError::Refused { code }) if code == "invalid_grant" => {
            check("client", CheckState::Ok, "the provider knows the client and takes its secret")
        }
        Err(OidcError::Refused { code }) if code == "invalid_client" || code == "unauthorized_client" => check(
            "client",
            CheckState::Failed,
            format!("the provider refuses the client ({code}): see client_id and client_secret"),
        ),
        Err(OidcError::Refused { code }) => {
            check("client", CheckState::Unknown, format!("the provider answers a false code with {code}"))
        }
        Err(error) => check("client", CheckState::Failed, failure("token_endpoint", &error)),
        Ok(()) => check("client", CheckState::Failed, "the provider gives tokens for a code that is none"),
    }
}
