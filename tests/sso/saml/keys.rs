//! The platform's own keys: published, used, turned over, and never shown.

use serde_json::{Value, json};

use super::stage::Stage;
use crate::browser::{Browser, parameter};

fn key(shown: &Value, state: &str) -> Option<Value> {
    shown["saml"]["keys"].as_array().unwrap().iter().find(|key| key["state"] == state).cloned()
}

async fn metadata(stage: &Stage) -> String {
    let reply = stage.world.app.get("acme", &format!("/auth/sso/{}/metadata", stage.id)).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/samlmetadata+xml"));
    reply.body
}

/// A certificate as metadata has it.
fn bare(key: &Value) -> String {
    key["certificate"].as_str().unwrap().lines().filter(|line| !line.starts_with("-----")).collect()
}

#[tokio::test]
async fn assertions_encrypted_to_any_published_key_are_read_while_keys_turn_over() {
    let stage = Stage::with(json!({"want_encrypted": true})).await;
    let encrypted = |key: &Value| json!({"encrypt": key["certificate"], "sign_response": true, "sign_assertion": true});
    assert_eq!(stage.try_sign_in(json!({})).await, Err("sso-failed".to_owned()));
    assert_eq!(stage.reason().await, "not_encrypted");
    let first = key(&stage.shown().await, "active").expect("a key");
    assert!(stage.try_sign_in(encrypted(&first)).await.is_ok());
    // Only the provider can have made what is decrypted.
    let unsigned = json!({"encrypt": first["certificate"], "sign_response": false});
    assert_eq!(stage.try_sign_in(unsigned).await, Err("sso-failed".to_owned()));
    assert_eq!(stage.reason().await, "encrypted_but_response_unsigned");

    let added = stage.act("keys").await;
    assert_eq!(added.status, 201, "{added:?}");
    let next = key(&added.json(), "next").expect("a key that waits");
    stage.act("keys").await.problem(409, "conflict");
    let published = metadata(&stage).await.replace(char::is_whitespace, "");
    assert!(published.contains(&bare(&first)) && published.contains(&bare(&next)), "both are published");
    for key in [&first, &next] {
        assert!(stage.try_sign_in(encrypted(key)).await.is_ok());
    }
    assert_eq!(stage.act("keys/activate").await.status, 200);
    stage.act("keys/activate").await.problem(409, "conflict");
    let shown = stage.shown().await;
    assert_eq!(
        (&key(&shown, "active").unwrap()["id"], &key(&shown, "retiring").unwrap()["id"]),
        (&next["id"], &first["id"])
    );
    for key in [&first, &next] {
        assert!(stage.try_sign_in(encrypted(key)).await.is_ok());
    }
    // The next rotation lets the oldest go.
    assert_eq!(stage.act("keys").await.status, 201);
    assert_eq!(stage.try_sign_in(encrypted(&first)).await, Err("sso-failed".to_owned()));
    assert_eq!(stage.reason().await, "decryption_failed");
}

#[tokio::test]
async fn requests_are_signed_where_the_provider_wants_it() {
    let stage = Stage::new().await;
    let mut browser = Browser::new();
    let there = stage.world.leave(&mut browser, &stage.id).await;
    assert_eq!(parameter(&there, "Signature"), None);
    let signed = stage
        .idp
        .metadata(&[&stage.idp.pair])
        .replace("<md:IDPSSODescriptor ", "<md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\" ");
    stage.change(json!({"saml": {"metadata_xml": signed}})).await;
    let there = stage.world.leave(&mut browser, &stage.id).await;
    assert_eq!(parameter(&there, "SigAlg").as_deref(), Some("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"));
    assert!(parameter(&there, "Signature").is_some());
}

#[tokio::test]
async fn a_provider_that_takes_forms_only_gets_one_that_a_strict_page_sends() {
    let stage = Stage::new().await;
    let by_post = stage.idp.metadata(&[&stage.idp.pair]).replace("HTTP-Redirect", "HTTP-POST");
    stage.change(json!({"saml": {"metadata_xml": by_post}})).await;
    let mut browser = Browser::new();
    let page = browser.get(&stage.world.url("acme", &format!("/auth/sso/{}", stage.id))).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none';script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(page.body.contains("action=\"http://127.0.0.1:9/sso\""), "{}", page.body);
    let value = |name: &str| {
        let rest = page.body.split(&format!("name=\"{name}\" value=\"")).nth(1).expect("a field");
        rest.split('"').next().unwrap().to_owned()
    };
    use base64::Engine as _;
    let xml = base64::engine::general_purpose::STANDARD.decode(value("SAMLRequest")).expect("base64");
    let xml = String::from_utf8(xml).unwrap();
    let left = super::signer::Left { id: String::new(), relay_state: value("RelayState"), xml };
    let left = super::signer::Left { id: left.attribute("ID").unwrap().to_owned(), ..left };
    assert!(stage.come_back(&mut browser, &stage.answer(&left, json!({})), &left.relay_state).await.is_ok());
}

#[tokio::test]
async fn private_keys_are_in_envelopes_and_never_come_out() {
    let stage = Stage::new().await;
    stage.act("keys").await;
    let app = &stage.world.app;
    let plain =
        "SELECT count(*) FROM auth.saml_keys WHERE position('PRIVATE KEY' in encode(private_key_enc, 'escape')) > 0";
    assert_eq!(app.count(plain).await, 0);
    assert_eq!(app.count("SELECT count(*) FROM auth.saml_keys WHERE length(private_key_enc) > 1000").await, 2);
    let shown = stage.shown().await.to_string() + &metadata(&stage).await;
    assert!(!shown.contains("PRIVATE"), "{shown}");
    let logged = "SELECT count(*) FROM platform.audit_log WHERE detail::text LIKE '%PRIVATE%'";
    assert_eq!(app.count(logged).await, 0);
}
