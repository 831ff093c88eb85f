//! What went wrong with a sign-in by a provider, as clients are told.

use crate::actors::sso::SsoError;
use crate::clients::oidc::OidcError;
use crate::http::problem::{Kind, Problem, kinds};

/// Seconds after which whoever came when too many did may try again.
const RETRY_BUSY_S: u64 = 2;
/// Seconds after which a provider that is away may be tried again.
const RETRY_PROVIDER_S: u64 = 5;

/// The kind of problem that an error is.
pub(super) fn kind_of(error: &SsoError) -> &'static Kind {
    match error {
        SsoError::InvalidState => &kinds::INVALID_SSO_STATE,
        SsoError::InvalidCode => &kinds::INVALID_SSO_CODE,
        SsoError::UnknownConnection | SsoError::UnknownDomain | SsoError::UnknownIdentity => &kinds::NOT_FOUND,
        SsoError::ReturnTo
        | SsoError::UnprovedDomain
        | SsoError::Domain(_)
        | SsoError::Metadata(_)
        | SsoError::MetadataAddress(_)
        | SsoError::MetadataHttp(_)
        | SsoError::MetadataStatus(_)
        | SsoError::OtherProvider { .. } => &kinds::VALIDATION_FAILED,
        SsoError::Provider(OidcError::Http(_) | OidcError::Status { .. }) | SsoError::Dns(_) => {
            &kinds::PROVIDER_UNAVAILABLE
        }
        SsoError::Provider(
            OidcError::Unreadable { .. }
            | OidcError::IssuerMismatch { .. }
            | OidcError::Endpoint { .. }
            | OidcError::NoKeys
            | OidcError::Refused { .. }
            | OidcError::NoIdToken
            | OidcError::UserInfoMismatch,
        )
        | SsoError::IdToken(_)
        | SsoError::MixUp
        | SsoError::Saml(_)
        | SsoError::Replayed
        | SsoError::SamlRequest(_)
        | SsoError::ProofTime
        | SsoError::NoSubject => &kinds::SSO_FAILED,
        SsoError::Declined(_) => &kinds::SSO_DECLINED,
        SsoError::NotAdmitted(_) => &kinds::SSO_NOT_ADMITTED,
        SsoError::LinkRequired => &kinds::SSO_LINK_REQUIRED,
        SsoError::NoStepUp(_) => &kinds::SSO_STEP_UP_FAILED,
        SsoError::LinkTaken
        | SsoError::NameTaken
        | SsoError::TooMany
        | SsoError::LastWay(_)
        | SsoError::Changed
        | SsoError::NoMetadataUrl
        | SsoError::NotSaml
        | SsoError::KeyWaits(_)
        | SsoError::RecordMissing => &kinds::CONFLICT,
        SsoError::DomainTaken => &kinds::DOMAIN_TAKEN,
        SsoError::OwnersOnly => &kinds::FORBIDDEN,
        SsoError::Busy => &kinds::OVERLOADED,
        SsoError::CorruptSecret | SsoError::Random | SsoError::Panicked(_) => &kinds::INTERNAL,
        SsoError::Secrets(_) | SsoError::Auth(_) | SsoError::Sessions(_) | SsoError::Db(_) => &kinds::UNAVAILABLE,
    }
}

impl From<SsoError> for Problem {
    fn from(error: SsoError) -> Self {
        let kind = kind_of(&error);
        match error {
            SsoError::InvalidState => Self::new(kind, "begin the sign-in again, in this browser"),
            SsoError::InvalidCode => Self::new(kind, "begin the sign-in again"),
            SsoError::UnknownConnection => Self::new(kind, "there is no such connection"),
            SsoError::UnknownIdentity => Self::new(kind, "you are nobody at that connection's provider"),
            SsoError::UnknownDomain => Self::new(kind, "there is no such domain"),
            SsoError::ReturnTo => Self::invalid_field(
                "/return_to",
                "must be a page of the tenant's own hosts or one of its sso.return_urls; state at most 512 bytes; code_challenge \
                 43 characters (S256)",
            ),
            SsoError::UnprovedDomain => {
                Self::invalid_field("/domains", "has one that is not proved, or that is another connection's")
            }
            SsoError::Domain(error) => Self::invalid_field("/domain", error),
            SsoError::Provider(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an identity provider cannot be used");
                let problem = Self::new(kind, "the organisation's identity provider cannot be used at the moment");
                if kind == &kinds::PROVIDER_UNAVAILABLE { problem.retry_after(RETRY_PROVIDER_S) } else { problem }
            }
            SsoError::Dns(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "DNS did not answer");
                Self::new(&kinds::UNAVAILABLE, "DNS did not answer; try again soon").retry_after(RETRY_PROVIDER_S)
            }
            SsoError::IdToken(error) => {
                Self::new(kind, format!("the identity provider's ID token is not valid: {error}"))
            }
            // Whoever tries is not told how far they came: the audit log is.
            SsoError::Saml(_) | SsoError::Replayed | SsoError::ProofTime => {
                Self::new(kind, "the identity provider's answer is not valid; begin the sign-in again")
            }
            SsoError::SamlRequest(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no request for an identity provider");
                Self::new(kind, "the organisation's identity provider cannot be used at the moment")
            }
            error @ (SsoError::Metadata(_)
            | SsoError::MetadataAddress(_)
            | SsoError::MetadataHttp(_)
            | SsoError::MetadataStatus(_)
            | SsoError::OtherProvider { .. }) => Self::invalid_field("/saml/metadata_url", metadata_text(&error)),
            SsoError::NoMetadataUrl => Self::new(kind, "the connection has no metadata URL"),
            SsoError::NotSaml => Self::new(kind, "the connection is not one of SAML"),
            SsoError::KeyWaits(true) => Self::new(kind, "a key waits already: switch to it first"),
            SsoError::KeyWaits(false) => Self::new(kind, "no key waits: add one first"),
            SsoError::MixUp => Self::new(kind, "the answer came from another identity provider"),
            SsoError::NoSubject => Self::new(kind, "the identity provider did not say who it is"),
            SsoError::Declined(_) => Self::new(kind, "the identity provider did not let the person in"),
            SsoError::NotAdmitted(_) => Self::new(kind, "ask an admin of your organisation"),
            SsoError::LinkRequired => {
                Self::new(kind, "sign in another way and link this identity, or ask an admin of your organisation")
            }
            SsoError::NoStepUp(why) => Self::new(kind, why),
            SsoError::LinkTaken => Self::new(kind, "another user is linked to this identity"),
            SsoError::NameTaken => Self::new(kind, "another connection has this name"),
            SsoError::TooMany => Self::new(kind, "delete one first: there are as many as a tenant may have"),
            SsoError::LastWay(why) => Self::new(kind, why),
            SsoError::Changed => Self::new(kind, "somebody else has just changed it; look again"),
            SsoError::RecordMissing => Self::new(kind, "the TXT record was not found; DNS may take a while to show it"),
            SsoError::DomainTaken => Self::new(kind, "another organisation on this platform has proved this domain"),
            SsoError::OwnersOnly => Self::new(
                kind,
                "only an owner may have a provider make owners, or change the keys of one that an owner signs in by",
            ),
            SsoError::Busy => {
                Self::new(kind, "too many sign-ins are being checked; try again soon").retry_after(RETRY_BUSY_S)
            }
            SsoError::CorruptSecret | SsoError::Random | SsoError::Panicked(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a sign-in by a provider failed on a bug");
                Self::new(kind, "quote the request id to support")
            }
            SsoError::Secrets(error) => error.into(),
            SsoError::Auth(error) => error.into(),
            SsoError::Sessions(error) => error.into(),
            SsoError::Db(error) => error.into(),
        }
    }
}

/// What is wrong with metadata, with its cause: an admin reads it.
pub(super) fn metadata_text(error: &SsoError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
