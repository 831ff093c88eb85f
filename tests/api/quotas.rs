//! Plans and limits as a tenant's users, its admins and the platform's operators see and change them.

use serde_json::{Value, json};

use crate::helpers::{App, Reply, Session, spawn_app, until};

/// Counts usage of `ai_tokens` in the present month, as if it had come in.
async fn count(app: &App, tenant: &str, used: i64) {
    let insert = format!(
        "INSERT INTO billing.usage_counters (tenant_id, meter, period_start, period_end, used)
         VALUES ('{tenant}', 'ai_tokens', date_trunc('month', now(), 'UTC'),
                 date_trunc('month', now(), 'UTC') + interval '1 month', {used})
         ON CONFLICT (tenant_id, meter, period_start) DO UPDATE SET used = {used}"
    );
    app.db.as_admin(&insert).await;
}

/// What the tenants' streams show.
async fn stream(app: &App) -> Vec<(String, Value)> {
    let mut admin = app.db.connect("postgres").await;
    let sql = "SELECT kind, payload FROM billing.stream_events ORDER BY created_at, id";
    sqlx::query_as(sql).fetch_all(&mut admin).await.unwrap()
}

async fn resume(app: &App, session: &Session, meter: &str) -> Reply {
    app.post("acme", &format!("/billing/usage/{meter}/resume")).token(session).await
}

async fn change_plan(app: &App, operator: &Session, tenant: &str, body: &Value) -> Reply {
    app.post("platform", &format!("/operator/tenants/{tenant}/plan")).token(operator).json(body).await
}

#[tokio::test]
async fn an_admin_who_has_stepped_up_lifts_a_pause_once() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    count(&app, &tenant.id, 10_000).await;
    resume(&app, &owner, "ai_tokens").await.problem(401, "insufficient_user_authentication");
    let owner = app.stepped_up("acme", &owner).await;
    let reply = resume(&app, &owner, "ai_tokens").await;
    let month = app.get("acme", "/billing/subscription").token(&owner).await.json()["period"]["name"].clone();
    let resumed = json!({ "meter": "ai_tokens", "period": month, "used": 10_000, "reserved": 0, "state": "soft" });
    assert_eq!((reply.status, reply.json()), (200, resumed));
    resume(&app, &owner, "ai_tokens").await.problem(409, "conflict");
    let told = stream(&app).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (kind, payload) = &told[0];
    assert_eq!(
        (kind.as_str(), &payload["meter"], &payload["state"]),
        ("workflow.resumed", &json!("ai_tokens"), &json!("soft"))
    );
    assert_eq!(app.audited("usage.resume", "success").await, 1);
    // The other nodes are told.
    assert_eq!(app.count("SELECT count(*) FROM platform.config_log WHERE kind = 'usage'").await, 1);
}

#[tokio::test]
async fn what_is_not_paused_is_not_resumed() {
    let app = spawn_app(|settings| {
        let plan = settings.plans.get_mut("free").unwrap();
        plan.meters.get_mut("ai_tokens").unwrap().hard_limit = Some(20_000);
    })
    .await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    // Never used; below the limit; no limits.
    resume(&app, &owner, "ai_tokens").await.problem(409, "conflict");
    count(&app, &tenant.id, 9_999).await;
    resume(&app, &owner, "ai_tokens").await.problem(409, "conflict");
    resume(&app, &owner, "workflow_runs").await.problem(409, "conflict");
    count(&app, &tenant.id, 20_000).await;
    let refused = resume(&app, &owner, "ai_tokens").await.problem(409, "conflict");
    assert!(refused["detail"].as_str().unwrap().contains("hard limit"), "{refused}");
    for unknown in ["pages", "AI", "a%20b", "%00", "x%2Fy"] {
        resume(&app, &owner, unknown).await.problem(404, "not-found");
    }
    assert_eq!(app.audited("usage.resume", "success").await, 0);
    assert_eq!(stream(&app).await.len(), 0);
}

#[tokio::test]
async fn another_plan_holds_at_once_and_lets_paused_work_go_on() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let operator = app.operator().await;
    let subscription = async || app.get("acme", "/billing/subscription").token(&owner).await.json();
    assert_eq!((&subscription().await["plan"], &subscription().await["state"]), (&json!("free"), &json!("active")));
    // Paused and announced as that.
    count(&app, &tenant.id, 10_000).await;
    app.db.as_admin("UPDATE billing.usage_counters SET judged_version = 'free@1', judged_state = 'paused'").await;
    let reply = change_plan(&app, &operator, &tenant.id, &json!({ "plan": "basic" })).await;
    let version =
        app.get("acme", &format!("/tenants/{}/config", tenant.id)).token(&owner).await.json()["version"].clone();
    let changed = json!({ "id": tenant.id, "plan": "basic", "config_version": version });
    assert_eq!((reply.status, reply.json()), (200, changed));
    assert_eq!(subscription().await["plan"], "basic");
    let kinds: Vec<String> = stream(&app).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["plan.changed", "workflow.resumed"]);
    // The plan's other figures hold, too.
    let limit = app.get("acme", "/auth/me").token(&owner).await.header("x-ratelimit-limit").to_owned();
    assert_eq!(limit, "3000");
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'tenant.plan' AND actor_kind = 'operator'
                   AND detail = '{\"from\": \"free\", \"to\": \"basic\"}'";
    assert_eq!(app.count(audited).await, 1);
    assert_eq!(app.audited("usage.resume", "success").await, 1);

    change_plan(&app, &operator, &tenant.id, &json!({ "plan": "basic" })).await.problem(409, "conflict");
    for (body, pointer) in [
        (json!({ "plan": "gold" }), "/plan"),
        (json!({ "plan": "" }), "/plan"),
        (json!({}), ""),
        (json!({ "plan": 5 }), "/plan"),
        (json!({ "plan": "pro", "free": true }), "/free"),
    ] {
        assert_eq!(change_plan(&app, &operator, &tenant.id, &body).await.pointers(), [pointer], "{body}");
    }
    let nobody = uuid::Uuid::new_v4().to_string();
    change_plan(&app, &operator, &nobody, &json!({ "plan": "pro" })).await.problem(404, "not-found");
    assert_eq!(subscription().await["plan"], "basic");
}

#[tokio::test]
async fn a_threshold_that_a_smaller_plan_puts_below_the_usage_is_mailed_to_the_owner() {
    let app = spawn_app(|settings| {
        let mut small = settings.plans["free"].clone();
        small.meters.get_mut("ai_tokens").unwrap().soft_limit = Some(1_000);
        settings.plans.insert("small".to_owned(), small);
    })
    .await;
    let tenant = app.onboard("acme").await;
    app.db.as_admin("UPDATE auth.users SET email_verified_at = now()").await;
    let operator = app.operator().await;
    count(&app, &tenant.id, 1_050).await;
    assert_eq!(change_plan(&app, &operator, &tenant.id, &json!({ "plan": "small" })).await.status, 200);
    let mail = app.mail("usage_threshold", &tenant.owner).await;
    assert_eq!(mail.subject, "acme Ltd has used 100 % of its ai_tokens");
    assert!(mail.body.contains("1,050 of 1,000 ai_tokens"), "{}", mail.body);
    assert!(mail.link().ends_with(&format!("://acme.localhost:{}/billing/plans", app.port)), "{}", mail.link());
    app.all_mail_sent().await;
    assert_eq!(app.mails("usage_threshold", &tenant.owner).len(), 1, "one for three thresholds");
}

#[tokio::test]
async fn every_user_sees_the_plans_as_they_are_configured() {
    let app = spawn_app(|settings| {
        let plan = settings.plans.get_mut("pro").unwrap();
        plan.version = 7;
        plan.meters.get_mut("ai_tokens").unwrap().thresholds = vec![100, 80, 80];
    })
    .await;
    app.onboard("acme").await;
    let member = app.user("acme", "member").await;
    let listed = app.get("acme", "/billing/plans").token(&member).await.json();
    assert_eq!(listed["current"], "free");
    let plans = listed["plans"].as_array().unwrap();
    let names: Vec<_> = plans.iter().map(|plan| plan["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["basic", "free", "pro"]);
    let free = json!({
        "name": "free", "title": "Free", "version": 1, "price_minor": 0, "trial_days": 0, "requests_per_minute": 1_000_000, "modules": ["crm", "workflows", "ai"],
        "meters": [{
            "meter": "ai_tokens", "included": 10_000, "overage_unit_price": null, "soft_limit": 10_000, "hard_limit": null,
            "thresholds": [50, 80, 100, 120], "on_exceed": "pause", "throttle_per_minute": 10,
        }],
    });
    assert_eq!(plans[1], free);
    assert_eq!(
        (&plans[0]["price_minor"], &plans[0]["meters"][0]["overage_unit_price"]),
        (&json!(4_900), &json!("0.002"))
    );
    assert_eq!(listed["modules"], json!([{ "name": "crm", "title": "CRM", "price_minor": 1_900 }]));
    assert_eq!((&listed["currency"], &listed["tax_rate_percent"]), (&json!("USD"), &json!("0")));
    assert_eq!((&plans[2]["version"], &plans[2]["meters"][0]["thresholds"]), (&json!(7), &json!([80, 100])));
    let subscription = app.get("acme", "/billing/subscription").token(&member).await.json();
    let [start, end] = ["start", "end"]
        .map(|key| chrono::DateTime::parse_from_rfc3339(subscription["period"][key].as_str().unwrap()).unwrap());
    let now = chrono::DateTime::parse_from_rfc2822(
        app.get("acme", "/billing/subscription").token(&member).await.header("date"),
    )
    .unwrap();
    assert!(start <= now && now <= end, "{start} {now} {end}");
    assert_eq!((&subscription["plan"], &subscription["version"]), (&json!("free"), &json!(1)));
}

#[tokio::test]
async fn the_other_node_hears_of_the_plan() {
    let a = spawn_app(|_| {}).await;
    let b = crate::helpers::spawn_app_on(std::sync::Arc::clone(&a.db), None, |settings| {
        settings.gateway.public_port = a.port;
    })
    .await;
    let (tenant, owner) = a.tenant_with_owner("acme").await;
    let plan = async || b.get("acme", "/billing/subscription").token(&owner).await.json()["plan"].clone();
    assert_eq!(plan().await, "free");
    let operator = a.operator().await;
    assert_eq!(change_plan(&a, &operator, &tenant.id, &json!({ "plan": "pro" })).await.status, 200);
    until("the other node knows the plan", async || plan().await == "pro").await;
}
