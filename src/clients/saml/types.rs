//! What goes into the verifier and what comes out of it.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

/// Our side of one connection.
#[derive(Debug)]
pub struct ServiceProvider {
    /// Our entity id in this connection: the only audience that is accepted.
    pub entity_id: String,
    /// Where the provider posts responses: the only destination and recipient that is accepted.
    pub acs_url: String,
    /// The first signs; all are published, and all decrypt.
    pub keys: Vec<SpKey>,
}

/// A key of ours with the certificate that tells it to the provider.
#[derive(Debug)]
pub struct SpKey {
    /// RSA, PKCS #8, PEM.
    pub private_key_pem: SecretString,
    /// X.509 certificate of the key, PEM; self-signed, which is the custom in SAML.
    pub certificate_pem: String,
}

/// What a provider's metadata says of it, and a connection keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProvider {
    /// Its entity id: the only issuer that is accepted.
    pub entity_id: String,
    /// Where requests go by HTTP-Redirect.
    pub sso_redirect_url: Option<String>,
    /// Where requests are posted.
    pub sso_post_url: Option<String>,
    /// Certificates of its signing keys, PEM: the only keys that are trusted; several while it changes keys.
    pub certificates: Vec<String>,
    /// Whether it wants our requests signed.
    pub want_authn_requests_signed: bool,
    /// When the metadata says that it should be fetched anew.
    pub valid_until: Option<DateTime<Utc>>,
}

/// What a request for sign-in asks of the provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask<'a> {
    /// Comes back with the response; at most 80 bytes (saml-bindings §3.4.3).
    pub relay_state: Option<&'a str>,
    /// The provider shall ask for credentials again, whatever sessions it knows.
    pub force_authn: bool,
    /// URI of the format that the name shall have; none leaves it to the provider.
    pub name_id_format: Option<&'a str>,
    /// URI of the context class that the authentication shall have, exactly; none leaves it to the provider.
    pub authn_context: Option<&'a str>,
}

/// A request for sign-in, ready to be sent by the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Send the browser there.
    Redirect {
        /// The request's id, which the response must name.
        request_id: String,
        /// Absolute URL with the request in its query.
        url: String,
    },
    /// Let the browser post a form.
    Form {
        /// The request's id, which the response must name.
        request_id: String,
        /// Where to post.
        action: String,
        /// Fields of the form: name, value (not escaped for HTML).
        fields: Vec<(String, String)>,
    },
}

impl Begun {
    /// The request's id, which the response must name.
    #[must_use]
    pub fn request_id(&self) -> &str {
        match self {
            Self::Redirect { request_id, .. } | Self::Form { request_id, .. } => request_id,
        }
    }
}

/// What a response is measured by, besides both sides.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The id of our request; `None` accepts only what answers no request (IdP-initiated).
    pub request_id: Option<&'a str>,
    /// Whether an assertion in the clear is refused.
    pub want_encrypted: bool,
    /// The present.
    pub now: DateTime<Utc>,
}

/// What a provider says of somebody, all of it under its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAssertion {
    /// Unique at the provider: a second response with it is a replay.
    pub assertion_id: String,
    /// Until when the id has to be remembered: after that the response is refused for its age. Within a day.
    pub keep_until: DateTime<Utc>,
    /// The person's name.
    pub name_id: String,
    /// URI of the name's format.
    pub name_id_format: String,
    /// The provider's name for its session.
    pub session_index: Option<String>,
    /// When the provider's session ends, if it says so.
    pub session_not_on_or_after: Option<DateTime<Utc>>,
    /// When the person authenticated there; `None` without a statement about it.
    pub authn_instant: Option<DateTime<Utc>>,
    /// URI of the context class of that authentication.
    pub authn_context: Option<String>,
    /// Attributes in the order of the document: name, values. A name may occur once only.
    pub attributes: Vec<(String, Vec<String>)>,
    /// SHA-256 of the certificate whose key signed, in hexadecimal: shows when the old one of two is out of use.
    pub signed_by: String,
}

/// What a response says of itself, UNVERIFIED.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peeked {
    /// Issuer of the response.
    pub issuer: Option<String>,
    /// `Destination` of the response.
    pub destination: Option<String>,
    /// The request that it says to answer.
    pub in_response_to: Option<String>,
    /// First audience of the assertion; none where it is encrypted.
    pub audience: Option<String>,
}

/// Why metadata of a provider cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// Longer than 1 MiB.
    #[error("the metadata is longer than 1 MiB")]
    TooLarge,
    /// Not XML, or XML of a kind that is not read.
    #[error("the metadata is not well-formed XML: {0}")]
    NotXml(&'static str),
    /// The root is something else.
    #[error("the document is not SAML metadata: its root element is not EntityDescriptor")]
    NotMetadata,
    /// A federation's file.
    #[error("the metadata describes {0} identity providers; give the document of exactly one")]
    NotOneProvider(usize),
    /// The entity has no id, or one that cannot be.
    #[error("the entityID is missing, longer than 1024 characters, or contains white space")]
    EntityId,
    /// Only the other role is described.
    #[error("the metadata describes no identity provider (IDPSSODescriptor for SAML 2.0 is missing)")]
    NoIdentityProvider,
    /// No key.
    #[error("the metadata has no certificate for signing (KeyDescriptor with an X509Certificate)")]
    NoCertificate,
    /// More keys than a rollover explains.
    #[error("the metadata has more than {0} certificates for signing")]
    TooManyCertificates(usize),
    /// One of the keys is not usable.
    #[error("certificate {position} cannot be used: {why}")]
    Certificate {
        /// Counted from 1, in the order of the document.
        position: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// No address for either way.
    #[error("the metadata has no single sign-on address for HTTP-Redirect or HTTP-POST")]
    NoAddress,
    /// An address is not a URL for a browser.
    #[error("the single sign-on address is not an http or https URL: {0}")]
    Address(String),
    /// A time is not a time.
    #[error("validUntil is not a time")]
    ValidUntil,
}

/// Why no request for sign-in can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// The provider has no address for either way.
    #[error("the provider has no single sign-on address")]
    NoAddress,
    /// A signature is wanted and there is no key, or none that can be read.
    #[error("there is no usable key to sign the request with")]
    Key,
    /// The relay state is longer than 80 bytes.
    #[error("the relay state is longer than 80 bytes")]
    RelayState,
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Why a response was refused. `Display` is the stable word of the log, the audit and the admin's test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SamlRefusal {
    /// Longer than 256 KiB of Base64.
    #[error("too_large")]
    TooLarge,
    /// Not Base64, not UTF-8, not well-formed, or with what is forbidden in a message: a document type, an entity, a processing
    /// instruction, a comment, a CDATA section.
    #[error("not_xml")]
    NotXml,
    /// Not built as providers build responses: signatures or ids in other places, two assertions, a signature that refers to
    /// something else than its parent, no conditions, no end of validity.
    #[error("malformed")]
    Malformed,
    /// The provider says that sign-in failed (`Status`).
    #[error("status_not_success")]
    StatusNotSuccess,
    /// Neither the response nor the assertion is signed.
    #[error("unsigned")]
    Unsigned,
    /// An encrypted assertion in a response without a signature: the provider has to sign the response too.
    #[error("encrypted_but_response_unsigned")]
    EncryptedButResponseUnsigned,
    /// A signature by none of the provider's certificates, or over something else.
    #[error("signature_invalid")]
    SignatureInvalid,
    /// Signed, digested or encrypted by an algorithm that is not accepted, such as SHA-1.
    #[error("algorithm_refused")]
    AlgorithmRefused,
    /// An assertion in the clear where encryption is demanded.
    #[error("not_encrypted")]
    NotEncrypted,
    /// The assertion cannot be decrypted by any of our keys, whatever the reason.
    #[error("decryption_failed")]
    DecryptionFailed,
    /// Of another provider.
    #[error("issuer_mismatch")]
    IssuerMismatch,
    /// For another address (`Destination`).
    #[error("destination_mismatch")]
    DestinationMismatch,
    /// For another address (`Recipient`).
    #[error("recipient_mismatch")]
    RecipientMismatch,
    /// For another service.
    #[error("audience_mismatch")]
    AudienceMismatch,
    /// Answers another request than ours.
    #[error("in_response_to_mismatch")]
    InResponseToMismatch,
    /// Answers no request of ours, or some request where none was made.
    #[error("unsolicited")]
    Unsolicited,
    /// Before its time, by more than 60 seconds.
    #[error("not_yet_valid")]
    NotYetValid,
    /// After its time, by more than 60 seconds.
    #[error("expired")]
    Expired,
    /// Valid for more than a day: its id would have to be remembered for as long.
    #[error("valid_too_long")]
    ValidTooLong,
    /// No confirmation by bearer.
    #[error("not_bearer")]
    NotBearer,
    /// No name, or a name or attribute that cannot be one: empty, too long, with control characters, or twice.
    #[error("unusable_claims")]
    UnusableClaims,
    /// The connection's own data cannot be used: no certificate, or none that can be read.
    #[error("connection_unusable")]
    ConnectionUnusable,
}
