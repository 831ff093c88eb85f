//! Connections that speak SAML 2.0: what a tenant sets, and who an assertion is about.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::sso::{Person, ProviderProof};

/// Most certificates of one provider: two while it turns its key over, and some to spare.
pub const MAX_CERTIFICATES: usize = 10;
/// A provider's certificate is complained of when it ends in fewer days.
pub const WARN_DAYS: i64 = 30;
/// Longest name of a person at a provider, in characters.
const MAX_SUBJECT: usize = 255;
/// Values of one attribute that are looked at.
const MAX_VALUES: usize = 1_000;
/// Names that are made up for one sign-in (saml-core §8.3.8): they name nobody for good.
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";
/// Names that are e-mail addresses (saml-core §8.3.2).
const EMAIL_ADDRESS: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
/// Entity ids of Entra begin so.
const ENTRA: &str = "https://sts.windows.net/";
/// What names a person at Entra for good; its NameID is an address by default.
const ENTRA_OBJECT: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";
/// Entra and ADFS say so of two factors.
const MICROSOFT_MFA: &str = "http://schemas.microsoft.com/claims/multipleauthn";
/// What the REFEDS MFA profile says of two factors.
const REFEDS_MFA: &str = "https://refeds.org/profile/mfa";

/// Attributes with an e-mail address, as Entra and ADFS, LDAP (RFC 4524 §2.16) and Okta name them.
const EMAILS: &[&str] = &[
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "email",
    "mail",
];
/// Attributes with a display name.
const NAMES: &[&str] = &[
    "http://schemas.microsoft.com/identity/claims/displayname",
    "urn:oid:2.16.840.1.113730.3.1.241",
    "displayName",
    "name",
];
/// Attributes with a first name and a last name.
const NAME_PARTS: &[(&str, &str)] = &[
    (
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
    ),
    ("urn:oid:2.5.4.42", "urn:oid:2.5.4.4"),
    ("firstName", "lastName"),
    ("givenName", "sn"),
];
/// Attributes whose values may mean roles, where the connection names none.
const GROUPS: &[&str] = &[
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups",
    "http://schemas.xmlsoap.org/claims/Group",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
    "groups",
    "memberOf",
];

/// What is SAML's own of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamlSettings {
    /// The provider's entity id: the only issuer that is believed. It never changes.
    pub idp_entity_id: String,
    /// Where requests go by a link.
    pub sso_redirect_url: Option<String>,
    /// Where requests are posted.
    pub sso_post_url: Option<String>,
    /// Whether the provider wants requests signed.
    pub wants_signed_requests: bool,
    /// Certificates (PEM) of the only keys that are believed; several while the provider turns its key over.
    pub certificates: Vec<String>,
    /// Where the four above are read again from; none = they are set by hand.
    pub metadata_url: Option<String>,
    /// When that was last read.
    pub metadata_read_at: Option<DateTime<Utc>>,
    /// When that was last tried.
    pub metadata_tried_at: Option<DateTime<Utc>>,
    /// What was wrong at the last try.
    pub metadata_error: Option<String>,
    /// Whether assertions that nobody here asked for are believed.
    pub idp_initiated: bool,
    /// Whether assertions must be encrypted.
    pub want_encrypted: bool,
    /// Attribute that names a person for good; none = the NameID. It never changes.
    pub subject_attribute: Option<String>,
    /// Attribute with the e-mail address; none = the usual ones.
    pub email_attribute: Option<String>,
    /// Attribute with the display name; none = the usual ones.
    pub name_attribute: Option<String>,
    /// Classes of authentication that mean two factors.
    pub mfa_contexts: Vec<String>,
    /// Where a browser is sent after a sign-out here; none = nowhere.
    pub logout_url: Option<String>,
}

/// What is right for a provider that nobody said anything about: the attribute that names people, and the classes of authentication
/// that mean two factors.
#[must_use]
pub fn defaults_of(idp_entity_id: &str) -> (Option<String>, Vec<String>) {
    if idp_entity_id.starts_with(ENTRA) {
        (Some(ENTRA_OBJECT.to_owned()), vec![MICROSOFT_MFA.to_owned()])
    } else {
        (None, vec![REFEDS_MFA.to_owned()])
    }
}

/// What a provider that is believed said of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The person's name there.
    pub name_id: String,
    /// URI of the name's format.
    pub name_id_format: String,
    /// When they proved who they are.
    pub authn_instant: Option<DateTime<Utc>>,
    /// URI of the class of that proof.
    pub authn_context: Option<String>,
    /// Names and values, each name once.
    pub attributes: Vec<(String, Vec<String>)>,
}

impl Said {
    /// The person; none if they are not named for good, or not in a form that can be kept. `role_claim` is the attribute whose values
    /// mean roles; none = the usual ones.
    #[must_use]
    pub fn person(&self, settings: &SamlSettings, role_claim: Option<&str>) -> Option<Person> {
        let email = match &settings.email_attribute {
            Some(own) => self.one(own),
            None => EMAILS.iter().find_map(|name| self.one(name)).or_else(|| self.address()),
        };
        let name = match &settings.name_attribute {
            Some(own) => self.one(own).map(str::to_owned),
            None => self.display_name(),
        };
        let groups: &[&str] = role_claim.as_ref().map_or(GROUPS, std::slice::from_ref);
        let role_values = groups.iter().flat_map(|name| self.values(name)).take(MAX_VALUES).cloned().collect();
        // Nothing in SAML says whether an address is the person's: the tenant's proof of the domain must do.
        let email = email.map(|email| (email.to_owned(), None));
        Some(Person { subject: self.subject(settings)?, email, name, role_values })
    }

    /// How the person proved who they are.
    #[must_use]
    pub fn proof(&self) -> ProviderProof {
        ProviderProof {
            acr: self.authn_context.clone(),
            amr: Vec::new(),
            auth_time_s: self.authn_instant.map(|at| at.timestamp()),
        }
    }

    fn subject(&self, settings: &SamlSettings) -> Option<String> {
        let text = match &settings.subject_attribute {
            Some(name) => self.one(name)?,
            None if self.name_id_format == TRANSIENT => return None,
            None => &self.name_id,
        };
        let is_plain = (1..=MAX_SUBJECT).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        is_plain.then(|| text.to_owned())
    }

    fn address(&self) -> Option<&str> {
        (self.name_id_format == EMAIL_ADDRESS).then_some(self.name_id.as_str())
    }

    fn display_name(&self) -> Option<String> {
        let whole = NAMES.iter().find_map(|name| self.one(name)).map(str::to_owned);
        whole.or_else(|| {
            NAME_PARTS.iter().find_map(|(first, last)| Some(format!("{} {}", self.one(first)?, self.one(last)?)))
        })
    }

    /// The value of an attribute that has one. Of two nobody knows which is meant.
    fn one(&self, name: &str) -> Option<&str> {
        match self.values(name) {
            [value] => Some(value.trim()).filter(|value| !value.is_empty()),
            [] | [_, _, ..] => None,
        }
    }

    fn values(&self, name: &str) -> &[String] {
        self.attributes.iter().find(|(own, _)| own == name).map_or(&[], |(_, values)| values.as_slice())
    }
}

#[cfg(test)]
#[path = "saml_tests.rs"]
mod tests;
