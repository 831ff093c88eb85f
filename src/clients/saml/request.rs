//! Requests for sign-in (saml-core §3.4.1), by HTTP-Redirect (saml-bindings §3.4) or HTTP-POST (§3.5).

use std::io::Write as _;

use aws_lc_rs::digest::{SHA256 as SHA256_DIGEST, digest};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::emit::{attribute, text};
use super::names::{DS, ENVELOPED, EXCLUSIVE_C14N, POST_BINDING, RSA_SHA256, SAML, SAMLP, SHA256};
use super::{Ask, Begun, IdentityProvider, RequestFault, ServiceProvider, SpKey};

/// Bytes of a relay state at most (saml-bindings §3.4.3).
const MAX_RELAY_STATE: usize = 80;

/// See [`SamlVerifier::begin`](super::SamlVerifier::begin).
pub(super) fn begin(
    sp: &ServiceProvider,
    idp: &IdentityProvider,
    ask: &Ask<'_>,
    now: DateTime<Utc>,
) -> Result<Begun, RequestFault> {
    if ask.relay_state.is_some_and(|state| state.len() > MAX_RELAY_STATE) {
        return Err(RequestFault::RelayState);
    }
    let key = match idp.want_authn_requests_signed {
        true => Some(sp.keys.first().ok_or(RequestFault::Key)?),
        false => None,
    };
    let request_id = request_id()?;
    if let Some(address) = &idp.sso_redirect_url {
        let request = authn_request(sp, address, ask, &request_id, now, "");
        let url = redirect(address, &request, ask.relay_state, key)?;
        return Ok(Begun::Redirect { request_id, url });
    }
    let action = idp.sso_post_url.clone().ok_or(RequestFault::NoAddress)?;
    let signature = match key {
        Some(key) => signature(&authn_request(sp, &action, ask, &request_id, now, ""), &request_id, key)?,
        None => String::new(),
    };
    let request = authn_request(sp, &action, ask, &request_id, now, &signature);
    let mut fields = vec![("SAMLRequest".to_owned(), STANDARD.encode(request))];
    fields.extend(ask.relay_state.map(|state| ("RelayState".to_owned(), state.to_owned())));
    Ok(Begun::Form { request_id, action, fields })
}

/// 160 random bits; an id must not begin with a digit.
fn request_id() -> Result<String, RequestFault> {
    let mut random = [0; 20];
    SystemRandom::new().fill(&mut random).map_err(|_unspecified| RequestFault::Random)?;
    Ok(format!("_{}", hex::encode(random)))
}

/// The request in its canonical form: namespaces first, then attributes, both sorted; no empty tags, no space between.
fn authn_request(
    sp: &ServiceProvider,
    destination: &str,
    ask: &Ask<'_>,
    id: &str,
    now: DateTime<Utc>,
    signature: &str,
) -> String {
    let force = if ask.force_authn { " ForceAuthn=\"true\"" } else { "" };
    let policy = match ask.name_id_format {
        Some(format) => {
            format!("<samlp:NameIDPolicy AllowCreate=\"true\" Format=\"{}\"></samlp:NameIDPolicy>", attribute(format))
        }
        None => "<samlp:NameIDPolicy AllowCreate=\"true\"></samlp:NameIDPolicy>".to_owned(),
    };
    let context = ask.authn_context.map(|context| {
        format!(
            "<samlp:RequestedAuthnContext Comparison=\"exact\"><saml:AuthnContextClassRef xmlns:saml=\"{SAML}\">{}\
             </saml:AuthnContextClassRef></samlp:RequestedAuthnContext>",
            text(context)
        )
    });
    format!(
        "<samlp:AuthnRequest xmlns:samlp=\"{SAMLP}\" AssertionConsumerServiceURL=\"{acs}\" Destination=\"{destination}\"{force} \
         ID=\"{id}\" IssueInstant=\"{at}\" ProtocolBinding=\"{POST_BINDING}\" Version=\"2.0\">\
         <saml:Issuer xmlns:saml=\"{SAML}\">{issuer}</saml:Issuer>{signature}{policy}{context}</samlp:AuthnRequest>",
        acs = attribute(&sp.acs_url),
        destination = attribute(destination),
        at = now.to_rfc3339_opts(SecondsFormat::Secs, true),
        issuer = text(&sp.entity_id),
        context = context.unwrap_or_default(),
    )
}

/// The signature goes over the query, in this order of its parameters (saml-bindings §3.4.4.1).
fn redirect(
    address: &str,
    request: &str,
    relay_state: Option<&str>,
    key: Option<&SpKey>,
) -> Result<String, RequestFault> {
    let mut query = format!("SAMLRequest={}", percent(&STANDARD.encode(deflated(request)?)));
    if let Some(state) = relay_state {
        query.push_str(&format!("&RelayState={}", percent(state)));
    }
    if let Some(key) = key {
        query.push_str(&format!("&SigAlg={}", percent(RSA_SHA256)));
        let signature = key.sign(query.as_bytes())?;
        query.push_str(&format!("&Signature={}", percent(&STANDARD.encode(signature))));
    }
    let separator = if address.contains('?') { '&' } else { '?' };
    Ok(format!("{address}{separator}{query}"))
}

fn deflated(request: &str) -> Result<Vec<u8>, RequestFault> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    encoder.write_all(request.as_bytes()).and_then(|()| encoder.finish()).map_err(|_memory| RequestFault::Random)
}

/// All but the unreserved characters of RFC 3986.
fn percent(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len() * 2);
    for byte in raw.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The enveloped signature of the request, which is in canonical form already (saml-core §5.4).
fn signature(request: &str, id: &str, key: &SpKey) -> Result<String, RequestFault> {
    let digest = STANDARD.encode(digest(&SHA256_DIGEST, request.as_bytes()));
    let inner = format!(
        "<ds:CanonicalizationMethod Algorithm=\"{EXCLUSIVE_C14N}\"></ds:CanonicalizationMethod>\
         <ds:SignatureMethod Algorithm=\"{RSA_SHA256}\"></ds:SignatureMethod>\
         <ds:Reference URI=\"#{id}\"><ds:Transforms><ds:Transform Algorithm=\"{ENVELOPED}\"></ds:Transform>\
         <ds:Transform Algorithm=\"{EXCLUSIVE_C14N}\"></ds:Transform></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"{SHA256}\"></ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
    );
    // Canonical form of the part alone has the namespace; inside of the signature, its parent has it.
    let signed = format!("<ds:SignedInfo xmlns:ds=\"{DS}\">{inner}</ds:SignedInfo>");
    let value = STANDARD.encode(key.sign(signed.as_bytes())?);
    let certificate = key.certificate_base64();
    Ok(format!(
        "<ds:Signature xmlns:ds=\"{DS}\"><ds:SignedInfo>{inner}</ds:SignedInfo><ds:SignatureValue>{value}</ds:SignatureValue>\
         <ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>\
         </ds:Signature>"
    ))
}
