//! A tenant that lets nobody in but by its provider, and the owner who gets in all the same.

use serde_json::{Value, json};

use crate::helpers::{PASSWORD, Session};
use crate::world::World;

/// An authenticator app on the owner's account, as far as the database is concerned.
async fn give_factor(world: &World, email: &str) {
    world
        .app
        .db
        .as_admin(&format!(
            "INSERT INTO auth.totp_factors (tenant_id, id, user_id, state, secret_enc, key_version, confirmed_at)
             SELECT tenant_id, gen_random_uuid(), id, 'active', 'x', 1, now() FROM auth.users WHERE email_norm = '{email}'"
        ))
        .await;
}

async fn enforce(world: &World, enforced: bool) -> crate::helpers::Reply {
    let path = format!("/tenants/{}/config", world.tenant.id);
    let tag = world.app.get("acme", &path).token(&world.owner).await.header("etag").to_owned();
    let body = json!({ "sso": { "enforced": enforced } });
    world.app.put("acme", &path).token(&world.owner).header("if-match", &tag).json(&body).await
}

#[tokio::test]
async fn it_is_refused_where_it_would_lock_everybody_out() {
    let world = World::new().await;
    let without_connection = enforce(&world, true).await.problem(409, "conflict");
    assert!(without_connection["detail"].as_str().unwrap().contains("connection"), "{without_connection}");
    let (_liar, connection) = world.with_liar().await;
    let without_owner = enforce(&world, true).await.problem(409, "conflict");
    assert!(without_owner["detail"].as_str().unwrap().contains("second factor"), "{without_owner}");
    give_factor(&world, &world.tenant.owner).await;
    assert_eq!(enforce(&world, true).await.status, 200);
    // The last way in stays.
    world.change(&connection, json!({"enabled": false})).await.problem(409, "conflict");
    let path = format!("/sso/connections/{connection}");
    world.app.delete("acme", &path).token(&world.owner).await.problem(409, "conflict");
    assert_eq!(enforce(&world, false).await.status, 200);
    assert_eq!(world.app.delete("acme", &path).token(&world.owner).await.status, 204);
}

#[tokio::test]
async fn passwords_are_refused_alike_for_everybody_and_an_owner_with_a_factor_goes_on() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let before = world.app.user("acme", "member").await;
    give_factor(&world, &world.tenant.owner).await;
    assert_eq!(enforce(&world, true).await.status, 200);
    let refusal = async |email: &str, password: &str| -> Value {
        let reply = world.app.try_sign_in("acme", email, password).await;
        reply.problem(403, "sso-required");
        reply.anonymous()
    };
    let right = refusal("member@acme.test", PASSWORD).await;
    assert_eq!(right, refusal("member@acme.test", "wrong wrong wrong").await);
    assert_eq!(right, refusal("nobody@acme.test", PASSWORD).await);
    assert_eq!(right, refusal(&world.tenant.owner, "wrong wrong wrong").await);
    // A session of before is not refreshed, and an owner with a factor is asked for it.
    world.app.refresh("acme", &before.refresh).await.problem(403, "sso-required");
    let owner = world.app.try_sign_in("acme", &world.tenant.owner, PASSWORD).await;
    assert_eq!((owner.status, &owner.json()["mfa_required"]), (200, &json!(true)), "{owner:?}");
    // By the provider it goes on.
    let session = Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
    assert_eq!(world.app.refresh("acme", &session.refresh).await.status, 200);
    let found = world.app.get("acme", "/auth/sso?email=ann@acme.test").await.json();
    assert_eq!(found["enforced"], true);
    // And back again.
    assert_eq!(enforce(&world, false).await.status, 200);
    assert_eq!(world.app.refresh("acme", &before.refresh).await.status, 200);
}

#[tokio::test]
async fn switching_it_off_asks_for_a_second_factor() {
    let world = World::new().await;
    let (_liar, _) = world.with_liar().await;
    let weak = world.app.user("acme", "admin").await;
    give_factor(&world, &world.tenant.owner).await;
    assert_eq!(enforce(&world, true).await.status, 200);
    let path = format!("/tenants/{}/config", world.tenant.id);
    let tag = world.app.get("acme", &path).token(&world.owner).await.header("etag").to_owned();
    for body in [json!({}), json!({"sso": {"enforced": true, "return_urls": ["https://evil.example/"]}})] {
        let reply = world.app.put("acme", &path).token(&weak).header("if-match", &tag).json(&body).await;
        reply.problem(401, "insufficient_user_authentication");
    }
}
