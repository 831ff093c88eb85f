//! Switching users off ends their access, everywhere and by every way in, until SCIM switches them on.

use std::sync::Arc;
use std::time::Duration;

use businessos::db::pool::PoolSettings;
use businessos::db::{Db, TenantTx, standing};
use businessos::domain::identity::EmailAddress;
use businessos::domain::ids::UserId;
use businessos::domain::scim::standing::{JustInTime, Standing};
use serde_json::{Value, json};

use crate::helpers::{App, Session, assert_soon, routes, spawn_app_on, until};
use crate::upstream::Upstream;
use crate::world::{World, assert_error, id};

impl World {
    async fn set_active(&self, user: &str, active: Value) {
        let reply =
            self.patch(&format!("/Users/{user}"), json!([{ "op": "replace", "value": { "active": active } }])).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// What the other ways in ask.
    async fn tx(&self) -> TenantTx {
        let pool = PoolSettings {
            max_connections: 2,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(5),
        };
        let db = Db::new(pool, |role| self.app.db.options(role));
        TenantTx::begin(&db, self.tenant.id.parse().unwrap()).await.unwrap()
    }

    async fn standing(&self, user: &str) -> Standing {
        standing::of_user(&mut self.tx().await, user.parse::<UserId>().unwrap()).await.unwrap()
    }

    async fn just_in_time(&self, email: &str) -> JustInTime {
        standing::just_in_time(&mut self.tx().await, &EmailAddress::parse(email).unwrap()).await.unwrap()
    }
}

/// Two nodes with a service, an admin whom the provider keeps, and that admin's session and API key.
struct Member {
    world: World,
    other: App,
    user: String,
    session: Session,
    key: String,
}

async fn member() -> (Upstream, Member) {
    let upstream = Upstream::start();
    let text = upstream.route("/crm", "");
    let world = World::with(|settings| settings.gateway.routes = routes(&text)).await;
    let port = world.app.port;
    let other = spawn_app_on(Arc::clone(&world.app.db), None, |settings| {
        settings.gateway.routes = routes(&text);
        settings.gateway.public_port = port;
    })
    .await;
    let session = world.app.user("acme", "admin").await;
    let session = world.app.stepped_up("acme", &session).await;
    let body = json!({ "name": "robot", "scopes": ["gateway:*"] });
    let key = world.app.post("acme", "/api-keys").token(&session).json(&body).await.json();
    let key = key["secret"].as_str().unwrap().to_owned();
    let user = world.adopt("admin@acme.test").await;
    (upstream, Member { world, other, user, session, key })
}

impl Member {
    /// Statuses of calls through both nodes' gateways, with session and key.
    async fn through_the_gateways(&self) -> Vec<u16> {
        let mut statuses = Vec::new();
        for app in [&self.world.app, &self.other] {
            for credential in [&self.session.access, &self.key] {
                statuses.push(app.get("acme", "/crm/x").bearer(credential).await.status);
            }
        }
        statuses
    }

    async fn assert_locked_out(&self) {
        let delay = until("everybody refuses", async || self.through_the_gateways().await == [401; 4]).await;
        assert_soon(delay);
        let refreshed = self.world.app.refresh("acme", &self.session.refresh).await;
        assert_eq!(refreshed.status, 401, "{refreshed:?}");
        let signed_in = self.world.app.try_sign_in("acme", "admin@acme.test", crate::helpers::PASSWORD).await;
        signed_in.problem(401, "invalid-credentials");
    }
}

#[tokio::test]
async fn switching_off_ends_sessions_and_keys_on_every_node_soon() {
    let (_upstream, member) = member().await;
    assert_eq!(member.through_the_gateways().await, [200; 4]);
    member.world.set_active(&member.user, json!("False")).await;
    let here = [&member.session.access, &member.key]
        .map(|credential| member.world.app.get("acme", "/crm/x").bearer(credential));
    for request in here {
        assert_eq!(request.await.status, 401, "here at once");
    }
    member.assert_locked_out().await;
    assert_eq!(member.world.standing(&member.user).await, Standing::Deprovisioned);
    assert_eq!(member.world.audited("scim.user.deactivate", &member.user).await, 1);
}

#[tokio::test]
async fn deleting_ends_sessions_and_keys_on_every_node_soon() {
    let (_upstream, member) = member().await;
    assert_eq!(member.through_the_gateways().await, [200; 4]);
    assert_eq!(member.world.delete(&format!("/Users/{}", member.user)).await.status, 204);
    member.assert_locked_out().await;
    assert_eq!(member.world.standing(&member.user).await, Standing::Gone);
    let kept =
        format!("SELECT count(*) FROM auth.users WHERE id = '{}' AND (email <> '' OR name IS NOT NULL)", member.user);
    assert_eq!(member.world.app.count(&kept).await, 0, "nothing personal is kept");
}

#[tokio::test]
async fn invitations_that_have_to_do_with_a_user_are_void() {
    let (_upstream, member) = member().await;
    let body = json!({ "email": "friend@acme.test", "role": "member" });
    let invited = member.world.app.post("acme", "/invitations").token(&member.session).json(&body).await;
    assert_eq!(invited.status, 201, "{invited:?}");
    let open = "SELECT count(*) FROM auth.invitations WHERE revoked_at IS NULL";
    assert_eq!(member.world.app.count(open).await, 1);
    member.world.set_active(&member.user, json!(false)).await;
    assert_eq!(member.world.app.count(open).await, 0);
}

#[tokio::test]
async fn only_scim_switches_on_whom_scim_switched_off() {
    let world = World::new().await;
    let _ = world.app.user("acme", "member").await;
    let user = world.adopt("member@acme.test").await;
    world.set_active(&user, json!(false)).await;
    assert_eq!(world.get(&format!("/Users/{user}")).await.json()["active"], json!(false), "and is still there");
    let resume =
        world.app.patch("acme", &format!("/users/{user}")).token(&world.owner).json(&json!({ "state": "active" }));
    resume.await.problem(409, "conflict");
    let forced = format!("SELECT count(*) FROM auth.users WHERE id = '{user}' AND state = 'active'");
    let mut conn = world.app.db.connect("app_rw").await;
    let by_hand = format!(
        "SET app.current_tenant_id = '{}'; UPDATE auth.users SET state = 'active' WHERE id = '{user}'",
        world.tenant.id
    );
    assert_eq!(crate::support::sqlstate(&mut conn, &by_hand).await, "23514", "no statement does");
    assert_eq!(world.app.count(&forced).await, 0);
    assert_eq!(world.app.try_sign_in("acme", "member@acme.test", crate::helpers::PASSWORD).await.status, 401);
    world.set_active(&user, json!(true)).await;
    assert_eq!(world.standing(&user).await, Standing::Active);
    let session = world.app.sign_in("acme", "member@acme.test").await;
    assert_eq!(world.app.get("acme", "/auth/me").token(&session).await.status, 200);
    assert_eq!(world.audited("scim.user.activate", &user).await, 1);
}

#[tokio::test]
async fn whom_an_admin_suspended_stays_suspended_whatever_the_provider_says() {
    let world = World::new().await;
    let user = id(&world.user("ann@acme.test").await);
    let suspend =
        world.app.patch("acme", &format!("/users/{user}")).token(&world.owner).json(&json!({ "state": "suspended" }));
    assert_eq!(suspend.await.status, 200);
    let path = format!("/Users/{user}");
    let put = world.put(&path, &json!({ "userName": "ann@acme.test", "active": true, "title": "x" })).await;
    assert_eq!((put.status, &put.json()["active"]), (200, &json!(false)), "{put:?}");
    let patched = world.patch(&path, json!([{ "op": "add", "path": "title", "value": "y" }])).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    assert_eq!(world.standing(&user).await, Standing::Suspended, "another change is no word about this");
    world.set_active(&user, json!(false)).await;
    assert_eq!(world.standing(&user).await, Standing::Deprovisioned);
    world.set_active(&user, json!(true)).await;
    assert_eq!(world.standing(&user).await, Standing::Suspended);
    let resume =
        world.app.patch("acme", &format!("/users/{user}")).token(&world.owner).json(&json!({ "state": "active" }));
    assert_eq!(resume.await.status, 200);
    assert_eq!(world.get(&path).await.json()["active"], json!(true));
}

#[tokio::test]
async fn nobody_is_made_just_in_time_whom_scim_switched_off_or_deleted() {
    let world = World::new().await;
    assert_eq!(world.just_in_time("ann@acme.test").await, JustInTime::Free);
    let user = id(&world.user("ann@acme.test").await);
    let taken = JustInTime::Taken(user.parse().unwrap());
    assert_eq!(world.just_in_time("Ann@Acme.test").await, taken);
    world.set_active(&user, json!(false)).await;
    assert_eq!(world.just_in_time("ann@acme.test").await, taken);
    assert!(!world.standing(&user).await.may_sign_in());
    assert_eq!(world.delete(&format!("/Users/{user}")).await.status, 204);
    assert_eq!(world.just_in_time("ANN@acme.test").await, JustInTime::Departed);
    assert_eq!(world.just_in_time("bob@acme.test").await, JustInTime::Free);
    let off = json!({ "userName": "ann@acme.test", "active": false });
    let again = id(&world.post("/Users", &off).await.json());
    assert_eq!(world.delete(&format!("/Users/{again}")).await.status, 204);
    assert_eq!(world.just_in_time("ann@acme.test").await, JustInTime::Departed);
    world.user("ann@acme.test").await;
    let left = "SELECT count(*) FROM auth.scim_departures";
    assert_eq!(world.app.count(left).await, 0, "SCIM has brought them back");
}

#[tokio::test]
async fn a_patch_that_takes_the_word_away_switches_nobody_on_or_off() {
    let world = World::new().await;
    let user = id(&world.user("ann@acme.test").await);
    let path = format!("/Users/{user}");
    let silent = [
        json!({ "op": "replace", "path": "active", "value": null }),
        json!({ "op": "add", "value": { "active": null } }),
        json!({ "op": "replace", "value": { "active": null, "title": "x" } }),
        json!({ "op": "remove", "path": "active" }),
    ];
    for is_active in [false, true] {
        world.set_active(&user, json!(is_active)).await;
        for operation in &silent {
            let reply = world.patch(&path, json!([operation])).await;
            assert_eq!((reply.status, &reply.json()["active"]), (200, &json!(is_active)), "{operation}: {reply:?}");
        }
    }
    // One that takes it away and says it again has said it.
    let said = json!([{ "op": "remove", "path": "active" }, { "op": "add", "path": "active", "value": false }]);
    assert_eq!(world.patch(&path, said).await.json()["active"], json!(false));
    assert_eq!(world.audited("scim.user.deactivate", &user).await, 2);
    assert_eq!(world.audited("scim.user.activate", &user).await, 1);
}

#[tokio::test]
async fn the_last_owner_stays() {
    let world = World::new().await;
    let owner = world.adopt("owner@acme.test").await;
    let path = format!("/Users/{owner}");
    let off = json!([{ "op": "replace", "path": "active", "value": false }]);
    assert_error(&world.patch(&path, off.clone()).await, 403, "mutability");
    assert_error(
        &world.put(&path, &json!({ "userName": "owner@acme.test", "active": "False" })).await,
        403,
        "mutability",
    );
    assert_error(&world.delete(&path).await, 403, "mutability");
    assert_eq!(world.app.get("acme", "/auth/me").token(&world.owner).await.status, 200);
    assert_eq!(world.get(&path).await.json()["active"], json!(true), "nothing of it was done");
    world
        .app
        .db
        .as_admin(&format!(
            "INSERT INTO auth.users (tenant_id, id, email, email_norm, role, password_hash)
         VALUES ('{}', gen_random_uuid(), 'second@acme.test', 'second@acme.test', 'owner', 'x')",
            world.tenant.id
        ))
        .await;
    assert_eq!(world.patch(&path, off).await.status, 200, "there is another one");
}

#[tokio::test]
async fn an_owners_address_is_not_the_providers_to_move() {
    let world = World::new().await;
    let owner = world.adopt("owner@acme.test").await;
    let emails = json!([{ "value": "mallory@acme.test", "primary": true }]);
    for reply in [
        world.patch(&format!("/Users/{owner}"), json!([{ "op": "replace", "path": "emails", "value": emails }])).await,
        world
            .patch(
                &format!("/Users/{owner}"),
                json!([{ "op": "replace", "path": "userName", "value": "mallory@acme.test" }]),
            )
            .await,
    ] {
        assert_error(&reply, 403, "mutability");
    }
    let email = format!("SELECT email FROM auth.users WHERE id = '{owner}'");
    assert_eq!(world.text(&email).await, "owner@acme.test");
    let titled =
        world.patch(&format!("/Users/{owner}"), json!([{ "op": "add", "path": "title", "value": "Founder" }])).await;
    assert_eq!(titled.status, 200, "{titled:?}");
}
