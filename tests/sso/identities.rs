//! Whom a user is at the providers, as they see and undo it themselves.

use serde_json::json;

use crate::browser::{Browser, location};
use crate::helpers::Session;
use crate::liar::Liar;
use crate::world::World;

/// Has a signed-in user link the person `sub`.
pub async fn link(world: &World, liar: &Liar, connection: &str, session: &Session, sub: &str) {
    let mut browser = Browser::new();
    let body = json!({ "connection": connection });
    let reply = world.app.post("acme", "/auth/sso/link").token(session).json(&body).await;
    let start = reply.json()["start_url"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned();
    let there = location(&start, &browser.get(&start).await);
    let back = liar.admit(&there, &liar.claims(&there, sub, "x@elsewhere.test"));
    let code = world.come_back(&mut browser, &back).await.expect("a code");
    let cookie = format!("bos_sso={}", browser.cookie("acme.localhost", "bos_sso").unwrap());
    let request = world.app.post("acme", "/auth/sso/token").header("cookie", &cookie).token(session);
    assert_eq!(request.json(&json!({ "code": code })).await.status, 204);
}

#[tokio::test]
async fn a_user_sees_their_own_identities_and_undoes_one() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let (app, owner) = (&world.app, &world.owner);
    let mine = async |session: &Session| app.get("acme", "/auth/sso/identities").token(session).await.json();
    assert_eq!(mine(owner).await, json!({"identities": []}));
    link(&world, &liar, &connection, owner, "the-owner").await;
    let shown = mine(owner).await;
    let identity = &shown["identities"][0];
    assert_eq!((&identity["connection"], &identity["subject"]), (&json!(connection), &json!("the-owner")), "{shown}");
    assert_eq!((&identity["enabled"], shown["identities"].as_array().unwrap().len()), (&json!(true), 1), "{shown}");
    // Somebody else's is not among them, and is not theirs to undo.
    let member = app.user("acme", "member").await;
    assert_eq!(mine(&member).await, json!({"identities": []}));
    let path = format!("/auth/sso/identities/{connection}");
    app.delete("acme", &path).token(&member).await.problem(404, "not-found");
    // A session that came by it ends with it; the one that asks stays.
    let by_provider = Session::of(&world.sign_in(&liar, &connection, "the-owner", "x@elsewhere.test").await);
    assert_eq!(app.delete("acme", &path).token(owner).await.status, 204);
    app.get("acme", "/auth/me").token(&by_provider).await.problem(401, "invalid-token");
    assert_eq!(mine(owner).await, json!({"identities": []}));
    app.delete("acme", &path).token(owner).await.problem(404, "not-found");
    let refused = world.try_sign_in(&liar, &connection, |claims| {
        claims["sub"] = json!("the-owner");
        claims["email"] = json!("x@elsewhere.test");
    });
    assert_eq!(refused.await.err().as_deref(), Some("sso-link-required"));
    assert_eq!(app.count("SELECT count(*) FROM platform.audit_log WHERE action = 'sso.unlink'").await, 1);
}

#[tokio::test]
async fn the_last_way_to_sign_in_is_not_undone() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    // Made by the provider, without a password.
    let ann = Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
    let path = format!("/auth/sso/identities/{connection}");
    world.app.delete("acme", &path).token(&ann).await.problem(409, "conflict");
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_identities").await, 1);
    // With another identity, one of them may go.
    let second = world.connect(&liar.issuer, json!({})).await;
    link(&world, &liar, &second, &ann, "ann-too").await;
    assert_eq!(world.app.delete("acme", &path).token(&ann).await.status, 204);
    let path = format!("/auth/sso/identities/{second}");
    world.app.delete("acme", &path).token(&ann).await.problem(409, "conflict");
}

#[tokio::test]
async fn undoing_one_asks_for_what_linking_one_asks() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    link(&world, &liar, &connection, &world.owner, "the-owner").await;
    let old = "UPDATE auth.sessions SET created_at = created_at - interval '1 hour',
                      auth_time = auth_time - interval '1 hour', mfa_time = mfa_time - interval '1 hour'";
    world.app.db.as_admin(old).await;
    let stale = Session::of(&world.app.refresh("acme", &world.owner.refresh).await);
    let path = format!("/auth/sso/identities/{connection}");
    world.app.delete("acme", &path).token(&stale).await.problem(401, "insufficient_user_authentication");
}
