//! Users whom no provider keeps: unseen, until it makes them.

use serde_json::{Value, json};

use crate::world::{World, assert_error, id, make_token};

#[tokio::test]
async fn who_was_made_otherwise_is_not_seen() {
    let world = World::new().await;
    let owner = world.text("SELECT id::text FROM auth.users WHERE email = 'owner@acme.test'").await;
    assert_eq!(world.find("").await, Vec::<String>::new());
    assert_eq!(world.find("filter=userName%20eq%20%22owner@acme.test%22").await, Vec::<String>::new());
    assert_error(&world.get(&format!("/Users/{owner}")).await, 404, "");
    assert_error(&world.delete(&format!("/Users/{owner}")).await, 404, "");
    let off = json!([{ "op": "replace", "value": { "active": false } }]);
    assert_error(&world.patch(&format!("/Users/{owner}"), off).await, 404, "");
}

#[tokio::test]
async fn making_a_user_who_is_there_takes_them_over_as_they_are() {
    let world = World::new().await;
    let session = world.app.user("acme", "billing").await;
    let known = world.text("SELECT id::text FROM auth.users WHERE email = 'billing@acme.test'").await;
    let body = json!({ "userName": "u7", "emails": [{ "value": "Billing@acme.test" }], "displayName": "Bill" });
    let made = world.post("/Users", &body).await;
    assert_eq!((made.status, id(&made.json())), (201, known.clone()), "{made:?}");
    assert_eq!(world.find("filter=userName%20eq%20%22u7%22").await, ["u7"]);
    assert_eq!(
        world.text(&format!("SELECT role || ' ' || name FROM auth.users WHERE id = '{known}'")).await,
        "billing Bill"
    );
    assert_eq!(world.app.get("acme", "/auth/me").token(&session).await.status, 200, "they notice nothing");
    assert_error(&world.post("/Users", &body).await, 409, "uniqueness");
    assert_eq!(world.audited("scim.user.adopt", &known).await, 1);
    assert_eq!(world.audited("scim.user.create", &known).await, 0);
}

#[tokio::test]
async fn taking_over_does_not_lift_an_admins_suspension_and_may_switch_off() {
    let world = World::new().await;
    let session = world.app.user("acme", "member").await;
    let known = world.text("SELECT id::text FROM auth.users WHERE email = 'member@acme.test'").await;
    let state = json!({ "state": "suspended" });
    assert_eq!(world.app.patch("acme", &format!("/users/{known}")).token(&world.owner).json(&state).await.status, 200);
    let made = world.user("member@acme.test").await;
    assert_eq!(made["active"], json!(false));
    let _ = session;
    let other = world.app.user("acme", "billing").await;
    let body = json!({ "userName": "billing@acme.test", "active": false });
    let made = world.post("/Users", &body).await;
    assert_eq!((made.status, &made.json()["active"]), (201, &Value::Bool(false)), "{made:?}");
    world.app.get("acme", "/auth/me").token(&other).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn an_admins_token_leaves_owners_alone() {
    let world = World::new().await;
    let admin = world.app.user("acme", "admin").await;
    let admin = world.app.stepped_up("acme", &admin).await;
    let owner = world.adopt("owner@acme.test").await;
    world
        .app
        .db
        .as_admin(&format!(
            "INSERT INTO auth.users (tenant_id, id, email, email_norm, role, password_hash)
         VALUES ('{}', gen_random_uuid(), 'second@acme.test', 'second@acme.test', 'owner', 'x')",
            world.tenant.id
        ))
        .await;
    let (_, token) = make_token(&world.app, "acme", &admin).await;
    let world = World { token, ..world };
    let off = json!([{ "op": "replace", "value": { "active": false } }]);
    assert_error(&world.patch(&format!("/Users/{owner}"), off).await, 403, "mutability");
    assert_error(&world.delete(&format!("/Users/{owner}")).await, 403, "mutability");
    let title = json!([{ "op": "add", "path": "title", "value": "x" }]);
    assert_error(&world.patch(&format!("/Users/{owner}"), title).await, 403, "mutability");
    assert_error(&world.post("/Users", &json!({ "userName": "second@acme.test" })).await, 403, "mutability");
    assert_eq!(world.find("").await, ["owner@acme.test"], "nobody was taken over");
    world.user("ann@acme.test").await;
}

#[tokio::test]
async fn whom_an_admin_deleted_the_provider_can_make_again() {
    let world = World::new().await;
    let user = id(&world.user("ann@acme.test").await);
    let group = world.group("Sales", &[&user]).await;
    let deleted = world.app.delete("acme", &format!("/users/{user}")).token(&world.owner).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    assert_error(&world.get(&format!("/Users/{user}")).await, 404, "");
    assert_eq!(world.get("/Users").await.json()["totalResults"], 0);
    assert_eq!(world.members(&group).await, Vec::<String>::new());
    assert_ne!(id(&world.user("ann@acme.test").await), user);
}
