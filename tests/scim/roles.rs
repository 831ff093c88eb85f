//! Roles of groups, as admins map them.

use serde_json::{Value, json};

use crate::world::{UNKNOWN, World, id};

impl World {
    async fn role(&self, user: &str) -> String {
        self.text(&format!("SELECT role FROM auth.users WHERE id = '{user}'")).await
    }

    async fn put_in(&self, group: &str, user: &str) {
        let reply = self
            .patch(
                &format!("/Groups/{group}"),
                json!([{ "op": "add", "path": "members", "value": [{ "value": user }] }]),
            )
            .await;
        assert_eq!(reply.status, 204, "{reply:?}");
    }

    async fn take_out(&self, group: &str, user: &str) {
        let reply = self
            .patch(
                &format!("/Groups/{group}"),
                json!([{ "op": "remove", "path": format!("members[value eq \"{user}\"]") }]),
            )
            .await;
        assert_eq!(reply.status, 204, "{reply:?}");
    }
}

#[tokio::test]
async fn a_role_comes_and_goes_with_membership_and_tokens_follow() {
    let world = World::new().await;
    let session = world.app.user("acme", "member").await;
    let user = world.adopt("member@acme.test").await;
    let admins = world.group("Admins", &[]).await;
    assert_eq!(world.map(&admins, json!("admin")).await.status, 200);
    assert_eq!(world.app.get("acme", "/auth/me").token(&session).await.status, 200);
    world.put_in(&admins, &user).await;
    assert_eq!(world.role(&user).await, "admin");
    // What the token says is not true any more: it is refused, here at once.
    world.app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
    let session = world.app.sign_in("acme", "member@acme.test").await;
    assert_eq!(world.app.get("acme", "/users").token(&session).await.status, 200);
    world.take_out(&admins, &user).await;
    assert_eq!(world.role(&user).await, "member");
    world.app.get("acme", "/users").token(&session).await.problem(401, "invalid-token");
    assert_eq!(world.audited("scim.user.role", &user).await, 2);
}

#[tokio::test]
async fn the_highest_of_several_roles_counts() {
    let world = World::new().await;
    let user = id(&world.user("ann@acme.test").await);
    let (members, payers, admins) =
        (world.group("M", &[]).await, world.group("P", &[]).await, world.group("A", &[]).await);
    for (group, role) in [(&members, "member"), (&payers, "billing"), (&admins, "admin")] {
        assert_eq!(world.map(group, json!(role)).await.status, 200);
        world.put_in(group, &user).await;
        assert_eq!(world.role(&user).await, role);
    }
    world.take_out(&members, &user).await;
    assert_eq!(world.role(&user).await, "admin");
    assert_eq!(world.delete(&format!("/Groups/{admins}")).await.status, 204);
    assert_eq!(world.role(&user).await, "billing");
    assert_eq!(world.put(&format!("/Groups/{payers}"), &json!({ "displayName": "P" })).await.status, 200);
    assert_eq!(world.role(&user).await, "member");
}

#[tokio::test]
async fn mapping_a_group_changes_those_who_are_in_it() {
    let world = World::new().await;
    let (ann, bob) = (id(&world.user("ann@acme.test").await), id(&world.user("bob@acme.test").await));
    let group = world.group("Sales", &[&ann]).await;
    let mapped = world.map(&group, json!("billing")).await;
    let expected = json!({ "id": group, "display_name": "Sales", "role": "billing", "n_members": 1 });
    assert_eq!((mapped.status, mapped.json()), (200, expected.clone()), "{mapped:?}");
    assert_eq!((world.role(&ann).await, world.role(&bob).await), ("billing".to_owned(), "member".to_owned()));
    let listed = world.app.get("acme", "/scim/groups").token(&world.owner).await.json();
    assert_eq!(listed["items"], json!([expected]));
    assert_eq!(world.map(&group, Value::Null).await.status, 200);
    assert_eq!(world.role(&ann).await, "member");
}

#[tokio::test]
async fn a_role_that_an_admin_gave_by_hand_stays_without_a_group() {
    let world = World::new().await;
    let user = id(&world.user("ann@acme.test").await);
    let group = world.group("Plain", &[]).await;
    let role = json!({ "role": "billing" });
    let changed = world.app.patch("acme", &format!("/users/{user}")).token(&world.owner).json(&role).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    world.put_in(&group, &user).await;
    world.take_out(&group, &user).await;
    assert_eq!(world.role(&user).await, "billing");
}

#[tokio::test]
async fn no_group_makes_or_unmakes_an_owner() {
    let world = World::new().await;
    let owner = world.adopt("owner@acme.test").await;
    let group = world.group("Everybody", &[&owner]).await;
    for role in ["owner", "operator", "root"] {
        assert_eq!(world.map(&group, json!(role)).await.pointers(), ["/role"]);
    }
    assert_eq!(world.map(&group, json!("member")).await.status, 200);
    assert_eq!(world.role(&owner).await, "owner");
    assert_eq!(world.app.get("acme", "/auth/me").token(&world.owner).await.status, 200, "nor ends their sessions");
}

#[tokio::test]
async fn only_an_admin_who_has_just_shown_two_factors_maps_a_group() {
    let world = World::new().await;
    let group = world.group("Sales", &[]).await;
    let plain = world.app.sign_in("acme", "owner@acme.test").await;
    let put =
        |group: &str| world.app.put("acme", &format!("/scim/groups/{group}/role")).json(&json!({ "role": "admin" }));
    put(&group).token(&plain).await.problem(401, "insufficient_user_authentication");
    put(&group).bearer(&world.token).await.problem(401, "invalid-token");
    put(UNKNOWN).token(&world.owner).await.problem(404, "not-found");
}

#[tokio::test]
async fn groups_that_change_side_by_side_leave_the_role_of_their_sum() {
    let world = World::new().await;
    let user = id(&world.user("ann@acme.test").await);
    let (payers, admins) = (world.group("P", &[]).await, world.group("A", &[&user]).await);
    assert_eq!(world.map(&payers, json!("billing")).await.status, 200);
    assert_eq!(world.map(&admins, json!("admin")).await.status, 200);
    for _ in 0..10 {
        futures_util::join!(world.put_in(&payers, &user), world.take_out(&admins, &user));
        assert_eq!(world.role(&user).await, "billing");
        futures_util::join!(world.take_out(&payers, &user), world.put_in(&admins, &user));
        assert_eq!(world.role(&user).await, "admin");
    }
}
