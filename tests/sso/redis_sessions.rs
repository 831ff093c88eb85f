//! The whole walk with sessions that live in Redis.

use businessos::config::SessionStore;
use serde_json::json;

use crate::enforcement::enrol;
use crate::helpers::Session;
use crate::test_redis::TestRedis;
use crate::world::{World, at_home};

#[tokio::test]
async fn sign_in_step_up_and_its_end_are_the_same_where_redis_keeps_the_sessions() {
    let redis = TestRedis::start();
    let url = redis.url();
    let mut world = World::with(move |settings| {
        at_home(settings);
        settings.sessions.store = SessionStore::Redis;
        settings.redis.url = Some(url.into());
    })
    .await;
    // Sessions that are not in the database are stepped up as people do it.
    let mut key = enrol(&world, &world.owner).await;
    let asked = world.app.post("acme", "/auth/mfa/webauthn/challenge").token(&world.owner).await.json();
    let body = json!({ "ceremony_id": asked["ceremony_id"], "credential": key.get(&asked["publicKey"]) });
    let shown = world.app.post("acme", "/auth/mfa/webauthn/verify").token(&world.owner).json(&body).await;
    world.owner = Session::of(&shown);
    let (liar, connection) = world.with_liar().await;
    let app = &world.app;
    let session = Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
    assert_eq!(app.count("SELECT count(*) FROM auth.sessions").await, 0, "none of them is in the database");
    assert_eq!(app.count("SELECT count(*) FROM auth.sso_sessions").await, 1, "but how it came about is");
    assert_eq!(app.get("acme", "/auth/me").token(&session).await.json()["email"], "ann@acme.test");
    let next = Session::of(&app.refresh("acme", &session.refresh).await);
    // Out there, and here: the provider is told, and the session is over.
    liar.set_discovery(json!({"end_session_endpoint": format!("{}/bye", liar.issuer)}));
    app.post("acme", &format!("/sso/connections/{connection}/test")).token(&world.owner).await;
    let out = app.post("acme", "/auth/logout").token(&next).await;
    assert_eq!(out.status, 200, "{out:?}");
    assert!(out.json()["end_session_url"].as_str().unwrap().starts_with(&format!("{}/bye?", liar.issuer)), "{out:?}");
    app.get("acme", "/auth/me").token(&next).await.problem(401, "invalid-token");
    app.refresh("acme", &next.refresh).await.problem(401, "session-revoked");
    // A connection that is switched off ends what came by it, wherever that is kept.
    let session = Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
    assert_eq!(world.change(&connection, json!({"enabled": false})).await.status, 200);
    app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
    app.refresh("acme", &session.refresh).await.problem(401, "session-revoked");
}
