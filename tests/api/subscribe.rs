//! Subscribing, changing and ending over HTTP.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::helpers::{App, Reply, Session, spawn_app, spawn_app_on, until};

pub async fn subscribe(app: &App, by: &Session, body: Value) -> Reply {
    app.post("acme", "/billing/subscribe").token(by).json(&body).await
}

async fn cancel(app: &App, by: &Session, body: Value) -> Reply {
    app.post("acme", "/billing/cancel").token(by).json(&body).await
}

async fn subscription(app: &App, by: &Session) -> Value {
    app.get("acme", "/billing/subscription").token(by).await.json()
}

/// An owner who has shown a second factor.
pub async fn strong_owner(app: &App) -> Session {
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.stepped_up("acme", &owner).await
}

#[tokio::test]
async fn an_admin_who_has_stepped_up_subscribes_and_it_holds_at_once() {
    let app = spawn_app(|_| {}).await;
    let (_, weak) = app.tenant_with_owner("acme").await;
    subscribe(&app, &weak, json!({ "plan": "basic" })).await.problem(401, "insufficient_user_authentication");
    cancel(&app, &weak, json!({})).await.problem(401, "insufficient_user_authentication");
    let owner = app.stepped_up("acme", &weak).await;
    let reply = subscribe(&app, &owner, json!({ "plan": "basic" })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let shown = reply.json()["subscription"].clone();
    for (key, value) in [
        ("plan", json!("basic")),
        ("version", json!(1)),
        ("state", json!("active")),
        ("status", json!("active")),
        ("price_minor", json!(4_900)),
        ("monthly_minor", json!(4_900)),
        ("currency", json!("USD")),
        ("add_ons", json!([])),
        ("cancel_at_period_end", json!(false)),
        ("scheduled", json!(null)),
        ("coupon", json!(null)),
        ("trial_end", json!(null)),
    ] {
        assert_eq!(shown[key], value, "{key}: {shown:#}");
    }
    assert!(shown["pending_minor"].as_i64().is_some_and(|minor| (0..=4_900).contains(&minor)), "{shown:#}");
    assert_eq!(subscription(&app, &owner).await, shown);
    let limit = app.get("acme", "/auth/me").token(&owner).await.header("x-ratelimit-limit").to_owned();
    assert_eq!(limit, "3000");
    // The same again is the same.
    let again = subscribe(&app, &owner, json!({ "plan": "basic" })).await;
    assert_eq!((again.status, &again.json()["subscription"]), (200, &shown));
    assert_eq!(app.audited("subscription.change", "success").await, 1);
    assert_eq!(app.count("SELECT count(*) FROM billing.stream_events WHERE kind = 'plan.changed'").await, 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_wish_is_named() {
    let app = spawn_app(|settings| {
        settings.plans.get_mut("basic").unwrap().modules.clear();
        settings.coupons = toml::from_str("LAUNCH = { percent_off = 20, months = 3 }").unwrap();
    })
    .await;
    let owner = strong_owner(&app).await;
    let many: Vec<String> = (0..51).map(|n| format!("m{n}")).collect();
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "plan": 5 }), "/plan"),
        (json!({ "plan": "gold" }), "/plan"),
        (json!({ "plan": "basic", "seats": 5 }), "/seats"),
        (json!({ "plan": "basic", "modules": ["crm", "x"] }), "/modules/1"),
        (json!({ "plan": "basic", "modules": ["crm", "crm"] }), "/modules/1"),
        (json!({ "plan": "pro", "modules": ["crm"] }), "/modules/0"),
        (json!({ "plan": "basic", "modules": many }), "/modules"),
        (json!({ "plan": "basic", "coupon": "launch" }), "/coupon"),
        (json!({ "plan": "basic", "success_url": "javascript:alert(1)" }), "/success_url"),
        (json!({ "plan": "basic", "cancel_url": "//evil.test" }), "/cancel_url"),
    ] {
        assert_eq!(subscribe(&app, &owner, body.clone()).await.pointers(), [pointer], "{body}");
    }
    assert_eq!(cancel(&app, &owner, json!({ "now": true })).await.pointers(), ["/now"]);
    cancel(&app, &owner, json!({})).await.problem(409, "conflict");
    assert_eq!(subscription(&app, &owner).await["plan"], "free");
    assert_eq!(app.count("SELECT count(*) FROM billing.pending_items").await, 0);
    let body = json!({ "plan": "basic", "modules": ["crm"], "coupon": "LAUNCH" });
    let shown = subscribe(&app, &owner, body).await.json()["subscription"].clone();
    assert_eq!(shown["add_ons"], json!([{ "name": "crm", "price_minor": 1_900 }]));
    assert_eq!((&shown["modules"], &shown["monthly_minor"]), (&json!(["crm"]), &json!(6_800)));
    assert_eq!((&shown["coupon"]["code"], &shown["coupon"]["percent_off"]), (&json!("LAUNCH"), &json!(20)));
}

#[tokio::test]
async fn less_comes_with_the_next_month_and_an_end_can_be_taken_back() {
    let app = spawn_app(|_| {}).await;
    let owner = strong_owner(&app).await;
    subscribe(&app, &owner, json!({ "plan": "pro" })).await;
    let smaller = subscribe(&app, &owner, json!({ "plan": "basic" })).await.json()["subscription"].clone();
    let end = smaller["period"]["end"].clone();
    assert_eq!((&smaller["plan"], &smaller["scheduled"]["plan"]), (&json!("pro"), &json!("basic")));
    assert_eq!((&smaller["scheduled"]["at"], &smaller["scheduled"]["is_end"]), (&end, &json!(false)));
    let ending = cancel(&app, &owner, json!({})).await.json()["subscription"].clone();
    assert_eq!((&ending["cancel_at_period_end"], &ending["scheduled"]["plan"]), (&json!(true), &json!("free")));
    let back = subscribe(&app, &owner, json!({ "plan": "pro" })).await.json()["subscription"].clone();
    assert_eq!((&back["cancel_at_period_end"], &back["scheduled"]), (&json!(false), &json!(null)));
    let over = cancel(&app, &owner, json!({ "at_period_end": false })).await.json()["subscription"].clone();
    assert_eq!((&over["plan"], &over["status"]), (&json!("free"), &json!("canceled")));
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.status, 200, "what is free goes on");
}

#[tokio::test]
async fn what_was_agreed_for_later_is_done_by_a_job_on_every_node() {
    let a = spawn_app(|_| {}).await;
    let owner = strong_owner(&a).await;
    subscribe(&a, &owner, json!({ "plan": "pro" })).await;
    subscribe(&a, &owner, json!({ "plan": "basic" })).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| settings.gateway.public_port = a.port).await;
    assert_eq!(subscription(&b, &owner).await["plan"], "pro");
    let past = "UPDATE billing.subscriptions SET scheduled_at = now() - interval '1 minute',
                scheduled = jsonb_set(scheduled, '{at}', to_jsonb(now() - interval '1 minute')) WHERE scheduled_at IS NOT NULL";
    a.db.as_admin(past).await;
    let operator = a.operator().await;
    let operator = a.stepped_up("platform", &operator).await;
    // It is refused while the job's own run of this minute goes on.
    until("the job is run", async || {
        let run = a.post("platform", "/operator/jobs/change_due_subscriptions/run").token(&operator).await;
        assert!(matches!(run.status, 202 | 409), "{run:?}");
        run.status == 202
    })
    .await;
    for app in [&a, &b] {
        until("the smaller plan holds", async || subscription(app, &owner).await["plan"] == "basic").await;
    }
}

#[tokio::test]
async fn a_tenant_keeps_the_version_that_it_has_and_a_new_one_gets_the_newest() {
    let first = spawn_app(|settings| settings.plans.get_mut("free").unwrap().requests_per_minute = Some(500)).await;
    let (_, owner) = first.tenant_with_owner("acme").await;
    let db = Arc::clone(&first.db);
    let port = first.port;
    drop(first);
    let second = spawn_app_on(db, None, |settings| {
        let free = settings.plans.get_mut("free").unwrap();
        (free.version, free.requests_per_minute) = (2, Some(900));
        settings.gateway.public_port = port;
    })
    .await;
    let limit = async |slug: &str, by: &Session| {
        second.get(slug, "/auth/me").token(by).await.header("x-ratelimit-limit").to_owned()
    };
    assert_eq!(limit("acme", &owner).await, "500");
    assert_eq!(subscription(&second, &owner).await["version"], 1);
    let (_, newcomer) = second.tenant_with_owner("globex").await;
    assert_eq!(limit("globex", &newcomer).await, "900");
}
