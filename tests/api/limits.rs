//! Request limits for tenants and addresses.

use serde_json::json;

use crate::helpers::{Reply, routes, spawn_app};
use crate::upstream::Upstream;

fn number(reply: &Reply, header: &str) -> u64 {
    reply.header(header).parse().unwrap_or_else(|_| panic!("{header}: {reply:?}"))
}

#[tokio::test]
async fn a_tenant_over_its_limit_waits_and_its_neighbours_do_not() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| {
        settings.gateway.routes = routes(&upstream.route("/crm", ""));
        // One more every minute: none comes back while the test runs.
        settings.limits.tenant_per_minute = 5;
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (_, neighbour) = app.tenant_with_owner("globex").await;
    let mut remaining = Vec::new();
    let refused = loop {
        let reply = app.get("acme", "/crm/x").token(&owner).await;
        assert_eq!(reply.header("ratelimit-policy"), "\"tenant\";q=5;w=60");
        assert_eq!(number(&reply, "x-ratelimit-limit"), 5);
        let left = number(&reply, "x-ratelimit-remaining");
        assert_eq!(reply.header("ratelimit"), format!("\"tenant\";r={left};t={}", number(&reply, "x-ratelimit-reset")));
        if reply.status != 200 {
            break reply;
        }
        remaining.push(left);
        assert!(remaining.len() <= 6, "never refused: {remaining:?}");
    };
    // One may have grown back meanwhile, if the machine is slow.
    assert!(remaining.starts_with(&[4, 3]), "{remaining:?}");
    refused.problem(429, "rate-limited");
    let wait = number(&refused, "retry-after");
    assert!((1..=12).contains(&wait), "{wait}");
    assert_eq!(number(&refused, "x-ratelimit-remaining"), 0);
    let served = upstream.n_requests();
    for _ in 0..20 {
        app.get("acme", "/crm/x").token(&owner).await;
    }
    // Refused requests count against nothing: the wait has not grown by them.
    let later = app.get("acme", "/crm/x").token(&owner).await;
    assert!(later.status == 200 || number(&later, "retry-after") <= 12, "{later:?}");
    assert!(upstream.n_requests() <= served + 2);
    assert_eq!(app.get("globex", "/crm/x").token(&neighbour).await.status, 200);
}

#[tokio::test]
async fn a_tenant_may_tighten_its_limit() {
    let app = spawn_app(|settings| settings.limits.tenant_per_minute = 100).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let path = format!("/tenants/{}/config", tenant.id);
    let tag = app.get("acme", &path).token(&owner).await.header("etag").to_owned();
    let body = json!({ "limits": { "requests_per_minute": 10 } });
    assert_eq!(app.put("acme", &path).token(&owner).header("if-match", &tag).json(&body).await.status, 200);
    assert_eq!(number(&app.get("acme", "/auth/me").token(&owner).await, "x-ratelimit-limit"), 10);
}

#[tokio::test]
async fn an_address_over_its_limit_waits() {
    let app = spawn_app(|settings| settings.limits.ip_per_minute = 3).await;
    let refused = loop {
        let reply = app.get("localhost", "/healthz").await;
        if reply.status != 200 {
            break reply;
        }
    };
    refused.problem(429, "rate-limited");
    assert!((1..=20).contains(&number(&refused, "retry-after")), "{refused:?}");
    assert_eq!(refused.header("x-frame-options"), "SAMEORIGIN");
    // A forged address is not believed.
    let reply = app.get("localhost", "/healthz").header("x-forwarded-for", "9.9.9.9").await;
    assert_eq!(reply.status, 429, "{reply:?}");
}

#[tokio::test]
async fn addresses_behind_a_trusted_proxy_have_limits_of_their_own() {
    let app = spawn_app(|settings| {
        settings.limits.ip_per_minute = 1;
        settings.gateway.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    })
    .await;
    let get = |address: &str| app.get("localhost", "/healthz").header("x-forwarded-for", address);
    assert_eq!(get("9.9.9.9").await.status, 200);
    assert_eq!(get("9.9.9.9").await.status, 429);
    assert_eq!(get("6.6.6.6, 9.9.9.9").await.status, 429);
    assert_eq!(get("8.8.8.8").await.status, 200);
}
