//! Why nobody was signed in, or nothing was set.

use crate::actors::ask::AskError;
use crate::actors::auth::AuthError;
use crate::actors::secrets::KeysError;
use crate::actors::sessions::SessionStoreError;
use crate::clients::dns::DnsError;
use crate::clients::oidc::{IdTokenError, OidcError};
use crate::clients::outbound::OutboundError;
use crate::clients::saml::{MetadataFault, RequestFault, SamlRefusal};
use crate::db::DbError;
use crate::domain::domain_claim::DomainClaimError;

/// Sign-in by an identity provider refuses, or failed.
#[derive(Debug, thiserror::Error)]
pub enum SsoError {
    /// `state` is forged, too old, used, or another browser's.
    #[error("the sign-in does not wait, or not for this browser")]
    InvalidState,
    /// The code is forged, too old, used, or another client's.
    #[error("the code is not valid")]
    InvalidCode,
    /// No such connection that may be used, or none to be seen.
    #[error("there is no such connection")]
    UnknownConnection,
    /// Browsers are not sent there.
    #[error("return_to is not on the list")]
    ReturnTo,
    /// The provider was not reached, or cannot be understood.
    #[error("the identity provider cannot be used")]
    Provider(#[from] OidcError),
    /// The provider's ID token is not believed.
    #[error("the provider's ID token is not valid")]
    IdToken(#[from] IdTokenError),
    /// The provider's SAML response is not believed.
    #[error("the provider's response is not valid")]
    Saml(#[from] SamlRefusal),
    /// The assertion was believed before.
    #[error("replayed")]
    Replayed,
    /// No request could be made for the provider.
    #[error("no request can be made for the identity provider")]
    SamlRequest(#[from] RequestFault),
    /// The person is said to have proved who they are at a time that is none, or that is still to come.
    #[error("the time of the proof cannot be right")]
    ProofTime,
    /// The provider's metadata cannot be used.
    #[error("the metadata cannot be used")]
    Metadata(#[from] MetadataFault),
    /// Browsers cannot be sent where the provider's metadata says.
    #[error("the metadata has a sign-in address that cannot be used")]
    MetadataAddress(#[source] OutboundError),
    /// The metadata's URL was not called, or did not answer.
    #[error("the metadata URL cannot be read")]
    MetadataHttp(#[source] OutboundError),
    /// The metadata's URL answered with something else.
    #[error("the metadata URL answered with status {0}")]
    MetadataStatus(u16),
    /// The metadata is another provider's.
    #[error("the metadata is of {found:?}, which is another provider")]
    OtherProvider {
        /// The entity id that it names.
        found: String,
    },
    /// The connection has no metadata URL.
    #[error("the connection has no metadata URL")]
    NoMetadataUrl,
    /// The connection speaks something else.
    #[error("the connection is not one of SAML")]
    NotSaml,
    /// A rotation of keys has begun already (true), or has not (false).
    #[error("a rotation is under way: {0}")]
    KeyWaits(bool),
    /// A computation broke off.
    #[error("a computation broke off")]
    Panicked(#[source] tokio::task::JoinError),
    /// The answer names another provider than the one that was asked (RFC 9207).
    #[error("the answer is another provider's")]
    MixUp,
    /// The provider turned the person away.
    #[error("the identity provider refused ({0})")]
    Declined(String),
    /// The ID token lacks what names a person.
    #[error("the ID token does not say who it is about")]
    NoSubject,
    /// The person is known there, and is nobody here who may sign in.
    #[error("not admitted: {0}")]
    NotAdmitted(&'static str),
    /// The person may have an account here, which they must link themselves.
    #[error("nobody is linked to this person")]
    LinkRequired,
    /// Somebody else here is this person already.
    #[error("the person is linked to another user")]
    LinkTaken,
    /// The provider did not show a second factor that counts.
    #[error("no step-up: {0}")]
    NoStepUp(&'static str),
    /// A stored secret is none.
    #[error("a stored secret cannot be used")]
    CorruptSecret,
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
    /// Another connection has the name.
    #[error("another connection has this name")]
    NameTaken,
    /// Somebody else has changed it at the same moment.
    #[error("somebody else has changed it")]
    Changed,
    /// The tenant has as many as it may.
    #[error("there are too many")]
    TooMany,
    /// A domain of the list is not proved, or another connection's.
    #[error("a domain is not proved, or another connection's")]
    UnprovedDomain,
    /// Only an owner may have a provider make owners.
    #[error("only an owner may do this")]
    OwnersOnly,
    /// Nobody could sign in any more.
    #[error("{0}")]
    LastWay(&'static str),
    /// The user is nobody at that connection's provider.
    #[error("there is no such identity")]
    UnknownIdentity,
    /// As many documents as may be read at once are being read.
    #[error("too many sign-ins are being checked")]
    Busy,
    /// The domain cannot be claimed.
    #[error(transparent)]
    Domain(#[from] DomainClaimError),
    /// The tenant has not claimed it.
    #[error("there is no such domain")]
    UnknownDomain,
    /// The record is not there, or says something else.
    #[error("the record was not found")]
    RecordMissing,
    /// Another tenant has proved the domain.
    #[error("another tenant has this domain")]
    DomainTaken,
    /// DNS did not answer.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The secrets actor did not do it.
    #[error("the secret could not be sealed or opened")]
    Secrets(#[from] AskError<KeysError>),
    /// Sign-in's own refusals.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The session store did not do it.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The database did not do it.
    #[error("the database did not answer")]
    Db(#[source] DbError),
}

impl From<DbError> for SsoError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("sso_connections_name_key") => Self::NameTaken,
            Some("verified_domains_domain_key" | "verified_hosts_host_key") => Self::DomainTaken,
            Some("users_email_key") => Self::LinkRequired,
            Some("saml_keys_state_key") => Self::KeyWaits(true),
            Some(_) | None => Self::Db(error),
        }
    }
}
