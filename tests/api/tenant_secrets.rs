//! Secrets that tenants give the platform: they go in and do not come out.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::helpers::{App, Session, spawn_app, spawn_app_on, until};
use crate::metered::app_with;
use crate::provider::{Provider, reply};

const VALUE: &str = "sk-very-secret-indeed";

async fn put(app: &App, by: &Session, tenant: &str, name: &str, body: &Value) -> crate::helpers::Reply {
    app.put("acme", &format!("/tenants/{tenant}/secrets/{name}")).token(by).json(body).await
}

#[tokio::test]
async fn a_secret_never_comes_back() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    let body = json!({ "value": VALUE, "purpose": "Our key at the provider" });
    let stored = put(&app, &owner, &tenant.id, "openai", &body).await;
    assert_eq!((stored.status, &stored.json()["name"]), (200, &json!("openai")), "{stored:?}");
    let listed = app.get("acme", &format!("/tenants/{}/secrets", tenant.id)).token(&owner).await;
    let found = &listed.json()["secrets"][0];
    assert_eq!((&found["name"], &found["purpose"]), (&json!("openai"), &json!("Our key at the provider")));
    assert!(found["created_at"].is_string() && found["updated_at"].is_string());
    assert!(!stored.body.contains(VALUE) && !listed.body.contains(VALUE));
    assert_eq!(app.get("acme", &format!("/tenants/{}/secrets/openai", tenant.id)).token(&owner).await.status, 405);
    for table in ["platform.tenant_secrets", "platform.audit_log"] {
        let sql = format!(
            "SELECT count(*) FROM {table} t WHERE encode(convert_to(t::text, 'UTF8'), 'escape') LIKE '%{VALUE}%'"
        );
        assert_eq!(app.count(&sql).await, 0, "{table}");
    }
    let hex: String = VALUE.bytes().map(|byte| format!("{byte:02x}")).collect();
    let sql = format!("SELECT count(*) FROM platform.tenant_secrets WHERE encode(secret_enc, 'hex') LIKE '%{hex}%'");
    assert_eq!(app.count(&sql).await, 0);
    assert_eq!(app.audited("tenant_secret.put", "success").await, 1);
    // A new value of the same name.
    put(&app, &owner, &tenant.id, "openai", &json!({ "value": "other" })).await;
    assert_eq!(app.count("SELECT count(*) FROM platform.tenant_secrets").await, 1);
    let path = format!("/tenants/{}/secrets/openai", tenant.id);
    assert_eq!(app.delete("acme", &path).token(&owner).await.status, 204);
    app.delete("acme", &path).token(&owner).await.problem(404, "not-found");
    assert_eq!(app.count("SELECT count(*) FROM platform.tenant_secrets").await, 0);
}

#[tokio::test]
async fn only_an_admin_of_the_tenant_who_has_stepped_up_stores_one() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let globex = app.onboard("globex").await;
    let body = json!({ "value": VALUE });
    put(&app, &owner, &tenant.id, "openai", &body).await.problem(401, "insufficient_user_authentication");
    let member = app.user("acme", "member").await;
    put(&app, &member, &tenant.id, "openai", &body).await.problem(403, "forbidden");
    let owner = app.stepped_up("acme", &owner).await;
    put(&app, &owner, &globex.id, "openai", &body).await.problem(404, "not-found");
    assert_eq!(app.count("SELECT count(*) FROM platform.tenant_secrets").await, 0);
}

#[tokio::test]
async fn what_is_no_secret_is_named() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    for (name, body, pointers) in [
        ("openai", json!({}), vec!["/value"]),
        ("openai", json!({ "value": " " }), vec!["/value"]),
        ("openai", json!({ "value": "k".repeat(8_193) }), vec!["/value"]),
        ("Open.AI", json!({ "value": "", "purpose": "x".repeat(201) }), vec!["/name", "/purpose", "/value"]),
    ] {
        assert_eq!(put(&app, &owner, &tenant.id, name, &body).await.pointers(), pointers, "{name} {body}");
    }
    for n in 0..50 {
        assert_eq!(put(&app, &owner, &tenant.id, &format!("s{n}"), &json!({ "value": "v" })).await.status, 200);
    }
    put(&app, &owner, &tenant.id, "one-more", &json!({ "value": "v" })).await.problem(409, "conflict");
    assert_eq!(put(&app, &owner, &tenant.id, "s7", &json!({ "value": "w" })).await.status, 200, "one that is there");
}

#[tokio::test]
async fn every_node_uses_a_new_secret_at_once() {
    let provider = Provider::start(|request, stream| {
        let key = request.header("authorization").unwrap().to_owned();
        reply(stream, 200, "", &json!({ "key": key, "usage": { "total_tokens": 1 } }).to_string());
    });
    let here = app_with(provider.ai_route(), |_| {}).await;
    let routes = crate::helpers::routes(&provider.ai_route());
    let there = spawn_app_on(Arc::clone(&here.db), None, |settings| {
        settings.gateway.routes = routes;
        // Tokens name the tenant's one URL.
        settings.gateway.public_port = here.port;
    })
    .await;
    let (tenant, owner) = here.tenant_with_owner("acme").await;
    let owner = here.stepped_up("acme", &owner).await;
    let ask = async |app: &App| app.post("acme", "/ai/chat/completions").token(&owner).json(&json!({})).await;
    ask(&there).await.problem(424, "provider-key-missing");
    for value in ["first", "second"] {
        put(&here, &owner, &tenant.id, "openai", &json!({ "value": value })).await;
        let wanted = format!("Bearer {value}");
        assert_eq!(ask(&here).await.json()["key"], wanted, "before the answer");
        until("the other node has it", async || {
            let reply = ask(&there).await;
            reply.status == 200 && reply.json()["key"] == wanted
        })
        .await;
    }
    here.delete("acme", &format!("/tenants/{}/secrets/openai", tenant.id)).token(&owner).await;
    ask(&here).await.problem(424, "provider-key-missing");
}
