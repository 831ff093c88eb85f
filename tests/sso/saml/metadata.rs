//! Providers' metadata by URL: read, read again, and what the test of a connection says about it.

use serde_json::{Value, json};

use super::signer::{Pair, Signer};
use super::stage::{Stage, connect};
use crate::liar::Liar;
use crate::world::World;

/// A connection whose provider publishes its metadata at a URL.
async fn published() -> (Stage, Liar) {
    let world = World::new().await;
    let (idp, place) = (Signer::start(), Liar::start());
    place.set_jwks(&idp.metadata(&[&idp.pair]));
    world.prove(&world.tenant, "acme.test").await;
    let saml = json!({"metadata_xml": null, "metadata_url": format!("{}/jwks", place.issuer)});
    let made = connect(&world, &idp, json!({"jit": true, "domains": ["acme.test"]}), saml).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    (Stage { world, idp, id }, place)
}

#[tokio::test]
async fn a_provider_turns_its_key_over_without_a_failed_sign_in() {
    let (stage, place) = published().await;
    let next = Pair::new();
    let by = |pair: &Pair| json!({"key": pair.key, "cert": pair.certificate});
    assert!(stage.try_sign_in(by(&stage.idp.pair)).await.is_ok());
    assert_eq!(stage.try_sign_in(by(&next)).await, Err("sso-failed".to_owned()));
    // Both are published: both are believed, after the next look.
    place.set_jwks(&stage.idp.metadata(&[&stage.idp.pair, &next]));
    let old = "UPDATE auth.saml_connections SET metadata_tried_at = clock_timestamp() - interval '7 hours'";
    stage.world.app.db.as_admin(old).await;
    stage.run_job("refresh_saml_metadata").await;
    for pair in [&stage.idp.pair, &next] {
        assert!(stage.try_sign_in(by(pair)).await.is_ok());
    }
    // The old one is published no more.
    place.set_jwks(&stage.idp.metadata(&[&next]));
    assert_eq!(stage.act("refresh").await.status, 200);
    assert_eq!(stage.try_sign_in(by(&stage.idp.pair)).await, Err("sso-failed".to_owned()));
    assert!(stage.try_sign_in(by(&next)).await.is_ok());
    let rows = "SELECT count(*) FROM platform.audit_log WHERE action = 'sso_connection.refresh'";
    assert_eq!(stage.world.app.count(rows).await, 2);
    // Nothing new is no change.
    assert_eq!(stage.act("refresh").await.status, 200);
    assert_eq!(stage.world.app.count(rows).await, 2);
}

#[tokio::test]
async fn metadata_that_cannot_be_read_or_is_anothers_changes_nothing_and_is_told() {
    let (stage, place) = published().await;
    let impostor = Signer::with("urn:another:idp", Pair::new());
    for (bad, why) in [
        (impostor.metadata(&[&impostor.pair]), "another provider"),
        ("nonsense".to_owned(), "XML"),
        (stage.idp.metadata(&[]), "certificate"),
        (stage.idp.metadata(&[&stage.idp.pair]).replace("http://127.0.0.1:9/sso", "javascript:alert(1)"), "address"),
    ] {
        place.set_jwks(&bad);
        let reply = stage.act("refresh").await;
        assert_eq!(reply.pointers(), ["/saml/metadata_url"], "{why}");
        let shown = stage.shown().await;
        let error = shown["saml"]["metadata_error"].as_str().unwrap_or_default();
        assert!(error.contains(why), "{why}: {error}");
        let told = stage.act("test").await.json();
        let check = told["checks"].as_array().unwrap().iter().find(|check| check["check"] == "metadata").unwrap();
        assert_eq!(check["state"], "failed", "{told}");
        assert!(check["detail"].as_str().unwrap().contains(why), "{why}: {check}");
    }
    assert!(stage.try_sign_in(json!({})).await.is_ok());
    place.vanish();
    stage.act("refresh").await.problem(422, "validation-failed");
    assert!(stage.try_sign_in(json!({})).await.is_ok(), "a provider's metadata that is away keeps nobody out");
}

#[tokio::test]
async fn a_connection_without_a_url_has_nothing_to_refresh() {
    let stage = Stage::new().await;
    stage.act("refresh").await.problem(409, "conflict");
    let liar = Liar::start();
    let oidc = stage.world.connect(&liar.issuer, json!({})).await;
    for action in ["refresh", "keys", "keys/activate"] {
        let path = format!("/sso/connections/{oidc}/{action}");
        stage.world.app.post("acme", &path).token(&stage.world.owner).await.problem(409, "conflict");
    }
}

#[tokio::test]
async fn a_test_says_what_to_register_and_what_is_wrong() {
    let (stage, place) = published().await;
    // Somebody who answers.
    let there =
        stage.idp.metadata(&[&stage.idp.pair]).replace("http://127.0.0.1:9/sso", &format!("{}/sso", place.issuer));
    let state = |told: &Value, name: &str| {
        let checks = told["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {told}"));
        check["state"].as_str().unwrap().to_owned()
    };
    let told = stage.act("test").await.json();
    assert!(told.to_string().contains(&stage.entity_id()), "{told}");
    assert_eq!((state(&told, "metadata"), state(&told, "certificates")), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(state(&told, "sso_url"), "warning", "nobody listens there: {told}");
    place.set_jwks(&there);
    assert_eq!(state(&stage.act("test").await.json(), "metadata"), "warning", "it says something else now");
    stage.act("refresh").await;
    assert_eq!(state(&stage.act("test").await.json(), "sso_url"), "failed", "404");
    // A certificate that ends soon.
    let soon = Pair::ending_in_days(10);
    place.set_jwks(&stage.idp.metadata(&[&soon]));
    stage.act("refresh").await;
    let told = stage.act("test").await.json();
    assert_eq!(state(&told, "certificates"), "warning", "{told}");
}
