//! Metadata of providers (saml-metadata-2.0-os).
//!
//! An admin gives it, by a form or by an address that is fetched over TLS: that, not its signature, is why it is believed.

use chrono::{DateTime, Utc};

use super::keys::{pem, usable_certificate_der};
use super::names::{DS, MD, POST_BINDING, REDIRECT_BINDING, SAMLP};
use super::tree::{Element, Kind, parse};
use super::{IdentityProvider, MetadataFault};

/// Bytes of a document at most.
const MAX_LENGTH: usize = 1024 * 1024;
/// Certificates at most; two are a rollover.
const MAX_CERTIFICATES: usize = 8;
/// Characters of an entity id at most (saml-metadata §2.2.1).
const MAX_ENTITY_ID: usize = 1024;

/// See [`SamlVerifier::read_metadata`](super::SamlVerifier::read_metadata).
pub(super) fn read(xml: &str) -> Result<IdentityProvider, MetadataFault> {
    if xml.len() > MAX_LENGTH {
        return Err(MetadataFault::TooLarge);
    }
    let root = parse(xml.trim_start_matches('\u{feff}'), Kind::Metadata).map_err(MetadataFault::NotXml)?;
    let entity = the_provider(&root)?;
    let entity_id = entity.attribute("entityID").unwrap_or_default();
    let is_long = entity_id.chars().count() > MAX_ENTITY_ID;
    if entity_id.is_empty() || is_long || entity_id.chars().any(|other| other.is_whitespace() || other.is_control()) {
        return Err(MetadataFault::EntityId);
    }
    let role = role(entity).ok_or(MetadataFault::NoIdentityProvider)?;
    let sso_redirect_url = address(role, REDIRECT_BINDING)?;
    let sso_post_url = address(role, POST_BINDING)?;
    if sso_redirect_url.is_none() && sso_post_url.is_none() {
        return Err(MetadataFault::NoAddress);
    }
    let valid_until = [role, entity, &root].into_iter().find_map(|element| element.attribute("validUntil"));
    Ok(IdentityProvider {
        entity_id: entity_id.to_owned(),
        sso_redirect_url,
        sso_post_url,
        certificates: certificates(role)?,
        want_authn_requests_signed: matches!(role.attribute("WantAuthnRequestsSigned"), Some("true" | "1")),
        valid_until: valid_until.map(time).transpose()?,
    })
}

/// The entity that is an identity provider, if it is exactly one.
fn the_provider(root: &Element) -> Result<&Element, MetadataFault> {
    if root.is(MD, "EntityDescriptor") {
        return Ok(root);
    }
    if !root.is(MD, "EntitiesDescriptor") {
        return Err(MetadataFault::NotMetadata);
    }
    let mut found = Vec::new();
    let mut groups = vec![root];
    while let Some(group) = groups.pop() {
        groups.extend(group.all(MD, "EntitiesDescriptor"));
        found.extend(group.all(MD, "EntityDescriptor").filter(|entity| role(entity).is_some()));
    }
    match found.as_slice() {
        [one] => Ok(one),
        others => Err(MetadataFault::NotOneProvider(others.len())),
    }
}

/// The description of the identity provider that speaks SAML 2.0.
fn role(entity: &Element) -> Option<&Element> {
    entity.all(MD, "IDPSSODescriptor").find(|role| {
        let protocols = role.attribute("protocolSupportEnumeration").unwrap_or_default();
        protocols.split_ascii_whitespace().any(|protocol| protocol == SAMLP)
    })
}

fn address(role: &Element, binding: &str) -> Result<Option<String>, MetadataFault> {
    let mut services = role.all(MD, "SingleSignOnService");
    let Some(service) = services.find(|service| service.attribute("Binding") == Some(binding)) else {
        return Ok(None);
    };
    let location = service.attribute("Location").unwrap_or_default();
    let uri = location.parse::<http::Uri>().ok();
    let is_web = uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some());
    if is_web && !location.contains('#') {
        Ok(Some(location.to_owned()))
    } else {
        Err(MetadataFault::Address(location.chars().take(200).collect()))
    }
}

/// Certificates of the keys that sign: those that say so, and those that do not say what they are for.
fn certificates(role: &Element) -> Result<Vec<String>, MetadataFault> {
    let mut found: Vec<String> = Vec::new();
    let signing = role.all(MD, "KeyDescriptor").filter(|key| matches!(key.attribute("use"), None | Some("signing")));
    let data = signing.filter_map(|key| key.child(DS, "KeyInfo")).flat_map(|info| info.all(DS, "X509Data"));
    for (index, certificate) in data.flat_map(|data| data.all(DS, "X509Certificate")).enumerate() {
        let position = index + 1;
        let fault = |why| MetadataFault::Certificate { position, why };
        let der = base64_of(&certificate.text).ok_or_else(|| fault("it is not Base64"))?;
        let text = pem(usable_certificate_der(&der).map_err(fault)?.to_der());
        if !found.contains(&text) {
            found.push(text);
        }
        if found.len() > MAX_CERTIFICATES {
            return Err(MetadataFault::TooManyCertificates(MAX_CERTIFICATES));
        }
    }
    if found.is_empty() { Err(MetadataFault::NoCertificate) } else { Ok(found) }
}

fn base64_of(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let characters: String = text.chars().filter(|other| !other.is_ascii_whitespace()).collect();
    base64::engine::general_purpose::STANDARD.decode(characters).ok()
}

fn time(text: &str) -> Result<DateTime<Utc>, MetadataFault> {
    saml::parse_xs_datetime(text).map(DateTime::from).map_err(|_not_a_time| MetadataFault::ValidUntil)
}
