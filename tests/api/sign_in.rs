//! Login, the token it gives, and the questions others ask about it.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::helpers::{App, PASSWORD, Session, spawn_app};

/// Verifies a token as a stranger would who knows the tenant's host only; returns its claims.
pub async fn verify(app: &App, slug: &str, token: &str, audience: &str) -> Value {
    let discovery = app.get(slug, "/.well-known/openid-configuration").await.json();
    let issuer = discovery["issuer"].as_str().unwrap();
    let path = discovery["jwks_uri"].as_str().unwrap().strip_prefix(issuer).expect("keys are at the issuer's host");
    let keys = app.get(slug, path).await.json();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let kid = header.kid.expect("a key id");
    let jwk = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).expect("a published key");
    assert_eq!((&jwk["alg"], &jwk["use"]), (&json!("ES256"), &json!("sig")));
    assert!(jwk.get("d").is_none(), "a private key was published");
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[issuer]);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    jsonwebtoken::decode::<Value>(token, &key, &rules).expect("a good token").claims
}

#[tokio::test]
async fn a_user_signs_in_and_the_token_says_who_they_are() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    let reply = app.try_sign_in("acme", &tenant.owner, PASSWORD).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store");
    let body = reply.json();
    let mut fields: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["access_token", "expires_in", "refresh_token", "session_id", "token_type"]);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(300)));

    let token = body["access_token"].as_str().unwrap();
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().typ.as_deref(), Some("at+jwt"));
    let claims = verify(&app, "acme", token, "businessos").await;
    assert_eq!((&claims["tid"], &claims["sid"]), (&json!(tenant.id), &body["session_id"]));
    assert_eq!((&claims["roles"], &claims["acr"]), (&json!(["owner"]), &json!("aal1")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);

    let me = app.get("acme", "/auth/me").bearer(token).await;
    let expected = json!({
        "id": claims["sub"], "email": tenant.owner, "name": null, "role": "owner", "session_id": body["session_id"],
        "acr": "aal1", "factors": [], "mfa_required": false,
        "tenant": { "id": tenant.id, "name": "acme Ltd", "subdomain": "acme", "plan": "free" },
    });
    assert_eq!((me.status, me.json()), (200, expected));

    for reply in
        [app.get("acme", "/auth/validate").bearer(token).await, app.post("acme", "/auth/validate").bearer(token).await]
    {
        let expected = json!({
            "active": true, "tenant_id": tenant.id, "user_id": claims["sub"], "roles": ["owner"],
            "session_id": body["session_id"], "acr": "aal1", "exp": claims["exp"],
        });
        assert_eq!((reply.status, reply.json()), (200, expected));
        assert_eq!(reply.header("x-tenant-id"), tenant.id);
        assert_eq!(reply.header("x-user-id"), claims["sub"].as_str().unwrap());
        assert_eq!(reply.header("x-user-roles"), "owner");
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn an_address_is_found_in_any_case() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    Session::of(&app.try_sign_in("acme", " OWNER@Acme.TEST ", PASSWORD).await);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    app.onboard("globex").await;
    let wrong = app.try_sign_in("acme", &tenant.owner, "not the password").await;
    wrong.problem(401, "invalid-credentials");
    for (email, password) in [
        ("nobody@acme.test", PASSWORD),
        ("owner@globex.test", PASSWORD),
        ("no address", PASSWORD),
        ("", ""),
        (&tenant.owner, ""),
        (&tenant.owner, &format!("{PASSWORD} ")),
        (&tenant.owner, &"x".repeat(10_000)),
        (&tenant.owner, &format!("{PASSWORD}\0")),
    ] {
        let reply = app.try_sign_in("acme", email, password).await;
        reply.problem(401, "invalid-credentials");
        assert_eq!(reply.anonymous(), wrong.anonymous(), "{email:?} {password:?}");
    }
    assert_eq!(app.count("SELECT count(*) FROM auth.sessions").await, 0);
}

#[tokio::test]
async fn a_suspended_user_cannot_sign_in() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    app.db.as_admin("UPDATE auth.users SET state = 'suspended'").await;
    app.try_sign_in("acme", &tenant.owner, PASSWORD).await.problem(401, "invalid-credentials");
}

#[tokio::test]
async fn bad_bodies_name_the_field() {
    let app = spawn_app(|_| {}).await;
    let (_, session) = app.tenant_with_owner("acme").await;
    for (path, body, pointer) in [
        ("/auth/login", json!({ "email": 1, "password": "p" }), "/email"),
        ("/auth/login", json!({ "email": "a@b.c", "password": ["p"] }), "/password"),
        ("/auth/login", json!({ "email": "a@b.c", "password": "p", "otp": 1 }), "/otp"),
        ("/auth/refresh", json!({ "refresh_token": null }), "/refresh_token"),
        ("/auth/refresh", json!({ "refresh_token": "a", "x": 1 }), "/x"),
        ("/auth/logout", json!({ "all": "yes" }), "/all"),
        ("/auth/logout", json!({ "every": true }), "/every"),
    ] {
        let reply = app.post("acme", path).token(&session).json(&body).await;
        assert_eq!(reply.pointers(), [pointer], "{path} {body}");
    }
    for path in ["/auth/login", "/auth/refresh", "/auth/logout"] {
        let post = || app.post("acme", path).token(&session);
        assert_eq!(post().raw_json(vec![b'['; 300_000]).await.status, 413, "{path}");
        for broken in [&b"{"[..], b"\0", b"{\"\xff\":1}", b"nope"] {
            post().raw_json(broken).await.problem(400, "malformed-request");
        }
        post().header("content-type", "text/plain").body("{}").await.problem(415, "unsupported-media-type");
    }
    // Nothing of this ended the session.
    assert_eq!(app.get("acme", "/auth/me").token(&session).await.status, 200);
}

#[tokio::test]
async fn sign_in_belongs_to_a_tenant() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    let body = json!({ "email": tenant.owner, "password": PASSWORD });
    app.post("localhost", "/auth/login").json(&body).await.problem(404, "unknown-tenant");
    app.post("nobody", "/auth/login").json(&body).await.problem(404, "unknown-tenant");
    for name in ["acme", &tenant.id] {
        Session::of(&app.post("localhost", "/auth/login").header("x-tenant", name).json(&body).await);
    }
}
