//! Messages to a provider: the URL that a browser is sent to, and the exchange of the code that it brings back.

use std::time::Duration;

use http::header::HeaderValue;
use openidconnect::core::{CoreAuthPrompt, CoreIdToken, CoreResponseType};
use openidconnect::url::Url;
use openidconnect::{
    AuthType, AuthenticationContextClass, AuthenticationFlow, AuthorizationCode, CsrfToken, HttpRequest, LoginHint,
    Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RequestTokenError, Scope, TokenResponse,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::provider::{Discovery, get_json};
use super::{OidcError, Registration, client};
use crate::clients::outbound::TenantOutbound;

/// What a browser is sent to the provider with.
#[derive(Debug, Clone)]
pub struct Authorization<'a> {
    /// Comes back unchanged.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// PKCE verifier (RFC 7636), 43 to 128 characters.
    pub verifier: &'a SecretString,
    /// Scopes besides `openid`.
    pub scopes: &'a [String],
    /// Whom the sign-in is for.
    pub login_hint: Option<&'a str>,
    /// Asks for a new proof, however lately there was one, of one of these classes.
    pub fresh: Option<&'a [String]>,
}

/// The URL that a browser is sent to (OpenID Connect Core 1.0 §3.1.2.1).
///
/// # Errors
/// [`OidcError::Endpoint`].
pub fn authorization_url(
    registration: &Registration,
    discovery: &Discovery,
    authorization: &Authorization<'_>,
) -> Result<String, OidcError> {
    let Authorization { state, nonce, verifier, scopes, login_hint, fresh } = authorization;
    let client = client(registration, discovery)?;
    let (state, nonce) = (CsrfToken::new((*state).to_owned()), Nonce::new((*nonce).to_owned()));
    let verifier = PkceCodeVerifier::new(verifier.expose_secret().to_owned());
    let mut request = client
        .authorize_url(AuthenticationFlow::<CoreResponseType>::AuthorizationCode, || state, || nonce)
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
        .add_scopes(scopes.iter().filter(|scope| *scope != "openid").map(|scope| Scope::new(scope.clone())));
    if let Some(hint) = login_hint {
        request = request.set_login_hint(LoginHint::new((*hint).to_owned()));
    }
    if let Some(classes) = fresh {
        request = request.add_prompt(CoreAuthPrompt::Login).set_max_age(Duration::ZERO);
        for class in *classes {
            request = request.add_auth_context_value(AuthenticationContextClass::new(class.clone()));
        }
    }
    Ok(request.url().0.to_string())
}

/// What a code was exchanged for.
pub struct Received {
    /// The ID token, not yet looked at.
    pub(super) id_token: CoreIdToken,
    /// The access token, for `userinfo`.
    pub(super) access_token: SecretString,
}

impl Received {
    /// Everything that `userinfo` says of a person, who must be `subject`.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn user_info(
        &self,
        outbound: &TenantOutbound,
        url: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, OidcError> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", self.access_token.expose_secret()))
            .map_err(|_malformed: http::header::InvalidHeaderValue| OidcError::Unreadable { what: "token_endpoint" })?;
        bearer.set_sensitive(true);
        let found: Map<String, Value> = get_json(outbound, url, Some(bearer), "userinfo_endpoint").await?;
        // OpenID Connect Core 1.0 §5.3.2: tokens can be swapped.
        if found.get("sub").and_then(Value::as_str) == Some(subject) {
            Ok(found)
        } else {
            Err(OidcError::UserInfoMismatch)
        }
    }
}

/// Exchanges a code for tokens.
///
/// # Errors
/// [`OidcError`].
pub async fn exchange(
    outbound: &TenantOutbound,
    registration: &Registration,
    discovery: &Discovery,
    code: &SecretString,
    verifier: &SecretString,
) -> Result<Received, OidcError> {
    let what = "token_endpoint";
    let client = client(registration, discovery)?.set_auth_type(auth_type(discovery));
    let calls = |request: HttpRequest| outbound.call(request);
    let answer = client
        .exchange_code(AuthorizationCode::new(code.expose_secret().to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
        .request_async(&calls)
        .await
        .map_err(|error| match error {
            RequestTokenError::Request(error) => OidcError::Http(error),
            RequestTokenError::ServerResponse(refusal) => OidcError::Refused { code: word(refusal.error().as_ref()) },
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => OidcError::Unreadable { what },
        })?;
    let id_token = answer.id_token().ok_or(OidcError::NoIdToken)?.clone();
    Ok(Received { id_token, access_token: answer.access_token().secret().clone().into() })
}

/// Asks the provider for tokens with a code that is none: from the error it can be told whether it knows the client.
///
/// # Errors
/// [`OidcError::Refused`], with the provider's word for it, or others; never nothing, as no provider gives tokens for it.
pub async fn probe_client(
    outbound: &TenantOutbound,
    registration: &Registration,
    discovery: &Discovery,
) -> Result<(), OidcError> {
    let verifier = "probe-probe-probe-probe-probe-probe-probe-probe".to_owned().into();
    exchange(outbound, registration, discovery, &"probe".to_owned().into(), &verifier).await.map(|_| ())
}

/// Where a browser is sent to sign out of the provider too (RP-Initiated Logout 1.0 §2); none if it has no such place.
#[must_use]
pub fn end_session_url(discovery: &Discovery, client_id: &str, return_to: Option<&str>) -> Option<String> {
    let mut url = Url::parse(discovery.end_session_endpoint.as_deref()?).ok()?;
    url.query_pairs_mut().append_pair("client_id", client_id);
    if let Some(return_to) = return_to {
        url.query_pairs_mut().append_pair("post_logout_redirect_uri", return_to);
    }
    Some(url.into())
}

/// How the client proves itself: in the header, as the standard has it (RFC 6749 §2.3.1), unless the provider wants it in the body.
fn auth_type(discovery: &Discovery) -> AuthType {
    let methods = discovery.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
    let has = |wanted: &str| methods.iter().any(|method| method == wanted);
    if has("client_secret_post") && !has("client_secret_basic") { AuthType::RequestBody } else { AuthType::BasicAuth }
}

/// An error's name, if it looks like one: what a provider writes goes no further.
fn word(text: &str) -> String {
    let is_word = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_word { text.to_owned() } else { "unknown".to_owned() }
}
