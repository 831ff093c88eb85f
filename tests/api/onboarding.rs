//! `POST /tenants/onboard`.

use businessos::config::OnboardingMode;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::helpers::{App, PASSWORD, Reply, onboard_body, spawn_app};

async fn onboard(app: &App, body: &Value) -> Reply {
    app.post("localhost", "/tenants/onboard").json(body).await
}

/// Nothing but the platform's own tenant is stored.
async fn assert_nothing_was_made(app: &App) {
    for table in ["platform.tenants", "platform.data_keys", "auth.signing_keys"] {
        assert_eq!(app.count(&format!("SELECT count(*) FROM {table}")).await, 1, "{table}");
    }
    assert_eq!(app.count("SELECT count(*) FROM auth.users").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM platform.audit_log").await, 1);
}

#[tokio::test]
async fn a_tenant_is_made_with_its_owner() {
    let app = spawn_app(|_| {}).await;
    let mut body = onboard_body("acme");
    body["region"] = "eu".into();
    body["admin"]["name"] = "Ann".into();
    let reply = onboard(&app, &body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let made = reply.json();
    let (tenant, admin) = (&made["tenant"], &made["admin"]);
    let id: uuid::Uuid = tenant["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(reply.header("location"), format!("/tenants/{id}"));
    let expected = json!({
        "id": id, "name": "acme Ltd", "subdomain": "acme", "region": "eu", "plan": "free", "state": "active",
        "created_at": tenant["created_at"],
    });
    assert_eq!(*tenant, expected);
    assert!(chrono::DateTime::parse_from_rfc3339(tenant["created_at"].as_str().unwrap()).is_ok(), "{tenant}");
    assert_eq!(*admin, json!({ "id": admin["id"], "email": "owner@acme.test", "role": "owner" }));
    assert_eq!(made["url"], format!("http://acme.localhost:{}", app.port));
    let audited = format!(
        "SELECT count(*) FROM platform.audit_log WHERE tenant_id = '{id}' AND action = 'tenant.onboard' \
         AND actor_kind = 'anonymous' AND outcome = 'success'"
    );
    assert_eq!(app.count(&audited).await, 1);
    // It works at once.
    app.sign_in("acme", "owner@acme.test").await;
}

#[tokio::test]
async fn what_is_left_out_has_its_default() {
    let app = spawn_app(|_| {}).await;
    let mut body = onboard_body("acme");
    body.as_object_mut().unwrap().remove("plan");
    let tenant = onboard(&app, &body).await.json()["tenant"].clone();
    assert_eq!((&tenant["region"], &tenant["plan"]), (&json!("global"), &json!("free")));
}

#[tokio::test]
async fn what_costs_something_is_not_for_whoever_comes_along() {
    let app = spawn_app(|_| {}).await;
    let mut body = onboard_body("acme");
    body["plan"] = "pro".into();
    assert_eq!(onboard(&app, &body).await.pointers(), ["/plan"]);
    assert_nothing_was_made(&app).await;
    // An operator answers for it, and the rest of the month is due.
    let operator = app.operator().await;
    let made = app.post("platform", "/tenants/onboard").token(&operator).json(&body).await;
    assert_eq!((made.status, &made.json()["tenant"]["plan"]), (201, &json!("pro")), "{made:?}");
    let due = "SELECT count(*) FROM billing.pending_items WHERE kind = 'proration_charge' AND amount_minor BETWEEN 1 AND 19900";
    assert_eq!(app.count(due).await, 1);
}

#[tokio::test]
async fn the_default_plan_is_for_everybody_whatever_it_costs() {
    let app = spawn_app(|settings| settings.onboarding.default_plan = "basic".to_owned()).await;
    let mut body = onboard_body("acme");
    body["plan"] = "basic".into();
    assert_eq!(onboard(&app, &body).await.status, 201);
    body["plan"] = "pro".into();
    assert_eq!(onboard(&app, &body).await.pointers(), ["/plan"]);
}

#[tokio::test]
async fn a_taken_subdomain_is_refused_and_changes_nothing() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    let mut body = onboard_body("acme");
    body["admin"]["email"] = "thief@acme.test".into();
    onboard(&app, &body).await.problem(409, "subdomain-taken");
    assert_eq!(app.count("SELECT count(*) FROM platform.tenants").await, 2);
    assert_eq!(app.count("SELECT count(*) FROM auth.users").await, 1);
    app.try_sign_in("acme", "thief@acme.test", PASSWORD).await.problem(401, "invalid-credentials");
}

#[tokio::test]
async fn every_wrong_field_is_named_in_one_answer() {
    let app = spawn_app(|_| {}).await;
    let body = json!({
        "name": "", "subdomain": "Not A Label", "region": "mars", "plan": "gold",
        "admin": { "email": "nobody", "password": "short", "name": "a\u{0}b" },
    });
    let all = ["/admin/email", "/admin/name", "/admin/password", "/name", "/plan", "/region", "/subdomain"];
    assert_eq!(onboard(&app, &body).await.pointers(), all);
    assert_nothing_was_made(&app).await;
}

#[tokio::test]
async fn one_wrong_field_is_named_alone() {
    let app = spawn_app(|settings| settings.onboarding.reserved_subdomains = vec!["ours".to_owned()]).await;
    let long = "x".repeat(300);
    let cases = [
        (
            "/subdomain",
            vec![
                json!("www"),
                json!("platform"),
                json!("ours"),
                json!("xn--acme"),
                json!("a.b"),
                json!("-a"),
                json!("a_b"),
                json!("ä"),
                json!(""),
                json!("a\u{0}"),
                json!("x".repeat(64)),
                json!(7),
                json!(null),
            ],
        ),
        ("/name", vec![json!(""), json!("  "), json!("a\u{0}b"), json!(long), json!(["a"]), json!(null)]),
        ("/region", vec![json!("mars"), json!(""), json!({}), json!("eu\u{0}")]),
        ("/plan", vec![json!("gold"), json!(""), json!(1.5)]),
        (
            "/admin/email",
            vec![
                json!("a"),
                json!("a@"),
                json!("a b@c.d"),
                json!(format!("{long}@c.d")),
                json!("a\u{0}@b.c"),
                json!(false),
            ],
        ),
        ("/admin/password", vec![json!("1234567"), json!(""), json!("x".repeat(129)), json!(12_345_678), json!(null)]),
        ("/admin/name", vec![json!(""), json!("a\nb"), json!(long), json!({})]),
        ("/admin", vec![json!(null), json!("a"), json!([])]),
    ];
    for (pointer, values) in cases {
        for value in values {
            let mut body = onboard_body("acme");
            *pointer_mut(&mut body, pointer) = value.clone();
            let reply = onboard(&app, &body).await;
            assert_eq!(reply.pointers(), [pointer], "{pointer} {value}: {reply:?}");
        }
    }
    assert_nothing_was_made(&app).await;
}

fn pointer_mut<'a>(body: &'a mut Value, pointer: &str) -> &'a mut Value {
    let mut at = body;
    for part in pointer.split('/').skip(1) {
        at = at.as_object_mut().unwrap().entry(part).or_insert(Value::Null);
    }
    at
}

#[tokio::test]
async fn unknown_and_missing_fields_are_refused() {
    let app = spawn_app(|_| {}).await;
    for pointer in ["/colour", "/admin/role", "/id"] {
        let mut body = onboard_body("acme");
        *pointer_mut(&mut body, pointer) = "owner".into();
        let reply = onboard(&app, &body).await;
        assert_eq!(reply.pointers(), [pointer], "{reply:?}");
    }
    for (parent, field) in [("", "name"), ("", "subdomain"), ("", "admin"), ("/admin", "email"), ("/admin", "password")]
    {
        let mut body = onboard_body("acme");
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field);
        let reply = onboard(&app, &body).await;
        let problem = reply.problem(422, "validation-failed");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(field), "{reply:?}");
    }
    assert_nothing_was_made(&app).await;
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let app = spawn_app(|_| {}).await;
    let post = || app.post("localhost", "/tenants/onboard");
    for (body, status, code) in [
        (Vec::new(), 400, "malformed-request"),
        (b"{".to_vec(), 400, "malformed-request"),
        (b"{\"name\": \"a\xff\"}".to_vec(), 400, "malformed-request"),
        (b"{\"name\": \"\xed\xa0\x80\"}".to_vec(), 400, "malformed-request"),
        (br#"{"name": "\ud800"}"#.to_vec(), 400, "malformed-request"),
        ("[".repeat(100_000).into_bytes(), 422, "validation-failed"),
        (format!("{{\"name\":{}", "[".repeat(100_000)).into_bytes(), 422, "validation-failed"),
        (format!("{{\"colour\":{}", "{\"a\":".repeat(20_000)).into_bytes(), 422, "validation-failed"),
        (b"null".to_vec(), 422, "validation-failed"),
        (b"\0".to_vec(), 400, "malformed-request"),
        ([b"{\"name\":\"".to_vec(), vec![b'a'; 10 << 20], b"\"}".to_vec()].concat(), 413, "payload-too-large"),
    ] {
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let reply = post().raw_json(body).await;
        assert_eq!(reply.status, status, "{start}: {reply:?}");
        reply.problem(status, code);
    }
    let body = onboard_body("acme").to_string();
    post().body(body.clone()).await.problem(415, "unsupported-media-type");
    post().header("content-type", "text/plain").body(body.clone()).await.problem(415, "unsupported-media-type");
    let twice = "{\"name\":\"b\"}";
    post().raw_json(twice).await.problem(422, "validation-failed");
    post().raw_json(format!("{body} {body}")).await.problem(400, "malformed-request");
    assert_nothing_was_made(&app).await;
}

#[tokio::test]
async fn onboarding_can_be_for_operators_only() {
    let app = spawn_app(|settings| settings.onboarding.mode = OnboardingMode::Operator).await;
    onboard(&app, &onboard_body("acme")).await.problem(401, "authentication-required");
    assert_nothing_was_made(&app).await;
    let operator = app.operator().await;
    let made = app.post("platform", "/tenants/onboard").token(&operator).json(&onboard_body("acme")).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        app.count(
            "SELECT count(*) FROM platform.audit_log WHERE action = 'tenant.onboard' AND actor_kind = 'operator'"
        )
        .await,
        1
    );
    let owner = app.sign_in("acme", "owner@acme.test").await;
    let refused = app.post("acme", "/tenants/onboard").token(&owner).json(&onboard_body("more")).await;
    refused.problem(403, "forbidden");
    assert_eq!(app.count("SELECT count(*) FROM platform.tenants").await, 2);
}

#[tokio::test]
async fn of_many_who_want_one_name_at_once_one_gets_it() {
    let app = spawn_app(|_| {}).await;
    let bodies: Vec<_> = (0..20)
        .map(|n| {
            let mut body = onboard_body("acme");
            body["admin"]["email"] = format!("owner{n}@acme.test").into();
            body
        })
        .collect();
    let replies = join_all(bodies.iter().map(|body| onboard(&app, body))).await;
    let n_made = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(n_made, 1, "{replies:?}");
    for refused in replies.iter().filter(|reply| reply.status != 201) {
        refused.problem(409, "subdomain-taken");
    }
    for table in ["platform.tenants", "platform.data_keys", "auth.signing_keys"] {
        assert_eq!(app.count(&format!("SELECT count(*) FROM {table}")).await, 2, "{table}");
    }
    assert_eq!(app.count("SELECT count(*) FROM auth.users").await, 1);
}
