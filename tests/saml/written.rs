//! What we write, read by others: requests by the schemas and by xmlsec, signatures of a redirect by aws-lc-rs, metadata by both.

use std::io::Read as _;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use businessos::clients::saml::{
    Ask, Begun, IdentityProvider, MetadataFault, RequestFault, Saml, SamlVerifier as _, ServiceProvider, SpKey,
    certificate_facts,
};
use businessos::clock;
use serde_json::json;

use crate::corpus::ask_python;

fn sides() -> (ServiceProvider, IdentityProvider) {
    let sp = ServiceProvider {
        entity_id: "https://app.example/saml?tenant=a&b=\"<c>\"".to_owned(),
        acs_url: "https://app.example/callback?a=1&b=2".to_owned(),
        keys: vec![
            SpKey::generate("first", clock::now()).unwrap(),
            SpKey::generate(&"a long name ".repeat(20), clock::now()).unwrap(),
        ],
    };
    let idp = IdentityProvider {
        entity_id: "https://idp.example".to_owned(),
        sso_redirect_url: Some("https://idp.example/sso?kept=1".to_owned()),
        sso_post_url: Some("https://idp.example/sso?a=1&b=2".to_owned()),
        certificates: Vec::new(),
        want_authn_requests_signed: true,
        valid_until: None,
    };
    (sp, idp)
}

const ASK: Ask<'_> = Ask {
    relay_state: Some("state of the flow & more"),
    force_authn: true,
    name_id_format: Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
    authn_context: Some("urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken?a&b>c"),
};

/// The parameters of an URL as they stand there.
fn parameters(url: &str) -> Vec<(String, String)> {
    let (_, query) = url.split_once('?').unwrap();
    query.split('&').map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// A parameter's value, by what the program itself does not use.
fn decoded(parameter: &str) -> String {
    let mut pieces = parameter.split('%');
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_posted_request_is_valid_by_the_schema_and_its_signature_good_to_xmlsec() {
    let (sp, mut idp) = sides();
    idp.sso_redirect_url = None;
    let Begun::Form { request_id, action, fields } = Saml.begin(&sp, &idp, &ASK, clock::now()).unwrap() else {
        panic!("not a form");
    };
    assert_eq!(action, "https://idp.example/sso?a=1&b=2");
    assert_eq!(fields[1], ("RelayState".to_owned(), "state of the flow & more".to_owned()));
    let request = String::from_utf8(STANDARD.decode(&fields[0].1).unwrap()).unwrap();
    assert!(request.contains(&format!("ID=\"{request_id}\"")) && request.contains("ForceAuthn=\"true\""));
    let certificate = &sp.keys[0].certificate_pem;
    let ask = |request: &str| {
        ask_python(
            "request_oracle.py",
            &json!({ "request": request, "metadata": Saml.own_metadata(&sp).split_once('\n').unwrap().1, "certificate": certificate }),
        )
    };
    assert_eq!(ask(&request), json!({ "request": "valid", "signature": "good", "metadata": "valid" }));
    let changed = request.replace("callback?", "elsewhere?");
    assert_ne!(ask(&changed)["signature"], "good");
}

#[test]
fn a_redirect_carries_the_request_deflated_with_a_signature_over_the_query() {
    let (sp, idp) = sides();
    let Begun::Redirect { request_id, url } = Saml.begin(&sp, &idp, &ASK, clock::now()).unwrap() else {
        panic!("not a redirect");
    };
    assert!(url.starts_with("https://idp.example/sso?kept=1&SAMLRequest="));
    let parameters = parameters(&url);
    let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["kept", "SAMLRequest", "RelayState", "SigAlg", "Signature"]);
    let deflated = STANDARD.decode(decoded(&parameters[1].1)).unwrap();
    let mut request = String::new();
    flate2::read::DeflateDecoder::new(deflated.as_slice()).read_to_string(&mut request).unwrap();
    assert!(request.contains(&format!("ID=\"{request_id}\"")));
    assert!(!request.contains("Signature"), "the signature is in the query");
    let signed = url.split_once("kept=1&").unwrap().1.rsplit_once("&Signature=").unwrap().0;
    let der = rustls_pki_types::CertificateDer::from(
        STANDARD.decode(sp.keys[0].certificate_pem.lines().filter(|l| !l.contains("---")).collect::<String>()).unwrap(),
    );
    let certificate = saml::X509Certificate::from_der(&der).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate.subject_public_key_info_der());
    let signature = STANDARD.decode(decoded(&parameters[4].1)).unwrap();
    key.verify(signed.as_bytes(), &signature).unwrap();
}

#[test]
fn requests_are_unsigned_where_nobody_wants_that_and_their_ids_never_the_same() {
    let (sp, mut idp) = sides();
    idp.want_authn_requests_signed = false;
    let first = Saml.begin(&sp, &idp, &Ask::default(), clock::now()).unwrap();
    let second = Saml.begin(&sp, &idp, &Ask::default(), clock::now()).unwrap();
    assert_ne!(first.request_id(), second.request_id());
    let Begun::Redirect { url, .. } = first else { panic!("not a redirect") };
    assert_eq!(parameters(&url).len(), 2);
}

#[test]
fn what_cannot_be_begun_says_why() {
    let (mut sp, mut idp) = sides();
    let long = "x".repeat(81);
    let ask = Ask { relay_state: Some(&long), ..Ask::default() };
    assert_eq!(Saml.begin(&sp, &idp, &ask, clock::now()), Err(RequestFault::RelayState));
    sp.keys.clear();
    assert_eq!(Saml.begin(&sp, &idp, &Ask::default(), clock::now()), Err(RequestFault::Key));
    idp.want_authn_requests_signed = false;
    idp.sso_redirect_url = None;
    idp.sso_post_url = None;
    assert_eq!(Saml.begin(&sp, &idp, &Ask::default(), clock::now()), Err(RequestFault::NoAddress));
}

#[test]
fn our_metadata_names_every_key_for_both_uses() {
    let (sp, _) = sides();
    let metadata = Saml.own_metadata(&sp);
    for key in &sp.keys {
        key.check().unwrap();
        let certificate: String = key.certificate_pem.lines().filter(|line| !line.starts_with("-----")).collect();
        assert_eq!(metadata.matches(&certificate).count(), 2);
        let facts = certificate_facts(&key.certificate_pem).unwrap();
        assert!(facts.not_before < clock::now() && clock::now() < facts.not_after);
    }
    assert_eq!(Saml.read_metadata(&metadata), Err(MetadataFault::NoIdentityProvider));
}

#[test]
fn a_key_with_the_certificate_of_another_is_found_out() {
    let (sp, _) = sides();
    let mixed = SpKey {
        private_key_pem: sp.keys[0].private_key_pem.clone(),
        certificate_pem: sp.keys[1].certificate_pem.clone(),
    };
    assert_eq!(mixed.check(), Err(RequestFault::Key));
}
