//! Two processes on one database agree.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::helpers::{App, assert_soon, spawn_app, spawn_app_on, until};

/// What is promised. It is held to by the median: other tests share the machine.
const PROMISED: Duration = Duration::from_secs(1);

async fn two_nodes() -> (App, App) {
    let a = spawn_app(|_| {}).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        // Tokens name the public port.
        settings.gateway.public_port = a.port;
    })
    .await;
    (a, b)
}

#[tokio::test]
async fn a_change_of_configuration_is_seen_on_the_other_node() {
    let (a, b) = two_nodes().await;
    let (tenant, owner) = a.tenant_with_owner("acme").await;
    let path = format!("/tenants/{}/config", tenant.id);
    assert_eq!(b.get("acme", "/auth/me").token(&owner).await.status, 200);
    let mut delays = Vec::new();
    for n in 1..=30 {
        let version = a.get("acme", &path).token(&owner).await.header("etag").to_owned();
        let body = json!({ "limits": { "requests_per_minute": 1000 + n } });
        let reply = a.put("acme", &path).token(&owner).header("if-match", &version).json(&body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let wanted = (1000 + n).to_string();
        let delay = until("the other node knows", async || {
            b.get("acme", "/auth/me").token(&owner).await.header("x-ratelimit-limit") == wanted
        })
        .await;
        delays.push(delay);
    }
    delays.sort_unstable();
    let (median, longest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!("config change on the other node: p50 {median:?}, longest {longest:?}");
    assert!(median < PROMISED, "{delays:?}");
    assert_soon(longest);
}

#[tokio::test]
async fn a_logout_holds_on_the_other_node() {
    let (a, b) = two_nodes().await;
    let (_, here) = a.tenant_with_owner("acme").await;
    let mut delays = Vec::new();
    for _ in 0..9 {
        let there = a.sign_in("acme", "owner@acme.test").await;
        assert_eq!(b.get("acme", "/auth/me").token(&there).await.status, 200);
        assert_eq!(a.post("acme", "/auth/logout").token(&there).await.status, 204);
        let refused = async || b.get("acme", "/auth/me").token(&there).await.status == 401;
        delays.push(until("the other node refuses", refused).await);
        b.refresh("acme", &there.refresh).await.problem(401, "session-revoked");
    }
    delays.sort_unstable();
    println!("a logout on the other node: p50 {:?}, longest {:?}", delays[4], delays[8]);
    assert!(delays[4] < PROMISED, "{delays:?}");
    assert_soon(delays[8]);
    assert_eq!(b.get("acme", "/auth/me").token(&here).await.status, 200);
}

#[tokio::test]
async fn a_session_of_one_node_is_refreshed_on_the_other() {
    let (a, b) = two_nodes().await;
    let (_, session) = a.tenant_with_owner("acme").await;
    let next = crate::helpers::Session::of(&b.refresh("acme", &session.refresh).await);
    assert_eq!(a.get("acme", "/auth/me").token(&next).await.status, 200);
    assert_eq!(crate::helpers::Session::of(&a.refresh("acme", &session.refresh).await).refresh, next.refresh);
}

#[tokio::test]
async fn a_suspension_holds_on_the_other_node() {
    let (a, b) = two_nodes().await;
    let (tenant, owner) = a.tenant_with_owner("acme").await;
    let operator = a.operator().await;
    assert_eq!(b.get("acme", "/auth/me").token(&owner).await.status, 200);
    let reply = a.post("platform", &format!("/operator/tenants/{}/suspend", tenant.id)).token(&operator).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let delay =
        until("the other node refuses", async || b.get("acme", "/auth/me").token(&owner).await.status == 403).await;
    assert_soon(delay);
}

#[tokio::test]
async fn a_tenant_that_was_unknown_is_found_once_the_other_node_made_it() {
    let (a, b) = two_nodes().await;
    b.get("acme", "/auth/me").await.problem(404, "unknown-tenant");
    a.onboard("acme").await;
    let delay =
        until("the other node knows the tenant", async || b.get("acme", "/.well-known/jwks.json").await.status == 200)
            .await;
    assert_soon(delay);
}
