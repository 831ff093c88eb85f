//! OpenID Connect, as a relying party: a provider's documents, the exchange of a code, and what an ID token is worth.
//!
//! The protocol's messages and signatures are the `openidconnect` crate's; what goes over the network goes by [`TenantOutbound`].
//!
//! [`TenantOutbound`]: super::outbound::TenantOutbound

mod claims;
mod exchange;
mod id_token;
mod provider;

use openidconnect::core::{CoreClient, CoreJsonWebKeySet};
use openidconnect::{AuthUrl, ClientId, ClientSecret, EndpointNotSet, EndpointSet, IssuerUrl, RedirectUrl, TokenUrl};
use secrecy::{ExposeSecret, SecretString};

pub use claims::Claims;
pub use exchange::{Authorization, Received, authorization_url, end_session_url, exchange, probe_client};
pub use id_token::{IdTokenError, verify};
pub use provider::{Discovery, discover, fetch_keys};

use super::outbound::OutboundError;

/// Keys of a provider.
pub type KeySet = CoreJsonWebKeySet;

/// A provider was not asked, or what it said cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// It was not called, or did not answer.
    #[error("the provider cannot be asked")]
    Http(#[from] OutboundError),
    /// It answered with an error where none belongs.
    #[error("{what} answered with status {status}")]
    Status {
        /// Which of its endpoints.
        what: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// It answered with something else than the standard says.
    #[error("what {what} answered cannot be read")]
    Unreadable {
        /// Which of its endpoints.
        what: &'static str,
    },
    /// Its document is another issuer's.
    #[error("the document names another issuer")]
    IssuerMismatch {
        /// The issuer that it names.
        found: String,
    },
    /// An endpoint of its document cannot be called.
    #[error("{which} cannot be used")]
    Endpoint {
        /// The field of the document.
        which: &'static str,
        /// Why.
        source: OutboundError,
    },
    /// It has no key that could be used.
    #[error("the provider publishes no key")]
    NoKeys,
    /// It did not give tokens for the code.
    #[error("the provider refused the code ({code})")]
    Refused {
        /// `error` of RFC 6749 §5.2, or `unknown`.
        code: String,
    },
    /// It gave tokens, but no ID token.
    #[error("there is no ID token")]
    NoIdToken,
    /// Its `userinfo` is about somebody else.
    #[error("userinfo is about somebody else")]
    UserInfoMismatch,
}

/// This platform as a client of a provider.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Issuer of the provider.
    pub issuer: String,
    /// The client's id.
    pub client_id: String,
    /// Its secret; none = a public client.
    pub client_secret: Option<SecretString>,
    /// Where the provider sends browsers back to.
    pub redirect_uri: String,
}

type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet, EndpointNotSet>;

fn client(registration: &Registration, discovery: &Discovery) -> Result<Client, OidcError> {
    let unusable = |which: &'static str| OidcError::Endpoint { which, source: OutboundError::Url };
    let issuer = IssuerUrl::new(registration.issuer.clone()).map_err(|_malformed| unusable("issuer"))?;
    let client = CoreClient::new(ClientId::new(registration.client_id.clone()), issuer, KeySet::new(Vec::new()));
    let client = match &registration.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    };
    let authorization = AuthUrl::new(discovery.authorization_endpoint.clone());
    let token = TokenUrl::new(discovery.token_endpoint.clone());
    let redirect = RedirectUrl::new(registration.redirect_uri.clone());
    Ok(client
        .set_auth_uri(authorization.map_err(|_malformed| unusable("authorization_endpoint"))?)
        .set_token_uri(token.map_err(|_malformed| unusable("token_endpoint"))?)
        .set_redirect_uri(redirect.map_err(|_malformed| unusable("redirect_uri"))?))
}
