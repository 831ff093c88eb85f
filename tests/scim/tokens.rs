//! Tokens of the provider.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::helpers::{assert_soon, spawn_app_on, until};
use crate::world::{World, assert_error, make_token};

#[tokio::test]
async fn a_token_is_shown_once_and_there_are_two_at_most() {
    let world = World::with(|settings| settings.auth.api_key_use_flush_s = 1).await;
    let app = &world.app;
    let made = app.post("acme", "/scim/tokens").token(&world.owner).json(&json!({ "name": " Okta " })).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{made:?}");
    let (made, rank) = (made.json(), json!("owner"));
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("bos_scim_"), "{made}");
    assert!(made["base_url"].as_str().unwrap().ends_with("/scim/v2"));
    let third = app.post("acme", "/scim/tokens").token(&world.owner).json(&json!({ "name": "third" })).await;
    third.problem(409, "conflict");
    let listed = app.get("acme", "/scim/tokens").token(&world.owner).await;
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 2);
    assert_eq!((&listed.json()["items"][1]["name"], &listed.json()["items"][1]["rank"]), (&json!("Okta"), &rank));
    let hidden = secret.split('_').nth(3).unwrap();
    assert!(!listed.body.contains(hidden));
    let stored = format!("SELECT count(*) FROM auth.scim_tokens t WHERE t::text LIKE '%{hidden}%'");
    assert_eq!(app.count(&stored).await, 0);
    assert_eq!(app.get("acme", "/scim/v2/Users").bearer(secret).await.status, 200, "both are good");
    assert_eq!(world.get("/Users").await.status, 200, "both are good");
    let id = made["id"].as_str().unwrap();
    until("its use is noted", async || {
        let listed = app.get("acme", "/scim/tokens").token(&world.owner).await.json();
        listed["items"][1]["last_used_at"] != Value::Null
    })
    .await;
    assert_eq!(app.delete("acme", &format!("/scim/tokens/{id}")).token(&world.owner).await.status, 204);
    assert_error(&app.get("acme", "/scim/v2/Users").bearer(secret).await, 401, "");
    app.delete("acme", &format!("/scim/tokens/{id}")).token(&world.owner).await.problem(404, "not-found");
    make_token(app, "acme", &world.owner).await;
}

#[tokio::test]
async fn two_who_make_the_last_token_at_once_make_one() {
    let world = World::new().await;
    let make = || async {
        world.app.post("acme", "/scim/tokens").token(&world.owner).json(&json!({ "name": "x" })).await.status
    };
    let mut statuses = futures_util::future::join_all((0..8).map(|_| make())).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn only_an_admin_who_has_just_shown_two_factors_makes_one() {
    let world = World::new().await;
    let plain = world.app.sign_in("acme", "owner@acme.test").await;
    let body = json!({ "name": "x" });
    let make = || world.app.post("acme", "/scim/tokens").json(&body);
    make().token(&plain).await.problem(401, "insufficient_user_authentication");
    world.app.get("acme", "/scim/tokens").token(&plain).await.problem(401, "insufficient_user_authentication");
    let member = world.app.user("acme", "member").await;
    make().token(&member).await.problem(403, "forbidden");
    make().bearer(&world.token).await.problem(401, "invalid-token");
    let nameless = world.app.post("acme", "/scim/tokens").token(&world.owner).json(&json!({ "name": "" })).await;
    assert_eq!(nameless.pointers(), ["/name"]);
}

#[tokio::test]
async fn a_revoked_token_is_refused_on_the_other_node_soon() {
    let world = World::new().await;
    let port = world.app.port;
    let other = spawn_app_on(Arc::clone(&world.app.db), None, |settings| settings.gateway.public_port = port).await;
    let (id, token) = make_token(&world.app, "acme", &world.owner).await;
    let call = async || other.get("acme", "/scim/v2/Users").bearer(&token).await.status;
    until("the other node knows", async || call().await == 200).await;
    assert_eq!(world.app.delete("acme", &format!("/scim/tokens/{id}")).token(&world.owner).await.status, 204);
    let delay = until("the other node refuses", async || call().await == 401).await;
    assert_soon(delay);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_tenant_alone() {
    let world = World::new().await;
    let (_, globex) = world.app.tenant_with_owner("globex").await;
    let globex = world.app.stepped_up("globex", &globex).await;
    let (_, theirs) = make_token(&world.app, "globex", &globex).await;
    world.user("ann@acme.test").await;
    let eve = world
        .app
        .post("globex", "/scim/v2/Users")
        .bearer(&theirs)
        .json(&json!({ "userName": "eve@globex.test" }))
        .await;
    assert_eq!(eve.status, 201, "{eve:?}");
    let refused = world.app.get("acme", "/scim/v2/Users").bearer(&theirs).await;
    assert_error(&refused, 401, "");
    assert_eq!(refused.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    let named = world.app.get("localhost", "/scim/v2/Users").header("x-tenant", "globex").bearer(&theirs).await;
    assert_eq!(named.json()["totalResults"], 1, "{named:?}");
    assert_error(&world.app.get("acme", "/scim/v2/Users").header("x-tenant", "globex").bearer(&theirs).await, 403, "");
    assert_error(&world.app.get("localhost", "/scim/v2/Users").bearer(&theirs).await, 404, "");
    for filter in
        ["", "?filter=userName%20sw%20%22e%22", "?filter=userName%20eq%20%22eve@globex.test%22", "?sortBy=userName"]
    {
        let page = world.get(&format!("/Users{filter}")).await.json();
        assert!(!page.to_string().contains("eve"), "{filter}: {page}");
    }
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'request.deny' AND code = 'invalid-token'
                   AND target_id = '/scim/v2/Users'";
    until("the refusal is in the trail", async || world.app.count(audited).await >= 1).await;
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let world = World::new().await;
    let call = || world.app.get("acme", "/scim/v2/Users");
    assert_error(&call().await, 401, "");
    assert_error(&call().header("authorization", "Basic YTpi").await, 401, "");
    assert_error(&call().bearer("").await, 401, "");
    assert_error(&call().token(&world.owner).await, 401, "");
    assert_error(&call().header("x-api-key", &world.token).await, 401, "");
    assert_error(&call().header("authorization", "Bearer x").bearer(&world.token).await, 400, "");
    world.app.get("acme", "/auth/me").bearer(&world.token).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn a_provider_has_a_limit_of_its_own_beside_the_tenants_and_the_addresss() {
    let world = World::with(|settings| {
        settings.limits.scim_per_minute = 60;
        settings.limits.ip_per_minute = 40;
    })
    .await;
    let (tenant, _) = world.app.tenant_with_owner("globex").await;
    let _ = tenant;
    let mut n_served = 0;
    let refused = loop {
        let reply = world.get("/ServiceProviderConfig").await;
        if reply.status != 200 {
            break reply;
        }
        n_served += 1;
    };
    assert_error(&refused, 429, "");
    assert_ne!(refused.header("retry-after"), "");
    assert!(n_served >= 39, "the address's limit is the tenant's own here: {n_served}");
    let other = world.app.get("globex", "/scim/v2/Users").await;
    assert_error(&other, 401, "");
    assert_eq!(world.app.get("acme", "/auth/me").token(&world.owner).await.status, 200, "users are not touched by it");
}
