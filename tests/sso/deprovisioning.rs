//! People whom SCIM makes, switches off and deletes, and who sign in by a provider.

use reqwest::Method;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::helpers::{Reply, Session};
use crate::provider::Provider;
use crate::real::{at_provider, connected};
use crate::world::World;

const NO: &str = "sso-not-admitted";

/// The provider's other hand: it keeps the tenant's users by SCIM.
struct Scim<'a> {
    world: &'a World,
    token: String,
}

impl<'a> Scim<'a> {
    async fn of(world: &'a World) -> Self {
        let body = json!({"name": "the provider"});
        let reply = world.app.post("acme", "/scim/tokens").token(&world.owner).json(&body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        Self { world, token: reply.json()["secret"].as_str().unwrap().to_owned() }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Reply {
        let request = self.world.app.request(method, "acme", &format!("/scim/v2{path}")).bearer(&self.token);
        request.header("content-type", "application/scim+json").body(body.to_string()).await
    }

    /// Makes a user; returns their id.
    async fn make(&self, body: Value) -> String {
        let reply = self.send(Method::POST, "/Users", &body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    async fn patch(&self, user: &str, operations: Value) {
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        let reply = self.send(Method::PATCH, &format!("/Users/{user}"), &body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    async fn set_active(&self, user: &str, active: bool) {
        self.patch(user, json!([{"op": "replace", "path": "active", "value": active}])).await;
    }

    async fn delete(&self, user: &str) {
        let reply = self.send(Method::DELETE, &format!("/Users/{user}"), &Value::Null).await;
        assert_eq!(reply.status, 204, "{reply:?}");
    }
}

impl World {
    async fn n_users(&self) -> i64 {
        self.app.count("SELECT count(*) FROM auth.users WHERE state <> 'deleted'").await
    }

    async fn n_departures(&self) -> i64 {
        self.app.count("SELECT count(*) FROM auth.scim_departures").await
    }

    async fn id_of(&self, session: &Session) -> String {
        self.app.get("acme", "/auth/me").token(session).await.json()["id"].as_str().unwrap().to_owned()
    }
}

/// The walk with a real provider: the code, or the error that the client is told.
async fn walk(world: &World, provider: &Provider, connection: &str, login: &str) -> Result<(Browser, String), String> {
    let mut browser = Browser::new();
    let there = world.leave(&mut browser, connection).await;
    let back = at_provider(&mut browser, provider, &there, &[("login", login), ("code", "")]).await;
    let code = world.come_back(&mut browser, &back).await?;
    Ok((browser, code))
}

#[tokio::test]
async fn whom_scim_switches_off_or_deletes_a_real_provider_signs_in_no_more_known_to_it_or_not() {
    let world = World::new().await;
    let (provider, connection) = connected(&world).await;
    let scim = Scim::of(&world).await;
    let ann = scim.make(json!({"userName": "ann@acme.test"})).await;
    let cid = scim.make(json!({"userName": "cid@acme.test"})).await;
    let (mut browser, code) = walk(&world, &provider, &connection, "ann").await.expect("a code");
    let session = Session::of(&world.redeem(&mut browser, &code).await);
    assert_eq!(world.id_of(&session).await, ann, "whom SCIM made is whom the provider names");
    // Somebody who is on the way while they are switched off does not arrive.
    let (mut on_the_way, late) = walk(&world, &provider, &connection, "ann").await.expect("a code");
    let (n_sessions, mut n_users) = (world.n_sessions().await, world.n_users().await);
    assert_eq!(n_sessions, 1);
    let refused = async |world: &World, n_users: i64, how: &str| {
        // One was linked before, and the other was never here.
        for login in ["ann", "cid"] {
            let refusal = walk(world, &provider, &connection, login).await.err();
            assert_eq!(refusal.as_deref(), Some(NO), "{login}, {how}");
        }
        assert_eq!(world.n_users().await, n_users, "nobody is made: {how}");
        assert_eq!(world.n_sessions().await, n_sessions, "no session begins: {how}");
        assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_identities").await, 1, "nobody is linked: {how}");
        assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_codes").await, 0, "no code waits: {how}");
    };
    for user in [&ann, &cid] {
        scim.set_active(user, false).await;
    }
    world.redeem(&mut on_the_way, &late).await.problem(403, NO);
    world.app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
    refused(&world, n_users, "switched off").await;
    for user in [&ann, &cid] {
        scim.delete(user).await;
        n_users -= 1;
    }
    refused(&world, n_users, "deleted").await;
}

#[tokio::test]
async fn whom_scim_makes_again_the_same_person_at_the_provider_is_again() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let scim = Scim::of(&world).await;
    let body = json!({"userName": "ann@acme.test"});
    let sign_in = async || Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
    let first = scim.make(body.clone()).await;
    assert_eq!(world.id_of(&sign_in().await).await, first);
    scim.delete(&first).await;
    assert_eq!(world.try_sign_in(&liar, &connection, |_| {}).await, Err(NO.to_owned()));
    let second = scim.make(body.clone()).await;
    assert_ne!(second, first);
    // Not by the old link: by the address, as at the first time.
    let elsewhere = |claims: &mut Value| claims["email"] = json!("ann@elsewhere.test");
    let link = Err("sso-link-required".to_owned());
    assert_eq!(world.try_sign_in(&liar, &connection, elsewhere).await, link);
    assert_eq!(world.id_of(&sign_in().await).await, second);
    // And by the new link ever after.
    assert!(world.try_sign_in(&liar, &connection, elsewhere).await.is_ok());
    // Whoever deletes, an admin too: nobody is made by signing in, and whom SCIM makes is found.
    let deleted = world.app.delete("acme", &format!("/users/{second}")).token(&world.owner).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let n_users = world.n_users().await;
    assert_eq!(world.try_sign_in(&liar, &connection, |_| {}).await, Err(NO.to_owned()));
    assert_eq!(world.n_users().await, n_users);
    let third = scim.make(body).await;
    assert_eq!(world.id_of(&sign_in().await).await, third);
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_identities").await, 1);
}

#[tokio::test]
async fn whom_scim_switches_off_is_not_made_anew_under_another_of_their_names() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let scim = Scim::of(&world).await;
    let email = |address: &str| json!([{"value": address, "primary": true}]);
    let own = async |user: &str, address: &str| {
        let sql = format!("UPDATE auth.users SET email = '{address}', email_norm = '{address}' WHERE id = '{user}'");
        world.app.db.as_admin(&sql).await;
    };
    // The name is an address, and the address is another one.
    let ann = scim.make(json!({"userName": "Ann@acme.test", "emails": email("a.smith@acme.test")})).await;
    scim.set_active(&ann, false).await;
    // The address is of the user's own choice since.
    let bea = scim.make(json!({"userName": "bea@acme.test"})).await;
    own(&bea, "bea@private.test").await;
    scim.set_active(&bea, false).await;
    let cleo = scim.make(json!({"userName": "u7", "emails": email("cleo@acme.test")})).await;
    own(&cleo, "cleo@private.test").await;
    scim.set_active(&cleo, false).await;
    // The name goes with the access, as some directories do it; or after it.
    let dora = scim.make(json!({"userName": "dora@acme.test"})).await;
    let renamed = json!({"active": false, "userName": "dora.left@acme.test", "emails": email("dora.left@acme.test")});
    scim.patch(&dora, json!([{"op": "replace", "value": renamed}])).await;
    let eve = scim.make(json!({"userName": "eve@acme.test"})).await;
    scim.set_active(&eve, false).await;
    let renamed = json!({"userName": "eve.left@acme.test", "emails": email("left@acme.test")});
    scim.patch(&eve, json!([{"op": "replace", "value": renamed}])).await;
    // They are made switched off.
    scim.make(json!({"userName": "fay@acme.test", "emails": email("f.jones@acme.test"), "active": false})).await;
    let n_users = world.n_users().await;
    for address in [
        "ann@acme.test",
        "a.smith@acme.test",
        "bea@acme.test",
        "cleo@acme.test",
        "dora@acme.test",
        "dora.left@acme.test",
        "eve@acme.test",
        "eve.left@acme.test",
        "left@acme.test",
        "fay@acme.test",
        "f.jones@acme.test",
    ] {
        let refusal = world.try_sign_in(&liar, &connection, |claims| {
            claims["sub"] = json!(format!("the person of {address}"));
            claims["email"] = json!(address);
        });
        assert_eq!(refusal.await, Err(NO.to_owned()), "{address}");
    }
    assert_eq!(world.n_users().await, n_users);
    assert_eq!(world.n_sessions().await, 0);
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_identities").await, 0);
    // Switched on, they are in again, and nothing is remembered of it.
    let before = world.n_departures().await;
    scim.set_active(&ann, true).await;
    assert_eq!(world.n_departures().await, before - 2);
    let reply = world.sign_in(&liar, &connection, "ann", "a.smith@acme.test").await;
    assert_eq!(world.id_of(&Session::of(&reply)).await, ann);
}
