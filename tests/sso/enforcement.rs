//! A tenant that lets nobody in but by its provider, and the owner who gets in all the same.

use serde_json::{Value, json};

use crate::helpers::{PASSWORD, Reply, Session};
use crate::soft_key::SoftKey;
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

async fn enforce(world: &World, enforced: bool) -> Reply {
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

/// Another owner, who has a password and no factor.
async fn second_owner(world: &World) -> Session {
    let second = world.app.user("acme", "admin").await;
    world.app.db.as_admin("UPDATE auth.users SET role = 'owner' WHERE email_norm = 'admin@acme.test'").await;
    drop(second);
    let session = world.app.sign_in("acme", "admin@acme.test").await;
    world.app.stepped_up("acme", &session).await
}

async fn id_of(world: &World, session: &Session) -> String {
    world.app.get("acme", "/auth/me").token(session).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_last_owner_who_gets_in_without_the_provider_keeps_their_factor() {
    let world = World::new().await;
    let (_liar, _connection) = world.with_liar().await;
    let (app, owner) = (&world.app, &world.owner);
    let second = second_owner(&world).await;
    give_factor(&world, &world.tenant.owner).await;
    assert_eq!(enforce(&world, true).await.status, 200);
    let (first_id, second_id) = (id_of(&world, owner).await, id_of(&world, &second).await);
    let kept = |reply: &Reply| {
        let problem = reply.problem(409, "conflict");
        assert!(problem["detail"].as_str().unwrap().contains("sso.enforced"), "{problem}");
    };
    kept(&app.delete("acme", "/auth/mfa/totp").token(owner).await);
    kept(&app.delete("acme", &format!("/users/{first_id}/factors")).token(&second).await);
    kept(&app.delete("acme", &format!("/users/{first_id}")).token(&second).await);
    for change in [json!({"role": "member"}), json!({"state": "suspended"})] {
        kept(&app.patch("acme", &format!("/users/{first_id}")).token(&second).json(&change).await);
    }
    // The provider's list does not reach them either.
    let token = app.post("acme", "/scim/tokens").token(owner).json(&json!({"name": "idp"})).await.json();
    let token = token["secret"].as_str().unwrap();
    let user = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": world.tenant.owner,
                      "emails": [{"value": world.tenant.owner}]});
    let adopted = app.post("acme", "/scim/v2/Users").bearer(token).json(&user).await;
    assert_eq!((adopted.status, &adopted.json()["id"]), (201, &json!(first_id)), "{adopted:?}");
    let path = format!("/scim/v2/Users/{first_id}");
    let off = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                     "Operations": [{"op": "replace", "path": "active", "value": false}]});
    for reply in
        [app.patch("acme", &path).bearer(token).json(&off).await, app.delete("acme", &path).bearer(token).await]
    {
        assert_eq!(reply.status, 403, "{reply:?}");
        assert!(reply.json()["detail"].as_str().unwrap().contains("second factor"), "{reply:?}");
    }
    assert_eq!(app.count("SELECT count(*) FROM auth.totp_factors").await, 1);
    // The other one may go, who would not get in anyway.
    assert_eq!(app.delete("acme", &format!("/users/{second_id}/factors")).token(owner).await.status, 204);
    // With another way in, the first is free to.
    give_factor(&world, "admin@acme.test").await;
    assert_eq!(app.delete("acme", "/auth/mfa/totp").token(owner).await.status, 204);
    // And where nothing is enforced, everybody is.
    assert_eq!(enforce(&world, false).await.status, 200);
    let second = app.try_sign_in("acme", "admin@acme.test", PASSWORD).await;
    assert_eq!(second.json()["mfa_required"], json!(true), "{second:?}");
    assert_eq!(app.delete("acme", &format!("/users/{second_id}/factors")).token(owner).await.status, 204);
}

#[tokio::test]
async fn two_owners_who_drop_their_factors_at_once_leave_one() {
    let world = World::new().await;
    let (_liar, _connection) = world.with_liar().await;
    let second = second_owner(&world).await;
    for email in [&*world.tenant.owner, "admin@acme.test"] {
        give_factor(&world, email).await;
    }
    assert_eq!(enforce(&world, true).await.status, 200);
    let drop_it = |session: &Session| world.app.delete("acme", "/auth/mfa/totp").token(session).into_future();
    let (one, other) = tokio::join!(drop_it(&world.owner), drop_it(&second));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409], "{one:?} {other:?}");
    assert_eq!(world.app.count("SELECT count(*) FROM auth.totp_factors").await, 1);
}

/// A passkey that was enrolled by a session.
pub async fn enrol(world: &World, session: &Session) -> SoftKey {
    let begun = world.app.post("acme", "/auth/mfa/webauthn/register").token(session).await.json();
    let mut key = SoftKey::new(&world.url("acme", ""));
    let credential = key.create(&begun["publicKey"]);
    let body = json!({ "ceremony_id": begun["ceremony_id"], "name": "Phone", "credential": credential });
    let reply = world.app.post("acme", "/auth/mfa/webauthn/register/finish").token(session).json(&body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    key
}

async fn sign_in_by(world: &World, key: &mut SoftKey) -> Reply {
    let begun = world.app.post("acme", "/auth/webauthn/login").await.json();
    let body = json!({ "ceremony_id": begun["ceremony_id"], "credential": key.get(&begun["publicKey"]) });
    world.app.post("acme", "/auth/webauthn/login/finish").json(&body).await
}

#[tokio::test]
async fn a_passkey_alone_lets_an_owner_in_and_nobody_else() {
    let world = World::new().await;
    let (_liar, _connection) = world.with_liar().await;
    let member = world.app.user("acme", "member").await;
    let mut members = enrol(&world, &member).await;
    let mut owners = enrol(&world, &world.owner).await;
    assert_eq!(enforce(&world, true).await.status, 200);
    sign_in_by(&world, &mut members).await.problem(403, "sso-required");
    let owner = Session::of(&sign_in_by(&world, &mut owners).await);
    assert_eq!(world.app.get("acme", "/auth/me").token(&owner).await.json()["acr"], "aal2");
    assert_eq!(world.app.refresh("acme", &owner.refresh).await.status, 200);
    // The passkey is the last way in, and stays.
    let listed = world.app.get("acme", "/auth/mfa/webauthn").token(&owner).await.json();
    let path = format!("/auth/mfa/webauthn/{}", listed["passkeys"][0]["id"].as_str().unwrap());
    world.app.delete("acme", &path).token(&owner).await.problem(409, "conflict");
    assert_eq!(enforce(&world, false).await.status, 200);
    assert_eq!(Session::of(&sign_in_by(&world, &mut members).await).access.split('.').count(), 3);
}
