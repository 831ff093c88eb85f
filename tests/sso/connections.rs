//! Connections as admins manage them.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::helpers::Session;
use crate::identities;
use crate::liar::Liar;
use crate::world::World;

#[tokio::test]
async fn a_connection_is_made_shown_changed_and_deleted_and_its_secret_never_comes_out() {
    let world = World::new().await;
    let liar = Liar::start();
    let made = world.try_connect(&liar.issuer, json!({"name": "Entra"})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/sso/connections/{id}"));
    assert_eq!(made.json()["redirect_uri"], *world.redirect_uri());
    assert_eq!(made.json()["oidc"]["has_client_secret"], true);
    let path = format!("/sso/connections/{id}");
    let change = json!({"name": "Okta", "jit": true, "role_claim": "groups", "oidc": {"scopes": ["email"]}});
    let changed = world.change(&id, change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let shown = world.app.get("acme", &path).token(&world.owner).await;
    assert_eq!((&shown.json()["name"], &shown.json()["jit"]), (&json!("Okta"), &json!(true)));
    let listed = world.app.get("acme", "/sso/connections").token(&world.owner).await;
    for reply in [&made, &changed, &shown, &listed] {
        assert!(!reply.body.contains("s3cret"), "{reply:?}");
    }
    let n = "SELECT count(*) FROM auth.oidc_connections WHERE position('s3cret' in encode(client_secret_enc, 'escape')) > 0";
    assert_eq!(world.app.count(n).await, 0, "it is in an envelope");
    let n = "SELECT count(*) FROM platform.audit_log WHERE detail::text LIKE '%s3cret%'";
    assert_eq!(world.app.count(n).await, 0);
    world.try_connect(&liar.issuer, json!({"name": "Okta"})).await.problem(409, "conflict");
    assert_eq!(world.app.delete("acme", &path).token(&world.owner).await.status, 204);
    world.app.get("acme", &path).token(&world.owner).await.problem(404, "not-found");
}

#[tokio::test]
async fn every_mistake_is_named() {
    let world = World::new().await;
    let wrong = json!({
        "name": "", "kind": "oidc", "role_map": [{"value": "x", "role": "operator"}], "default_role": "owner",
        "domains": ["nonsense"],
        "oidc": {"client_id": "", "scopes": ["a b"], "post_logout_url": "javascript:x"},
    });
    let reply = world.try_connect("ftp://idp.example", wrong).await;
    assert_eq!(
        reply.pointers(),
        [
            "/default_role",
            "/domains/0",
            "/name",
            "/oidc/client_id",
            "/oidc/issuer",
            "/oidc/post_logout_url",
            "/oidc/scopes",
            "/role_claim",
            "/role_map/0/role"
        ]
    );
    let unproved = world.try_connect("http://127.0.0.1:9", json!({"domains": ["acme.test"]})).await;
    assert_eq!(unproved.pointers(), ["/domains"]);
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_connections").await, 0);
}

#[tokio::test]
async fn the_issuer_of_a_connection_stays() {
    let world = World::new().await;
    let (_liar, connection) = world.with_liar().await;
    let reply = world.change(&connection, json!({"oidc": {"issuer": "https://evil.example"}})).await;
    assert_eq!(reply.pointers(), ["/oidc/issuer"], "who is known under it would be whom the new one names");
}

#[tokio::test]
async fn only_an_owner_has_a_provider_make_owners() {
    let world = World::new().await;
    let (_liar, connection) = world.with_liar().await;
    let admin = world.app.user("acme", "admin").await;
    let admin = world.app.stepped_up("acme", &admin).await;
    let path = format!("/sso/connections/{connection}");
    let owners = json!({"role_claim": "groups", "role_map": [{"value": "board", "role": "owner"}]});
    world.app.patch("acme", &path).token(&admin).json(&owners).await.problem(403, "forbidden");
    assert_eq!(world.app.patch("acme", &path).token(&world.owner).json(&owners).await.status, 200);
    // Nor has an admin any hand in one that does.
    let secret = json!({"oidc": {"client_id": "mine"}});
    world.app.patch("acme", &path).token(&admin).json(&secret).await.problem(403, "forbidden");
    world.app.delete("acme", &path).token(&admin).await.problem(403, "forbidden");
}

#[tokio::test]
async fn a_connection_that_is_switched_off_lets_nobody_in_and_ends_its_sessions() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let session = Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
    let mut browser = Browser::new();
    let there = world.leave(&mut browser, &connection).await;
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    let mut other = Browser::new();
    let elsewhere = world.leave(&mut other, &connection).await;
    let returned = liar.admit(&elsewhere, &liar.claims(&elsewhere, "ann", "ann@acme.test"));
    let code = world.come_back(&mut other, &returned).await.expect("a code");
    assert_eq!(world.change(&connection, json!({"enabled": false})).await.status, 200);
    world.app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
    assert_eq!(world.app.refresh("acme", &session.refresh).await.status, 401);
    assert_eq!(world.come_back(&mut browser, &back).await, Err("not-found".to_owned()));
    world.redeem(&mut other, &code).await.problem(404, "not-found");
    browser.get(&world.url("acme", &format!("/auth/sso/{connection}"))).await.problem(404, "not-found");
    let found = world.app.get("acme", "/auth/sso?email=ann@acme.test").await;
    assert_eq!(found.json()["connections"], json!([]));
}

#[tokio::test]
async fn what_counts_as_a_second_factor_where_an_owner_signs_in_is_an_owners_to_say() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let admin = world.app.user("acme", "admin").await;
    let admin = world.app.stepped_up("acme", &admin).await;
    let path = format!("/sso/connections/{connection}");
    let change = async |body: Value| world.app.patch("acme", &path).token(&admin).json(&body).await;
    assert_eq!(change(json!({"trust_mfa": true})).await.status, 200, "no owner is linked");
    assert_eq!(change(json!({"oidc": {"mfa_acr_values": ["urn:mfa"]}})).await.status, 200);
    identities::link(&world, &liar, &connection, &world.owner, "the-owner").await;
    for body in [json!({"trust_mfa": false}), json!({"oidc": {"mfa_acr_values": ["urn:mfa", "urn:one"]}})] {
        change(body).await.problem(403, "forbidden");
    }
    // Whatever is no matter of keys and factors is the admins' still.
    let other =
        json!({"name": "the same", "trust_mfa": true, "oidc": {"scopes": ["email"], "mfa_acr_values": ["urn:mfa"]}});
    assert_eq!(change(other).await.status, 200);
    assert_eq!(world.change(&connection, json!({"trust_mfa": false})).await.status, 200);
    // A deleted owner is none: who they were at the provider is all that is left of them.
    let emptied = "UPDATE auth.users SET state = 'deleted', email = '', email_norm = 'deleted:' || id
                   WHERE id = (SELECT user_id FROM auth.sso_identities)";
    world.app.db.as_admin(emptied).await;
    assert_eq!(change(json!({"trust_mfa": true})).await.status, 200);
}

#[tokio::test]
async fn a_sign_in_that_waits_for_its_second_factor_ends_with_its_connection_and_with_its_link() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    identities::link(&world, &liar, &connection, &world.owner, "the-owner").await;
    let (authenticator, _) = world.app.enrol_totp("acme", &world.owner).await;
    let waiting = async || {
        let reply = world.sign_in(&liar, &connection, "the-owner", "owner@elsewhere.test").await;
        reply.json()["mfa_token"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
    };
    let finish = async |mfa_token: String| {
        world.app.let_steps_pass().await;
        world.app.verify("acme", &json!({"mfa_token": mfa_token, "code": authenticator.code()})).await
    };
    assert_eq!(finish(waiting().await).await.status, 200);
    let n_sessions = world.n_sessions().await;
    let (by_provider, (by_password, _)) = (waiting().await, world.app.challenge("acme", &world.tenant.owner).await);
    assert_eq!(world.change(&connection, json!({"enabled": false})).await.status, 200);
    // Nor is it good again when the connection is.
    assert_eq!(world.change(&connection, json!({"enabled": true})).await.status, 200);
    finish(by_provider).await.problem(401, "invalid-mfa-token");
    assert_eq!(finish(by_password).await.status, 200, "the password is another matter");

    let (by_provider, (by_password, _)) = (waiting().await, world.app.challenge("acme", &world.tenant.owner).await);
    let unlinked = world.app.delete("acme", &format!("/auth/sso/identities/{connection}")).token(&world.owner).await;
    assert_eq!(unlinked.status, 204, "{unlinked:?}");
    finish(by_provider).await.problem(401, "invalid-mfa-token");
    assert_eq!(finish(by_password).await.status, 200);
    assert_eq!(world.n_sessions().await, n_sessions);
}

#[tokio::test]
async fn where_somebody_signs_in_says_nothing_of_who_there_is() {
    let world = World::new().await;
    let (_liar, _) = world.with_liar().await;
    let answer = async |email: &str| {
        let reply = world.app.get("acme", &format!("/auth/sso?email={email}")).await;
        (reply.status, reply.body)
    };
    let known = answer("owner@acme.test").await;
    assert_eq!(known.0, 200);
    assert_eq!(known, answer("nobody-at-all@acme.test").await);
    assert_eq!(answer("x@elsewhere.test").await, answer("y@gmail.com").await);
    assert_ne!(known, answer("x@elsewhere.test").await);
    assert_eq!(answer("nonsense").await.0, 422);
}

#[tokio::test]
async fn a_test_says_which_document_is_wrong() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let failed = async || {
        let path = format!("/sso/connections/{connection}/test");
        let body = world.app.post("acme", &path).token(&world.owner).await.json();
        let checks = body["checks"].as_array().unwrap().clone();
        let failed = checks.iter().filter(|check| check["state"] == "failed");
        failed.map(|check| check["check"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(failed().await, Vec::<String>::new());
    liar.set_discovery(json!({"issuer": "https://other.example"}));
    assert_eq!(failed().await, ["issuer"]);
    liar.set_discovery(json!({"token_endpoint": "file:///etc/passwd"}));
    assert_eq!(failed().await, ["endpoints"]);
    liar.set_discovery(json!({"id_token_signing_alg_values_supported": ["HS256"]}));
    assert_eq!(failed().await, ["algorithms"]);
    liar.set_discovery(json!({}));
    liar.set_jwks(r#"{"keys": []}"#);
    assert_eq!(failed().await, ["jwks"]);
    liar.set_jwks("nonsense");
    assert_eq!(failed().await, ["jwks"]);
    liar.vanish();
    assert_eq!(failed().await, ["discovery"]);
}
