//! What an unpaid invoice leads to, as the tenant's users see it.

use std::time::Duration;

use businessos::db::pool::PoolSettings;
use businessos::db::{Db, TenantTx, payment_state};
use businessos::domain::ids::TenantId;
use businessos::domain::subscription::DunningPolicy;
use serde_json::json;

use crate::helpers::{App, Session, routes, spawn_app, until};
use crate::subscribe::{strong_owner, subscribe};
use crate::upstream::Upstream;

const POLICY: DunningPolicy = DunningPolicy { warn_days: 0, restrict_days: 14, suspend_days: 30 };

/// Makes acme's oldest unpaid invoice so many days overdue, as another process finds out.
async fn overdue(app: &App, owner: &Session, days: Option<u32>, status: &str) {
    let settings = PoolSettings {
        max_connections: 1,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
    };
    let db = Db::new(settings, |role| app.db.options(role));
    let id = app.get("acme", "/auth/validate").token(owner).await.json()["tenant_id"].as_str().map(str::to_owned);
    let tenant: TenantId = id.unwrap().parse().unwrap();
    let mut tx = TenantTx::begin(&db, tenant).await.unwrap();
    payment_state::set_payment_state(&mut tx, &POLICY, days, "a test").await.unwrap().unwrap();
    tx.commit().await.unwrap();
    db.close().await;
    until("the node knows", async || {
        app.get("acme", "/billing/subscription").token(owner).await.json()["status"] == status
    })
    .await;
}

#[tokio::test]
async fn a_debt_is_told_then_shuts_what_costs_and_then_all_but_paying() {
    let upstream = Upstream::start();
    let table = upstream.route("/crm", "module = \"crm\"")
        + &upstream.route("/counted", "meter = \"connector_calls\"")
        + &upstream.route("/plain", "")
        + &upstream.route("/open", "auth = \"none\"");
    let app = spawn_app(|settings| {
        settings.gateway.routes = routes(&table);
        settings.gateway.upgrade_url = "https://acme.test/pay".to_owned();
    })
    .await;
    let owner = strong_owner(&app).await;
    assert_eq!(subscribe(&app, &owner, json!({ "plan": "basic" })).await.status, 200);
    let call = async |path: &str| app.get("acme", path).token(&owner).await;
    assert_eq!((call("/crm").await.status, call("/crm").await.header("x-billing-state")), (200, ""));

    overdue(&app, &owner, Some(0), "past_due").await;
    for path in ["/crm", "/counted", "/plain"] {
        let reply = call(path).await;
        assert_eq!((reply.status, reply.header("x-billing-state")), (200, "past_due"), "{path}: {reply:?}");
    }
    let stranger = app.get("acme", "/open").await;
    assert_eq!((stranger.status, stranger.header("x-billing-state")), (200, ""), "nobody else's business");

    overdue(&app, &owner, Some(14), "restricted").await;
    for path in ["/crm", "/counted"] {
        let reply = call(path).await;
        let problem = reply.problem(402, "payment-required");
        assert_eq!(problem["upgrade_url"], "https://acme.test/pay");
        assert_eq!(reply.header("link"), "<https://acme.test/pay>; rel=\"payment\"");
        assert_eq!(reply.header("x-billing-state"), "restricted");
        app.get("acme", path).await.problem(401, "authentication-required");
    }
    assert_eq!((call("/plain").await.status, call("/plain").await.header("x-billing-state")), (200, "restricted"));
    subscribe(&app, &owner, json!({ "plan": "pro" })).await.problem(402, "payment-required");

    overdue(&app, &owner, Some(30), "suspended").await;
    for path in ["/crm", "/plain", "/open", "/users", "/api-keys", "/audit"] {
        assert_eq!(call(path).await.problem(403, "tenant-suspended")["upgrade_url"], "https://acme.test/pay", "{path}");
    }
    for path in ["/billing/subscription", "/billing/plans", "/billing/usage", "/auth/me", "/.well-known/jwks.json"] {
        assert_eq!(call(path).await.status, 200, "{path}");
    }
    // Somebody who was not signed in can be, to pay.
    app.sign_in("acme", "owner@acme.test").await;

    overdue(&app, &owner, None, "active").await;
    assert_eq!((call("/crm").await.status, call("/crm").await.header("x-billing-state")), (200, ""));
    assert_eq!(app.audited("subscription.status", "success").await, 4);
}
