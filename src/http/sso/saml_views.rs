//! What is SAML's own of a connection, as admins see it and send it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::sso::saml::entity_id;
use crate::actors::tenant::TenantView;
use crate::db::saml_keys::SamlKey;
use crate::domain::ids::{ConnectionId, SamlKeyId};
use crate::domain::saml::SamlSettings;

/// A provider of SAML 2.0.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SamlResponse {
    /// The provider's entity id.
    entity_id: String,
    /// Where requests go by a link.
    sso_redirect_url: Option<String>,
    /// Where requests are posted.
    sso_post_url: Option<String>,
    /// Whether the provider wants requests signed.
    sign_requests: bool,
    /// Certificates (PEM) of the only keys that are believed.
    certificates: Vec<String>,
    /// Where these are read again from, every few hours.
    metadata_url: Option<String>,
    /// When that was last read.
    metadata_read_at: Option<DateTime<Utc>>,
    /// What was wrong at the last try.
    metadata_error: Option<String>,
    /// Whether answers are believed that nobody here asked for.
    idp_initiated: bool,
    /// Whether assertions must be encrypted.
    want_encrypted: bool,
    /// Attribute that names people for good; none = the NameID.
    subject_attribute: Option<String>,
    /// Attribute with the e-mail address; none = the usual ones.
    email_attribute: Option<String>,
    /// Attribute with the display name; none = the usual ones.
    name_attribute: Option<String>,
    /// Classes of authentication that mean two factors.
    mfa_contexts: Vec<String>,
    /// Where browsers are sent after a sign-out.
    logout_url: Option<String>,
    /// What the platform calls itself in this connection, and where its metadata is. To be registered with the provider.
    sp_entity_id: String,
    /// The platform's keys in this connection.
    keys: Vec<SamlKeyResponse>,
}

/// A key of the platform's.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SamlKeyResponse {
    /// Its id.
    id: SamlKeyId,
    /// `active` signs; `next` is published and signs once it is switched to; `retiring` only decrypts.
    #[schema(example = "active")]
    state: &'static str,
    /// Its certificate (PEM).
    certificate: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

impl SamlResponse {
    pub(super) fn new(view: &TenantView, id: ConnectionId, settings: SamlSettings, keys: &[SamlKey]) -> Self {
        let SamlSettings {
            idp_entity_id,
            sso_redirect_url,
            sso_post_url,
            wants_signed_requests,
            certificates,
            metadata_url,
            metadata_read_at,
            metadata_tried_at: _,
            metadata_error,
            idp_initiated,
            want_encrypted,
            subject_attribute,
            email_attribute,
            name_attribute,
            mfa_contexts,
            logout_url,
        } = settings;
        let own = keys.iter().filter(|key| key.connection == id).map(|key| SamlKeyResponse {
            id: key.id,
            state: key.state.as_str(),
            certificate: key.certificate_pem.clone(),
            created_at: key.created_at,
        });
        Self {
            entity_id: idp_entity_id,
            sso_redirect_url,
            sso_post_url,
            sign_requests: wants_signed_requests,
            certificates,
            metadata_url,
            metadata_read_at,
            metadata_error,
            idp_initiated,
            want_encrypted,
            subject_attribute,
            email_attribute,
            name_attribute,
            mfa_contexts,
            logout_url,
            sp_entity_id: entity_id(view, id),
            keys: own.collect(),
        }
    }
}

/// A provider of SAML 2.0: by `metadata_url`, by `metadata_xml`, or by hand with `entity_id`, an address and `certificates`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreateSamlRequest {
    /// Its metadata, pasted.
    pub(super) metadata_xml: Option<String>,
    /// Where its metadata is. Read now, and every few hours from then on.
    #[schema(
        example = "https://login.microsoftonline.com/8f6bd982-92c3-4de0-985d-0e287c55e379/federationmetadata/2007-06/federationmetadata.xml"
    )]
    pub(super) metadata_url: Option<String>,
    /// Its entity id, by hand. It never changes.
    pub(super) entity_id: Option<String>,
    /// Where requests go by a link, by hand.
    pub(super) sso_redirect_url: Option<String>,
    /// Where requests are posted, by hand.
    pub(super) sso_post_url: Option<String>,
    /// Sign requests; by hand, and false if left out.
    pub(super) sign_requests: Option<bool>,
    /// Certificates of its signing keys, by hand: PEM, or the Base64 within.
    pub(super) certificates: Option<Vec<String>>,
    /// Believe answers that nobody here asked for; false if left out. Whoever is lured into one is signed in as somebody else.
    #[serde(default)]
    pub(super) idp_initiated: bool,
    /// Believe encrypted assertions only; false if left out.
    #[serde(default)]
    pub(super) want_encrypted: bool,
    /// Attribute that names people for good; if left out, what is right for the provider: the NameID, at Entra the object id. It never
    /// changes.
    pub(super) subject_attribute: Option<String>,
    /// Attribute with the e-mail address; if left out, the names that Entra, ADFS, Okta and LDAP use.
    pub(super) email_attribute: Option<String>,
    /// Attribute with the display name; likewise.
    pub(super) name_attribute: Option<String>,
    /// Classes of authentication that mean two factors; if left out, what is right for the provider.
    pub(super) mfa_contexts: Option<Vec<String>>,
    /// Where browsers are sent after a sign-out.
    pub(super) logout_url: Option<String>,
}

/// What to change of a provider of SAML; what is left out stays. An empty text takes a value away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UpdateSamlRequest {
    /// Its metadata, pasted.
    pub(super) metadata_xml: Option<String>,
    /// Where its metadata is. Read now, and every few hours from then on.
    pub(super) metadata_url: Option<String>,
    /// Where requests go by a link, by hand.
    pub(super) sso_redirect_url: Option<String>,
    /// Where requests are posted, by hand.
    pub(super) sso_post_url: Option<String>,
    /// Sign requests, by hand.
    pub(super) sign_requests: Option<bool>,
    /// Certificates of its signing keys, by hand: PEM, or the Base64 within.
    pub(super) certificates: Option<Vec<String>>,
    /// Believe answers that nobody here asked for.
    pub(super) idp_initiated: Option<bool>,
    /// Believe encrypted assertions only.
    pub(super) want_encrypted: Option<bool>,
    /// Attribute with the e-mail address.
    pub(super) email_attribute: Option<String>,
    /// Attribute with the display name.
    pub(super) name_attribute: Option<String>,
    /// Classes of authentication that mean two factors.
    pub(super) mfa_contexts: Option<Vec<String>>,
    /// Where browsers are sent after a sign-out.
    pub(super) logout_url: Option<String>,
}
