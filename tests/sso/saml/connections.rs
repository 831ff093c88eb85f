//! Connections of SAML as admins manage them.

use serde_json::{Value, json};

use super::signer::{Pair, Signer};
use super::stage::{Stage, connect};
use crate::liar::Liar;
use crate::world::World;

async fn create(world: &World, saml: Value) -> crate::helpers::Reply {
    let body = json!({"name": format!("idp {}", uuid::Uuid::new_v4()), "kind": "saml", "saml": saml});
    world.app.post("acme", "/sso/connections").token(&world.owner).json(&body).await
}

#[tokio::test]
async fn a_connection_is_made_by_hand_by_pasted_metadata_or_by_url_and_is_the_same() {
    let world = World::new().await;
    let (idp, place) = (Signer::start(), Liar::start());
    let xml = idp.metadata(&[&idp.pair]);
    place.set_jwks(&xml);
    let by_hand = json!({"entity_id": idp.entity_id, "sso_redirect_url": "http://127.0.0.1:9/sso",
                         "certificates": [idp.pair.bare()]});
    for saml in [json!({ "metadata_xml": xml }), json!({"metadata_url": format!("{}/jwks", place.issuer)}), by_hand] {
        let made = create(&world, saml.clone()).await;
        assert_eq!(made.status, 201, "{made:?}");
        let made = made.json();
        let id = made["id"].as_str().unwrap();
        assert_eq!((&made["kind"], &made["oidc"]), (&json!("saml"), &Value::Null));
        assert_eq!(made["redirect_uri"], world.redirect_uri());
        assert_eq!(made["saml"]["sp_entity_id"], world.url("acme", &format!("/auth/sso/{id}/metadata")));
        assert_eq!(made["saml"]["entity_id"], idp.entity_id);
        assert_eq!(made["saml"]["sso_redirect_url"], "http://127.0.0.1:9/sso");
        assert_eq!((&made["saml"]["idp_initiated"], &made["saml"]["want_encrypted"]), (&json!(false), &json!(false)));
        let pem = made["saml"]["certificates"][0].as_str().unwrap().replace(char::is_whitespace, "");
        assert!(pem.contains(&idp.pair.bare()), "{saml}: {pem}");
        assert_eq!(made["saml"]["keys"].as_array().unwrap().len(), 1);
    }
    let listed = world.app.get("acme", "/sso/connections").token(&world.owner).await.json();
    assert_eq!(listed["connections"].as_array().unwrap().len(), 3);
    let first = listed["connections"][0]["id"].as_str().unwrap();
    let path = format!("/sso/connections/{first}");
    assert_eq!(world.app.delete("acme", &path).token(&world.owner).await.status, 204);
    assert_eq!(world.app.count("SELECT count(*) FROM auth.saml_connections").await, 2);
    assert_eq!(world.app.count("SELECT count(*) FROM auth.saml_keys").await, 2);
}

#[tokio::test]
async fn every_mistake_is_named() {
    let world = World::new().await;
    let pair = Pair::new();
    let good =
        json!({"entity_id": "urn:idp", "sso_redirect_url": "http://127.0.0.1:9/", "certificates": [pair.certificate]});
    for (change, pointers) in [
        (json!({"entity_id": "a b"}), vec!["/saml/entity_id"]),
        (json!({"sso_redirect_url": "javascript:alert(1)"}), vec!["/saml/sso_redirect_url"]),
        (json!({"sso_redirect_url": null}), vec!["/saml/sso_redirect_url"]),
        (json!({"certificates": []}), vec!["/saml/certificates"]),
        (json!({"certificates": [pair.certificate, "nonsense"]}), vec!["/saml/certificates/1"]),
        (json!({"metadata_xml": "<x/>"}), vec!["/saml"]),
        (json!({"mfa_contexts": ["a b"]}), vec!["/saml/mfa_contexts"]),
        (
            json!({"logout_url": "javascript:x", "email_attribute": ""}),
            vec!["/saml/email_attribute", "/saml/logout_url"],
        ),
        (json!({"acs": "x"}), vec!["/saml/acs"]),
    ] {
        let mut saml = good.clone();
        for (name, value) in change.as_object().unwrap() {
            saml[name] = value.clone();
        }
        assert_eq!(create(&world, saml).await.pointers(), pointers, "{change}");
    }
    assert_eq!(create(&world, json!({"metadata_xml": "<x/>"})).await.pointers(), ["/saml/metadata_xml"]);
    assert_eq!(create(&world, json!({"metadata_url": "ftp://idp.example"})).await.pointers(), ["/saml/metadata_url"]);
    let both = json!({"name": "x", "kind": "saml", "oidc": {"issuer": "https://idp.example", "client_id": "x"}});
    let reply = world.app.post("acme", "/sso/connections").token(&world.owner).json(&both).await;
    assert_eq!(reply.pointers(), ["/oidc", "/saml"]);
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_connections").await, 0);
    assert_eq!(create(&world, good).await.status, 201);
}

#[tokio::test]
async fn what_a_connection_is_never_changes_and_the_rest_does() {
    let stage = Stage::new().await;
    let (next, other) = (Pair::new(), Signer::with("urn:another:idp", Pair::new()));
    for (body, pointer) in [
        (json!({"saml": {"entity_id": "urn:another"}}), "/saml/entity_id"),
        (json!({"saml": {"subject_attribute": "x"}}), "/saml/subject_attribute"),
        (json!({"saml": {"metadata_xml": other.metadata(&[&other.pair])}}), "/saml"),
        (json!({"oidc": {"client_id": "x"}}), "/oidc"),
    ] {
        assert_eq!(stage.world.change(&stage.id, body).await.pointers(), [pointer]);
    }
    let by_hand = json!({"saml": {"certificates": [stage.idp.pair.certificate, next.certificate],
                                  "idp_initiated": true, "email_attribute": "mail"}});
    stage.change(by_hand).await;
    let shown = stage.shown().await;
    assert_eq!(shown["saml"]["certificates"].as_array().unwrap().len(), 2);
    assert_eq!((&shown["saml"]["idp_initiated"], &shown["saml"]["email_attribute"]), (&json!(true), &json!("mail")));
    assert!(stage.try_sign_in(json!({"key": next.key, "attributes": {"mail": ["ann@acme.test"]}})).await.is_ok());
    stage.change(json!({"saml": {"email_attribute": ""}})).await;
    assert_eq!(stage.shown().await["saml"]["email_attribute"], Value::Null);
}

#[tokio::test]
async fn what_metadata_by_url_says_is_not_set_by_hand_beside_it() {
    let stage = Stage::new().await;
    let place = Liar::start();
    place.set_jwks(&stage.idp.metadata(&[&stage.idp.pair]));
    stage.change(json!({"saml": {"metadata_url": format!("{}/jwks", place.issuer)}})).await;
    let by_hand = json!({"saml": {"certificates": [Pair::new().certificate]}});
    assert_eq!(stage.world.change(&stage.id, by_hand.clone()).await.pointers(), ["/saml"]);
    let taken_away = json!({"saml": {"metadata_url": "", "certificates": by_hand["saml"]["certificates"]}});
    stage.change(taken_away).await;
    assert_eq!(stage.try_sign_in(json!({})).await, Err("sso-failed".to_owned()));
}

#[tokio::test]
async fn where_it_is_the_only_way_a_connection_of_saml_counts_as_one() {
    let stage = Stage::new().await;
    let found = stage.world.app.get("acme", "/auth/sso?email=ann@acme.test").await.json();
    assert_eq!((&found["connections"][0]["id"], &found["connections"][0]["kind"]), (&json!(stage.id), &json!("saml")));
    // A name is one connection's, whatever the kinds.
    let name = stage.shown().await["name"].clone();
    let reply = connect(&stage.world, &stage.idp, json!({ "name": name }), json!({})).await;
    reply.problem(409, "conflict");
}

#[tokio::test]
async fn the_keys_of_a_provider_that_an_owner_signs_in_by_are_an_owners_to_change() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let admin = world.app.user("acme", "admin").await;
    let admin = world.app.stepped_up("acme", &admin).await;
    let path = format!("/sso/connections/{}", stage.id);
    let keys = |pair: &Pair| json!({"saml": {"certificates": [pair.certificate]}});
    let change = async |body: Value| world.app.patch("acme", &path).token(&admin).json(&body).await;
    assert_eq!(change(keys(&Pair::new())).await.status, 200, "nobody is linked");
    let linked = format!(
        "INSERT INTO auth.sso_identities (tenant_id, connection_id, subject, user_id)
         SELECT tenant_id, '{}', 'the-owner', id FROM auth.users WHERE role = 'owner'
           AND tenant_id = (SELECT tenant_id FROM platform.tenants WHERE slug = 'acme')",
        stage.id
    );
    world.app.db.as_admin(&linked).await;
    for body in [keys(&Pair::new()), json!({"trust_mfa": true})] {
        change(body).await.problem(403, "forbidden");
    }
    assert_eq!(change(json!({"name": "the same by another name"})).await.status, 200);
    stage.change(keys(&Pair::new())).await;
}
