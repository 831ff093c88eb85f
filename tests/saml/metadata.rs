//! Metadata of providers: what is read of documents as providers publish them, and what admins are told of others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use businessos::clients::saml::{MetadataFault, Saml, SamlVerifier as _, SpKey};
use businessos::clock;

const MD: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
const SAMLP: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
const BINDING: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP";

fn certificate(name: &str) -> String {
    let key = SpKey::generate(name, clock::now()).unwrap();
    key.certificate_pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

fn key(purpose: &str, certificate: &str) -> String {
    format!(
        "<md:KeyDescriptor{purpose}><ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:X509Data><ds:X509Certificate>\n\
         {certificate}\n</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
    )
}

fn service(binding: &str, location: &str) -> String {
    format!("<md:SingleSignOnService Binding=\"{binding}\" Location=\"{location}\"/>")
}

/// A description of a provider around these parts.
pub fn entity(id: &str, inside: &str) -> String {
    format!(
        "<md:EntityDescriptor xmlns:md=\"{MD}\" entityID=\"{id}\" validUntil=\"2031-01-02T03:04:05.678Z\">\
         <md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\" protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:1.1:protocol\n\
         {SAMLP}\">{inside}</md:IDPSSODescriptor></md:EntityDescriptor>"
    )
}

pub fn good() -> (String, String) {
    let (first, second) = (certificate("first"), certificate("second"));
    let keys = [
        key(" use=\"signing\"", &first),
        key("", &second),
        key(" use=\"signing\"", &first),
        key(" use=\"encryption\"", &certificate("not for signatures")),
    ]
    .concat();
    let services = [
        service("urn:mace:shibboleth:1.0:profiles:AuthnRequest", "https://idp.example/shibboleth"),
        service(&format!("{BINDING}-POST"), "https://idp.example/post"),
        service(&format!("{BINDING}-Redirect"), "https://idp.example/redirect?a=1&amp;b=2"),
    ]
    .concat();
    (format!("{keys}{services}"), first)
}

#[test]
fn what_providers_publish_is_read_with_both_keys_of_a_rollover() {
    let (inside, first) = good();
    let text = format!("\u{feff}<?xml version=\"1.0\"?>\n<!-- made by hand -->{}\n", entity("urn:idp", &inside));
    let read = Saml.read_metadata(&text).unwrap();
    assert_eq!(read.entity_id, "urn:idp");
    assert_eq!(read.sso_post_url.as_deref(), Some("https://idp.example/post"));
    assert_eq!(read.sso_redirect_url.as_deref(), Some("https://idp.example/redirect?a=1&b=2"));
    assert!(read.want_authn_requests_signed);
    assert_eq!(read.valid_until.unwrap().to_rfc3339(), "2031-01-02T03:04:05.678+00:00");
    assert_eq!(read.certificates.len(), 2, "the one for encryption is not among them, and none is there twice");
    assert_eq!(read.certificates[0].lines().filter(|line| !line.starts_with('-')).collect::<String>(), first);
    // One provider among services is found; of two, none is chosen.
    let group = |more: &str| {
        let service = format!(
            "<md:EntityDescriptor entityID=\"urn:sp\"><md:SPSSODescriptor protocolSupportEnumeration=\"{SAMLP}\"/></md:EntityDescriptor>"
        );
        format!(
            "<md:EntitiesDescriptor xmlns:md=\"{MD}\">{service}{}{more}</md:EntitiesDescriptor>",
            entity("urn:idp", &inside)
        )
    };
    assert_eq!(Saml.read_metadata(&group("")).unwrap().entity_id, "urn:idp");
    assert_eq!(Saml.read_metadata(&group(&entity("urn:other", &inside))), Err(MetadataFault::NotOneProvider(2)));
}

#[test]
fn admins_are_told_what_is_wrong_with_metadata() {
    let (inside, first) = good();
    let post = service(&format!("{BINDING}-POST"), "https://idp.example/post");
    let many: String = (0..9).map(|number| key("", &certificate(&number.to_string()))).collect();
    let fault = |text: &str| Saml.read_metadata(text).unwrap_err();
    let not_xml = |text: &str| assert!(matches!(fault(text), MetadataFault::NotXml(_)), "{text}");
    not_xml("");
    not_xml("<md:EntityDescriptor");
    not_xml("https://idp.example/metadata");
    not_xml(&format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{}", entity("urn:idp", &inside)));
    assert_eq!(fault(&" ".repeat(1024 * 1024 + 1)), MetadataFault::TooLarge);
    assert_eq!(fault("<html/>"), MetadataFault::NotMetadata);
    assert_eq!(fault(&entity("", &inside)), MetadataFault::EntityId);
    assert_eq!(fault(&entity("urn: idp", &inside)), MetadataFault::EntityId);
    assert_eq!(fault(&entity(&"a".repeat(1025), &inside)), MetadataFault::EntityId);
    assert_eq!(fault(&entity("urn:idp", &inside).replace("IDPSSO", "SPSSO")), MetadataFault::NoIdentityProvider);
    assert_eq!(fault(&entity("urn:idp", &inside).replace(SAMLP, "urn:x")), MetadataFault::NoIdentityProvider);
    assert_eq!(fault(&entity("urn:idp", &key("", &first))), MetadataFault::NoAddress);
    assert_eq!(fault(&entity("urn:idp", &post)), MetadataFault::NoCertificate);
    assert_eq!(fault(&entity("urn:idp", &format!("{many}{post}"))), MetadataFault::TooManyCertificates(8));
    assert_eq!(fault(&entity("urn:idp", &inside).replace("2031-", "soon-")), MetadataFault::ValidUntil);
    for location in ["javascript:alert(1)", "/sso", "https:///sso", "ftp://idp.example/", "https://idp.example/#a"] {
        let address = fault(&entity("urn:idp", &service(&format!("{BINDING}-POST"), location)));
        assert_eq!(address, MetadataFault::Address(location.to_owned()));
    }
    for (text, why) in [
        ("%%%", "it is not Base64"),
        ("AAAA", "it is not an X.509 certificate of an RSA, P-256 or P-384 key"),
        (SHORT_KEY, "its RSA key is shorter than 2048 bits"),
    ] {
        let certificate = fault(&entity("urn:idp", &format!("{}{}{post}", key("", &first), key("", text))));
        assert_eq!(certificate, MetadataFault::Certificate { position: 2, why });
    }
    assert!(STANDARD.decode(SHORT_KEY).is_ok());
}

/// A self-signed certificate of an RSA key of 1024 bits.
const SHORT_KEY: &str = "MIIB/jCCAWegAwIBAgIUIbD8zXv312PBip1xjUl4wKyMGMkwDQYJKoZIhvcNAQELBQAwEDEOMAwGA1UEAwwFc2hvcnQwIBcNMjYxMTIyMTIyNz\
    E5WhgPMjEyNjEwMjkxMjI3MTlaMBAxDjAMBgNVBAMMBXNob3J0MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDUzb+evgmyX6JEUfz4iHW0\
    B+e9D7gpcpQD36n5LY7OoRAh4bhWHBS0Pk6nXBEBbo/0tPfmsj8MNekGmhPb7Fi0fuuCCuZHFVCQFU7JwdObP7qgVu32bkUnSEvTqt6h0wF5tm\
    L0xr9FEiUIuUTPnx9f+U59kzcc2aDFC7MUc6bA+QIDAQABo1MwUTAdBgNVHQ4EFgQULjJp42f/g9g+N+yeTkBXyCQpOWEwHwYDVR0jBBgwFoAU\
    LjJp42f/g9g+N+yeTkBXyCQpOWEwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOBgQAXoKGzLVHt494YmP6/hJ0/3p/tJaJWKl02vd\
    Y3IWRqjQLWydMB/jLWEsJwRS8NqOoX5EPgAXHbhoB3RRmO/gwzo1xUfIXu66uUMBpGSHeZlttHInJonjHrDD6pjgaxbx1ply3/pkq4WB4JXwp3\
    SNy2/bNuwN80SwSqSUi6Typb6A==";
