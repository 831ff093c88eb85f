//! The abuse corpus: every good response is accepted, every bad one refused, and nothing is accepted that python3-saml refuses.

use businessos::clients::saml::SamlRefusal;

use crate::corpus::{Corpus, Expected, Opinion};

/// What some cases must be refused for: a corpus that is refused for the wrong reason proves nothing.
const REASONS: &[(&str, SamlRefusal)] = &[
    ("unsigned", SamlRefusal::Unsigned),
    ("signature taken away", SamlRefusal::Unsigned),
    ("signature of a stranger", SamlRefusal::SignatureInvalid),
    ("name changed", SamlRefusal::SignatureInvalid),
    ("value of an attribute changed", SamlRefusal::SignatureInvalid),
    ("assertion of a stranger in a signed response", SamlRefusal::SignatureInvalid),
    ("RSA-SHA1", SamlRefusal::AlgorithmRefused),
    ("SHA-1 as digest", SamlRefusal::AlgorithmRefused),
    ("HMAC-SHA256 with the certificate as secret", SamlRefusal::AlgorithmRefused),
    ("XPath takes the name out of what is signed", SamlRefusal::Malformed),
    ("another audience", SamlRefusal::AudienceMismatch),
    ("a second restriction that leaves us out", SamlRefusal::AudienceMismatch),
    ("no audience", SamlRefusal::AudienceMismatch),
    ("another issuer of the assertion", SamlRefusal::IssuerMismatch),
    ("another issuer of the response", SamlRefusal::IssuerMismatch),
    ("another destination", SamlRefusal::DestinationMismatch),
    ("no destination", SamlRefusal::DestinationMismatch),
    ("another recipient", SamlRefusal::RecipientMismatch),
    ("answer to another request", SamlRefusal::InResponseToMismatch),
    ("assertion to no request", SamlRefusal::InResponseToMismatch),
    ("answer where nobody asked", SamlRefusal::Unsolicited),
    ("status Requester", SamlRefusal::StatusNotSuccess),
    ("status without an assertion", SamlRefusal::StatusNotSuccess),
    ("conditions have ended", SamlRefusal::Expired),
    ("confirmation has ended", SamlRefusal::Expired),
    ("conditions begin later", SamlRefusal::NotYetValid),
    ("conditions for a year", SamlRefusal::ValidTooLong),
    ("holder of key", SamlRefusal::NotBearer),
    ("an attribute of one name twice", SamlRefusal::UnusableClaims),
    ("encrypted, the response unsigned", SamlRefusal::EncryptedButResponseUnsigned),
    ("encrypted for somebody else", SamlRefusal::DecryptionFailed),
    ("encrypted, no XML inside", SamlRefusal::DecryptionFailed),
    ("encrypted by RSA PKCS 1", SamlRefusal::AlgorithmRefused),
    ("encrypted, about another audience", SamlRefusal::AudienceMismatch),
    ("ciphertext changed after the signature", SamlRefusal::SignatureInvalid),
    ("not encrypted where that is demanded", SamlRefusal::NotEncrypted),
    ("comment in the name", SamlRefusal::NotXml),
    ("too large", SamlRefusal::TooLarge),
    ("XSW 3: another assertion before the signed one", SamlRefusal::Malformed),
];

#[test]
fn every_good_response_is_accepted_every_bad_one_refused_and_nothing_that_python3_saml_refuses_or_reads_otherwise() {
    let corpus = Corpus::generate();
    let mut wrong = Vec::new();
    for case in &corpus.cases {
        let verdict = corpus.verify(case);
        match (&verdict, case.expect) {
            (Ok(_), Expected::Accept) | (Err(_), Expected::Refuse) => {}
            (Ok(believed), Expected::Refuse) => wrong.push(format!("accepted, of {}: {}", believed.name_id, case.name)),
            (Err(refusal), Expected::Accept) => wrong.push(format!("refused for {refusal}: {}", case.name)),
        }
        if let Ok(believed) = &verdict {
            match case.python3_saml {
                Opinion::Refused => wrong.push(format!("python3-saml refuses it ({:?}): {}", case.why, case.name)),
                Opinion::Accepted if case.name_id.as_ref() != Some(&believed.name_id) => {
                    wrong.push(format!("{} is {:?} to python3-saml: {}", believed.name_id, case.name_id, case.name));
                }
                Opinion::Accepted | Opinion::Unable => {}
            }
        }
    }
    let good = corpus.cases.iter().filter(|case| case.expect == Expected::Accept).count();
    println!("{good} good and {} bad responses", corpus.cases.len() - good);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(good >= 30 && corpus.cases.len() - good >= 200, "the corpus has shrunk");
}

#[test]
fn responses_are_refused_for_what_is_wrong_with_them() {
    let corpus = Corpus::generate();
    let wrong: Vec<_> = REASONS
        .iter()
        .map(|(name, reason)| (name, reason, corpus.verify(corpus.case(name)).err()))
        .filter(|(_, reason, found)| found.as_ref() != Some(reason))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_believed_is_what_the_assertion_says() {
    let corpus = Corpus::generate();
    for name in ["assertion signed", "response signed", "encrypted by aes256-cbc with rsa-oaep-mgf1p sha1"] {
        let case = corpus.case(name);
        let believed = corpus.verify(case).unwrap();
        assert_eq!(believed.name_id, "ada@customer.example");
        assert_eq!(believed.name_id_format, "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress");
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let attributes = [
            ("mail".to_owned(), texts(&["ada@customer.example"])),
            ("groups".to_owned(), texts(&["staff", "engineers"])),
        ];
        assert_eq!(believed.attributes, attributes);
        assert!(believed.assertion_id.starts_with('_'));
        assert!(believed.session_index.is_some());
        let seconds = |moment: chrono::DateTime<chrono::Utc>| (moment - corpus.now).num_seconds();
        assert_eq!(believed.authn_instant.map(seconds), Some(-5));
        assert_eq!(believed.session_not_on_or_after.map(seconds), Some(3600));
        assert_eq!(seconds(believed.keep_until), 360);
        let context = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport";
        assert_eq!(believed.authn_context.as_deref(), Some(context));
    }
    let fingerprint = |name| corpus.verify(corpus.case(name)).unwrap().signed_by;
    assert_ne!(fingerprint("assertion signed"), fingerprint("signed by the certificate that comes next"));
}

#[test]
fn only_the_stored_certificates_are_trusted() {
    let mut corpus = Corpus::generate();
    let certificates = corpus.idp.certificates.clone();
    let old = corpus.verify(corpus.case("assertion signed")).unwrap().signed_by;
    // After the rollover, the old key is nobody's.
    corpus.idp.certificates = certificates[1..].to_vec();
    assert_eq!(corpus.verify(corpus.case("assertion signed")), Err(SamlRefusal::SignatureInvalid));
    let next = corpus.verify(corpus.case("signed by the certificate that comes next")).unwrap();
    assert_ne!(next.signed_by, old);
    corpus.idp.certificates.clear();
    assert_eq!(corpus.verify(corpus.case("assertion signed")), Err(SamlRefusal::ConnectionUnusable));
}

#[test]
fn a_response_for_one_connection_is_nothing_in_another() {
    let mut corpus = Corpus::generate();
    let genuine = std::mem::replace(&mut corpus.sp.entity_id, "https://app.example/saml/metadata/2".to_owned());
    assert_eq!(corpus.verify(corpus.case("assertion signed")), Err(SamlRefusal::AudienceMismatch));
    corpus.sp.entity_id = genuine;
    corpus.sp.acs_url = "https://app.example/sso/callback/saml/2".to_owned();
    assert_eq!(corpus.verify(corpus.case("assertion signed")), Err(SamlRefusal::DestinationMismatch));
}

#[test]
fn any_of_our_keys_decrypts_so_that_they_can_be_changed() {
    let mut corpus = Corpus::generate();
    let name = "encrypted by aes256-gcm with rsa-oaep-mgf1p sha1";
    let newer = businessos::clients::saml::SpKey::generate("newer", corpus.now).unwrap();
    corpus.sp.keys.insert(0, newer);
    assert!(corpus.verify(corpus.case(name)).is_ok());
    corpus.sp.keys.truncate(1);
    assert_eq!(corpus.verify(corpus.case(name)), Err(SamlRefusal::DecryptionFailed));
}
