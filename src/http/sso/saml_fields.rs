//! What admins send of a provider of SAML, checked.

use super::fields::{error, is_text, set, set_or_clear};
use super::problem::metadata_text;
use super::saml_views::{CreateSamlRequest, UpdateSamlRequest};
use crate::actors::sso::{SsoDesk, SsoError, saml};
use crate::clients::saml::{IdentityProvider, certificate_facts};
use crate::clock;
use crate::domain::ids::TenantId;
use crate::domain::saml::{MAX_CERTIFICATES, SamlSettings, defaults_of};
use crate::domain::tenant::is_return_url;
use crate::http::problem::FieldError;

/// Classes of authentication of a connection at most.
const MAX_CONTEXTS: usize = 20;
/// Longest attribute name, entity id, address.
const MAX_ATTRIBUTE: usize = 200;
const MAX_ENTITY_ID: usize = 1_024;
const MAX_URL: usize = 2_000;

/// A provider to be; none if it cannot be one, which `errors` say why.
pub(super) async fn new_settings(
    desk: &SsoDesk,
    tenant: TenantId,
    errors: &mut Vec<FieldError>,
    body: CreateSamlRequest,
) -> Option<SamlSettings> {
    let by_hand = ByHand {
        entity_id: body.entity_id,
        sso_redirect_url: body.sso_redirect_url,
        sso_post_url: body.sso_post_url,
        sign_requests: body.sign_requests,
        certificates: body.certificates,
    };
    let metadata_url = body.metadata_url;
    let provider = match (body.metadata_xml, &metadata_url, by_hand.is_empty()) {
        (Some(xml), None, true) => read(desk, errors, &xml).await,
        (None, Some(url), true) => fetch(desk, tenant, errors, url).await,
        (None, None, false) => by_hand.provider(desk, errors),
        (Some(_) | None, Some(_) | None, _) => {
            errors.push(error(
                "/saml",
                "needs one of metadata_url, metadata_xml, or entity_id with an address and certificates",
            ));
            None
        }
    }?;
    let (subject_attribute, mfa_contexts) = defaults_of(&provider.entity_id);
    let mut settings = SamlSettings {
        idp_entity_id: provider.entity_id.clone(),
        sso_redirect_url: None,
        sso_post_url: None,
        wants_signed_requests: false,
        certificates: Vec::new(),
        metadata_read_at: metadata_url.as_ref().map(|_url| clock::now()),
        metadata_tried_at: metadata_url.as_ref().map(|_url| clock::now()),
        metadata_url,
        metadata_error: None,
        idp_initiated: body.idp_initiated,
        want_encrypted: body.want_encrypted,
        subject_attribute: body.subject_attribute.or(subject_attribute),
        email_attribute: body.email_attribute,
        name_attribute: body.name_attribute,
        mfa_contexts: body.mfa_contexts.unwrap_or(mfa_contexts),
        logout_url: body.logout_url,
    };
    adopt(errors, &mut settings, provider);
    check(errors, &settings);
    Some(settings)
}

/// Sets what is changed of a provider; `errors` say what cannot be.
pub(super) async fn change(
    desk: &SsoDesk,
    tenant: TenantId,
    errors: &mut Vec<FieldError>,
    settings: &mut SamlSettings,
    body: UpdateSamlRequest,
) {
    let by_hand = ByHand {
        entity_id: None,
        sso_redirect_url: body.sso_redirect_url,
        sso_post_url: body.sso_post_url,
        sign_requests: body.sign_requests,
        certificates: body.certificates,
    };
    set(&mut settings.idp_initiated, body.idp_initiated);
    set(&mut settings.want_encrypted, body.want_encrypted);
    set(&mut settings.mfa_contexts, body.mfa_contexts);
    set_or_clear(&mut settings.email_attribute, body.email_attribute);
    set_or_clear(&mut settings.name_attribute, body.name_attribute);
    set_or_clear(&mut settings.logout_url, body.logout_url);
    let is_new_url = body.metadata_url.is_some();
    set_or_clear(&mut settings.metadata_url, body.metadata_url);
    let provider = match (body.metadata_xml, settings.metadata_url.clone(), by_hand.is_empty()) {
        (None, Some(url), true) if is_new_url => {
            settings.metadata_read_at = Some(clock::now());
            settings.metadata_tried_at = Some(clock::now());
            settings.metadata_error = None;
            fetch(desk, tenant, errors, &url).await
        }
        (None, _, true) => None,
        (Some(xml), None, true) => read(desk, errors, &xml).await,
        (None, None, false) => by_hand.over(settings).provider(desk, errors),
        (Some(_) | None, Some(_), _) => {
            errors.push(error(
                "/saml",
                "has a metadata_url, which addresses and certificates come from: take it away first",
            ));
            None
        }
        (Some(_), None, false) => {
            errors.push(error("/saml", "has metadata_xml and, by hand, what that says"));
            None
        }
    };
    if let Some(provider) = provider {
        adopt(errors, settings, provider);
    }
    check(errors, settings);
}

fn adopt(errors: &mut Vec<FieldError>, settings: &mut SamlSettings, provider: IdentityProvider) {
    if let Err(why) = saml::adopt(settings, provider) {
        errors.push(error("/saml", why));
    }
}

async fn read(desk: &SsoDesk, errors: &mut Vec<FieldError>, xml: &str) -> Option<IdentityProvider> {
    or_error(errors, "/saml/metadata_xml", saml::read_metadata(desk, xml).await)
}

async fn fetch(desk: &SsoDesk, tenant: TenantId, errors: &mut Vec<FieldError>, url: &str) -> Option<IdentityProvider> {
    if url.len() > MAX_URL {
        errors.push(error("/saml/metadata_url", "is too long"));
        return None;
    }
    or_error(errors, "/saml/metadata_url", saml::fetch_metadata(desk, tenant, url).await)
}

fn or_error<T>(errors: &mut Vec<FieldError>, pointer: &str, read: Result<T, SsoError>) -> Option<T> {
    read.map_err(|why| errors.push(error(pointer, metadata_text(&why)))).ok()
}

fn check(errors: &mut Vec<FieldError>, settings: &SamlSettings) {
    let attributes = [
        ("/saml/subject_attribute", &settings.subject_attribute),
        ("/saml/email_attribute", &settings.email_attribute),
        ("/saml/name_attribute", &settings.name_attribute),
    ];
    for (pointer, attribute) in attributes {
        if attribute.as_ref().is_some_and(|attribute| !is_text(attribute, MAX_ATTRIBUTE)) {
            errors.push(error(pointer, "must be 1 to 200 characters without control characters"));
        }
    }
    let is_word = |word: &String| (1..=200).contains(&word.len()) && word.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if settings.mfa_contexts.len() > MAX_CONTEXTS || !settings.mfa_contexts.iter().all(is_word) {
        errors.push(error("/saml/mfa_contexts", "must be at most 20 words without blanks"));
    }
    if settings.logout_url.as_ref().is_some_and(|url| !is_return_url(url)) {
        errors.push(error(
            "/saml/logout_url",
            "must be a URL such as https://idp.example.com/logout, without a fragment",
        ));
    }
}

/// What else metadata says.
struct ByHand {
    entity_id: Option<String>,
    sso_redirect_url: Option<String>,
    sso_post_url: Option<String>,
    sign_requests: Option<bool>,
    certificates: Option<Vec<String>>,
}

impl ByHand {
    fn is_empty(&self) -> bool {
        let Self { entity_id, sso_redirect_url, sso_post_url, sign_requests, certificates } = self;
        [entity_id, sso_redirect_url, sso_post_url].iter().all(|text| text.is_none())
            && sign_requests.is_none()
            && certificates.is_none()
    }

    /// With what is there already in place of what was left out.
    fn over(self, settings: &SamlSettings) -> Self {
        let address = |new: Option<String>, old: &Option<String>| {
            let mut address = old.clone();
            set_or_clear(&mut address, new);
            address
        };
        Self {
            entity_id: Some(settings.idp_entity_id.clone()),
            sso_redirect_url: address(self.sso_redirect_url, &settings.sso_redirect_url),
            sso_post_url: address(self.sso_post_url, &settings.sso_post_url),
            sign_requests: self.sign_requests.or(Some(settings.wants_signed_requests)),
            certificates: self.certificates.or_else(|| Some(settings.certificates.clone())),
        }
    }

    fn provider(self, desk: &SsoDesk, errors: &mut Vec<FieldError>) -> Option<IdentityProvider> {
        let Self { entity_id, sso_redirect_url, sso_post_url, sign_requests, certificates } = self;
        let entity_id = entity_id.unwrap_or_default();
        if !is_text(&entity_id, MAX_ENTITY_ID) || entity_id.contains(char::is_whitespace) {
            errors.push(error("/saml/entity_id", "must be 1 to 1024 characters without blanks"));
        }
        if sso_redirect_url.is_none() && sso_post_url.is_none() {
            errors.push(error("/saml/sso_redirect_url", "is needed, or sso_post_url"));
        }
        for (pointer, url) in [("/saml/sso_redirect_url", &sso_redirect_url), ("/saml/sso_post_url", &sso_post_url)] {
            match url.as_ref().map(|url| (url.len(), desk.outbound.check_url(url))) {
                Some((_, Err(why))) => errors.push(error(pointer, why)),
                Some((length, Ok(()))) if length > MAX_URL => errors.push(error(pointer, "is too long")),
                Some((_, Ok(()))) | None => {}
            }
        }
        let certificates: Vec<String> = certificates.unwrap_or_default().iter().map(|text| in_pem(text)).collect();
        if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
            errors.push(error("/saml/certificates", "must be 1 to 10"));
        }
        for (index, certificate) in certificates.iter().take(MAX_CERTIFICATES).enumerate() {
            if let Err(why) = certificate_facts(certificate) {
                errors.push(error(&format!("/saml/certificates/{index}"), why));
            }
        }
        Some(IdentityProvider {
            entity_id,
            sso_redirect_url,
            sso_post_url,
            certificates,
            want_authn_requests_signed: sign_requests.unwrap_or(false),
            valid_until: None,
        })
    }
}

/// A certificate as providers show it: in PEM, or the Base64 within.
fn in_pem(text: &str) -> String {
    let text = text.trim();
    if text.starts_with("-----") {
        return text.to_owned();
    }
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
