//! A provider's documents: where its endpoints are, and its keys.

use http::header::{ACCEPT, HeaderValue};
use http::{Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{KeySet, OidcError};
use crate::clients::outbound::{OutboundError, TenantOutbound};

/// What is read of a provider's document (OpenID Connect Discovery 1.0 §3, RFC 8414, RFC 9207).
#[derive(Debug, Clone, Deserialize)]
pub struct Discovery {
    /// The provider, to the letter.
    pub issuer: String,
    /// Where browsers are sent.
    pub authorization_endpoint: String,
    /// Where codes are exchanged.
    pub token_endpoint: String,
    /// Where more claims are.
    pub userinfo_endpoint: Option<String>,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where browsers are sent to sign out (RP-Initiated Logout 1.0).
    pub end_session_endpoint: Option<String>,
    /// Algorithms of its ID tokens.
    #[serde(default)]
    pub id_token_signing_alg_values_supported: Vec<String>,
    /// PKCE methods.
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// How clients prove themselves.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether every answer to a browser names the issuer (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// Reads a provider's document. Its issuer must be the one that was asked for, to the letter (ASVS 10.5.3), and every endpoint one
/// that could be called.
///
/// # Errors
/// [`OidcError`].
pub async fn discover(outbound: &TenantOutbound, issuer: &str) -> Result<Discovery, OidcError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let found: Discovery = get_json(outbound, &url, None, "discovery").await?;
    if found.issuer != issuer {
        return Err(OidcError::IssuerMismatch { found: found.issuer.chars().take(200).collect() });
    }
    let endpoints = [
        ("authorization_endpoint", Some(&found.authorization_endpoint)),
        ("token_endpoint", Some(&found.token_endpoint)),
        ("userinfo_endpoint", found.userinfo_endpoint.as_ref()),
        ("jwks_uri", Some(&found.jwks_uri)),
        ("end_session_endpoint", found.end_session_endpoint.as_ref()),
    ];
    for (which, url) in endpoints {
        if let Some(url) = url {
            outbound.check_url(url).map_err(|source| OidcError::Endpoint { which, source })?;
        }
    }
    Ok(found)
}

/// Reads a provider's keys. Those that nothing is known about are left out.
///
/// # Errors
/// [`OidcError`].
pub async fn fetch_keys(outbound: &TenantOutbound, discovery: &Discovery) -> Result<KeySet, OidcError> {
    let keys: KeySet = get_json(outbound, &discovery.jwks_uri, None, "jwks_uri").await?;
    if keys.keys().is_empty() { Err(OidcError::NoKeys) } else { Ok(keys) }
}

/// Reads a JSON document.
pub(super) async fn get_json<T: DeserializeOwned>(
    outbound: &TenantOutbound,
    url: &str,
    authorization: Option<HeaderValue>,
    what: &'static str,
) -> Result<T, OidcError> {
    let mut request = Request::builder().method(Method::GET).uri(url).header(ACCEPT, "application/json");
    if let Some(value) = authorization {
        request = request.header(http::header::AUTHORIZATION, value);
    }
    let request = request.body(Vec::new()).map_err(|_malformed: http::Error| OutboundError::Url)?;
    let response = outbound.call(request).await?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(OidcError::Status { what, status });
    }
    serde_json::from_slice(response.body()).map_err(|_other: serde_json::Error| OidcError::Unreadable { what })
}
