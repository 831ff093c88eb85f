use super::*;
use crate::domain::assurance::Acr;
use crate::domain::sso::assurance;

fn settings() -> SamlSettings {
    SamlSettings {
        idp_entity_id: "urn:idp".to_owned(),
        sso_redirect_url: None,
        sso_post_url: None,
        wants_signed_requests: false,
        certificates: Vec::new(),
        metadata_url: None,
        metadata_read_at: None,
        metadata_tried_at: None,
        metadata_error: None,
        idp_initiated: false,
        want_encrypted: false,
        subject_attribute: None,
        email_attribute: None,
        name_attribute: None,
        mfa_contexts: vec![REFEDS_MFA.to_owned()],
        logout_url: None,
    }
}

fn said(attributes: &[(&str, &[&str])]) -> Said {
    let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Said {
        name_id: "ann@acme.example".to_owned(),
        name_id_format: EMAIL_ADDRESS.to_owned(),
        authn_instant: DateTime::from_timestamp(1_000, 0),
        authn_context: Some(REFEDS_MFA.to_owned()),
        attributes: attributes.iter().map(|(name, values)| ((*name).to_owned(), own(values))).collect(),
    }
}

fn person(attributes: &[(&str, &[&str])]) -> Person {
    said(attributes).person(&settings(), None).expect("a person")
}

#[test]
fn people_are_described_as_entra_ldap_and_okta_do_it() {
    let entra = person(&[
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", &["a@entra.example"]),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname", &["Ann"]),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname", &["Smith"]),
        ("http://schemas.microsoft.com/ws/2008/06/identity/claims/groups", &["1", "2"]),
    ]);
    assert_eq!(entra.email, Some(("a@entra.example".to_owned(), None)));
    assert_eq!(entra.name.as_deref(), Some("Ann Smith"));
    assert_eq!(entra.role_values, ["1", "2"]);
    let ldap = person(&[("urn:oid:0.9.2342.19200300.100.1.3", &["a@ldap.example"]), ("urn:oid:2.5.4.42", &["Ann"])]);
    assert_eq!((ldap.email, ldap.name), (Some(("a@ldap.example".to_owned(), None)), None));
    let okta = person(&[("email", &["a@okta.example"]), ("displayName", &["Ann"]), ("groups", &["it"])]);
    assert_eq!((okta.name.as_deref(), okta.role_values), (Some("Ann"), vec!["it".to_owned()]));
}

#[test]
fn a_name_that_is_an_address_is_one_where_nothing_else_is_said() {
    assert_eq!(person(&[]).email, Some(("ann@acme.example".to_owned(), None)));
    let mut other = said(&[]);
    other.name_id_format = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified".to_owned();
    assert_eq!(other.person(&settings(), None).expect("a person").email, None);
}

#[test]
fn of_two_addresses_none_is_believed() {
    let two = said(&[("mine", &["a@x.example", "b@x.example"])]);
    let settings = SamlSettings { email_attribute: Some("mine".to_owned()), ..settings() };
    assert_eq!(two.person(&settings, None).expect("a person").email, None);
}

#[test]
fn whoever_is_not_named_for_good_is_nobody() {
    let mut transient = said(&[]);
    transient.name_id_format = TRANSIENT.to_owned();
    assert_eq!(transient.person(&settings(), None), None);
    let by_object = SamlSettings { subject_attribute: Some("object".to_owned()), ..settings() };
    assert_eq!(said(&[]).person(&by_object, None), None, "the name does not stand in for it");
    let named = said(&[("object", &["o-1"])]).person(&by_object, None).expect("a person");
    assert_eq!(named.subject, "o-1");
    for bad in ["", "  ", "a\u{0}b", &"x".repeat(256)] {
        assert_eq!(said(&[("object", &[bad])]).person(&by_object, None), None, "{bad:?}");
    }
}

#[test]
fn a_class_of_authentication_counts_where_it_is_listed_and_dated() {
    let said = said(&[]);
    assert_eq!(assurance(&said.proof(), true, &settings().mfa_contexts), Acr::Aal2);
    assert_eq!(assurance(&said.proof(), false, &settings().mfa_contexts), Acr::Aal1);
    assert_eq!(assurance(&said.proof(), true, &[]), Acr::Aal1);
    let undated = Said { authn_instant: None, ..said };
    assert_eq!(assurance(&undated.proof(), true, &settings().mfa_contexts), Acr::Aal1);
}

#[test]
fn people_of_entra_are_known_by_their_object() {
    assert_eq!(
        defaults_of("https://sts.windows.net/1/"),
        (Some(ENTRA_OBJECT.to_owned()), vec![MICROSOFT_MFA.to_owned()])
    );
    assert_eq!(defaults_of("https://sts.windows.net.evil.example/").0, None);
}
