//! The gateway's routes: what services see, who is let through, how much.

use serde_json::{Value, json};

use crate::helpers::{App, onboard_body, routes, spawn_app, until};
use crate::sign_in::verify;
use crate::upstream::Upstream;

async fn app_with(text: String) -> App {
    spawn_app(move |settings| {
        settings.gateway.routes = routes(&text);
        settings.gateway.upgrade_url = "https://acme.test/upgrade".to_owned();
    })
    .await
}

/// A header that the service saw exactly once.
#[track_caller]
fn seen<'a>(answer: &'a Value, name: &str) -> &'a str {
    let values = answer["headers"][name].as_array().unwrap_or_else(|| panic!("no {name}: {answer:#}"));
    assert_eq!(values.len(), 1, "{name}: {answer:#}");
    values[0].as_str().unwrap()
}

#[tokio::test]
async fn a_service_sees_who_calls_and_no_forged_word() {
    let upstream = Upstream::start();
    let app = app_with(upstream.route("/crm", "strip_prefix = true")).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let me = app.get("acme", "/auth/me").token(&owner).await.json();
    let mut request = app.post("acme", "/crm/a%2Bb?x=%20&y").token(&owner).raw_json("{\"a\":1}");
    for name in [
        "X-Tenant-Id",
        "x-tenant-slug",
        "X-Tenant-Plan",
        "X-TENANT-REGION",
        "X-User-Id",
        "X-User-Roles",
        "X-Auth-Acr",
        "X-Tenant-Context",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Tenant-Anything",
        "X-User-Email",
        "Forwarded",
    ] {
        request = request.header(name, "forged");
    }
    let request = request
        .header("connection", "x-tenant-id, x-user-id")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let reply = request.header("x-request-id", "client-chosen-id").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let answer = reply.json();
    assert_eq!((&answer["target"], &answer["body"]), (&json!("/a%2Bb?x=%20&y"), &json!("{\"a\":1}")));
    assert!(!answer.to_string().contains("forged"), "{answer:#}");
    for (name, value) in [
        ("x-tenant-id", tenant.id.as_str()),
        ("x-tenant-slug", "acme"),
        ("x-tenant-plan", "free"),
        ("x-tenant-region", "global"),
        ("x-user-id", me["id"].as_str().unwrap()),
        ("x-user-roles", "owner"),
        ("x-auth-acr", "aal1"),
        ("x-request-id", "client-chosen-id"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(seen(&answer, name), value, "{name}");
    }
    assert!(seen(&answer, "x-forwarded-host").starts_with("acme.localhost"), "{answer:#}");
    assert!(seen(&answer, "traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{answer:#}");
    assert!(!seen(&answer, "traceparent").contains("00f067aa0ba902b7"), "the span must be new: {answer:#}");
    for gone in ["authorization", "connection", "forwarded", "x-tenant"] {
        assert!(answer["headers"].get(gone).is_none(), "{gone}: {answer:#}");
    }
    let context = verify(&app, "acme", seen(&answer, "x-tenant-context"), "/crm").await;
    assert_eq!((&context["tid"], &context["slug"], &context["sub"]), (&json!(tenant.id), &json!("acme"), &me["id"]));
    assert_eq!((&context["roles"], &context["plan"]), (&json!(["owner"]), &json!("free")));
    assert!(context["exp"].as_i64().unwrap() - context["iat"].as_i64().unwrap() <= 60);
}

#[tokio::test]
async fn a_context_can_be_bound_to_its_request() {
    let upstream = Upstream::start();
    let app = app_with(upstream.route("/crm", "bind_request_id = true")).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for id in ["request-one", "request-two"] {
        let answer = app.get("acme", "/crm/x").token(&owner).header("x-request-id", id).await.json();
        let context = verify(&app, "acme", seen(&answer, "x-tenant-context"), "/crm").await;
        assert_eq!(context["request_id"], id);
    }
}

#[tokio::test]
async fn nameless_callers_of_a_tenant_share_a_context_until_the_tenant_changes() {
    let upstream = Upstream::start();
    let app =
        app_with(upstream.route("/crm", "auth = \"optional\"") + &upstream.route("/open", "auth = \"none\"")).await;
    let (acme, owner) = app.tenant_with_owner("acme").await;
    let (globex, _) = app.tenant_with_owner("globex").await;
    let context = async |tenant: &str, path: &str| {
        let answer = app.get(tenant, path).await.json();
        seen(&answer, "x-tenant-context").to_owned()
    };
    // A tenant's first moments may still change it, and half a minute may just be over.
    let mut first = String::new();
    until("it is signed once", async || {
        let before = std::mem::replace(&mut first, context("acme", "/crm/x").await);
        context("acme", "/crm/y").await == first && before == first
    })
    .await;
    for (tenant, id, path, route) in [
        ("acme", &acme.id, "/crm/x", "/crm"),
        ("acme", &acme.id, "/open/x", "/open"),
        ("globex", &globex.id, "/crm/x", "/crm"),
    ] {
        let told = verify(&app, tenant, &context(tenant, path).await, route).await;
        assert_eq!((&told["tid"], &told["aud"], &told["sub"]), (&json!(id), &json!(route), &Value::Null), "{path}");
    }
    let known = app.get("acme", "/crm/x").token(&owner).await.json();
    assert_ne!(seen(&known, "x-tenant-context"), first, "whoever has a name has a context of their own");
    let told = verify(&app, "acme", &context("acme", "/crm/x").await, "/crm").await;
    assert_eq!((&told["sub"], &told["plan"]), (&Value::Null, &json!("free")), "and leaves the others theirs");
    let owner = app.stepped_up("acme", &owner).await;
    let reply = app.post("acme", "/billing/subscribe").token(&owner).json(&json!({ "plan": "basic" })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let told = verify(&app, "acme", &context("acme", "/crm/x").await, "/crm").await;
    assert_eq!(told["plan"], "basic", "at once");
}

#[tokio::test]
async fn header_names_that_could_be_taken_for_ours_are_refused() {
    let upstream = Upstream::start();
    let app = app_with(upstream.route("/crm", "auth = \"none\"")).await;
    app.onboard("acme").await;
    for name in ["X_Tenant_Id", "x-tenant_id", "X.Tenant.Id", "x~tenant"] {
        app.get("acme", "/crm/x").header(name, "forged").await.problem(400, "malformed-request");
    }
    assert_eq!(upstream.n_requests(), 0);
}

#[tokio::test]
async fn a_route_says_whether_it_wants_a_credential() {
    let upstream = Upstream::start();
    let text = upstream.route("/must", "")
        + &upstream.route("/may", "auth = \"optional\"")
        + &upstream.route("/open", "auth = \"none\"");
    let app = app_with(text).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let refused = app.get("acme", "/must/x").await;
    refused.problem(401, "authentication-required");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    for path in ["/may/x", "/open/x"] {
        let answer = app.get("acme", path).await.json();
        assert_eq!(seen(&answer, "x-tenant-id"), tenant.id);
        assert!(answer["headers"].get("x-user-id").is_none(), "{answer:#}");
    }
    assert!(!seen(&app.get("acme", "/may/x").token(&owner).await.json(), "x-user-id").is_empty());
    app.get("acme", "/may/x").bearer("forged").await.problem(401, "invalid-token");
    // The service's own credentials pass where the platform asks for none.
    let answer = app.get("acme", "/open/x").header("authorization", "Basic YTpi").await.json();
    assert_eq!(seen(&answer, "authorization"), "Basic YTpi");
    assert!(answer["headers"].get("x-user-id").is_none(), "{answer:#}");
}

#[tokio::test]
async fn a_route_asks_for_a_role() {
    let upstream = Upstream::start();
    let app = app_with(upstream.route("/books", "roles = [\"billing\", \"owner\"]")).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (member, billing) = (app.user("acme", "member").await, app.user("acme", "billing").await);
    assert_eq!(app.get("acme", "/books").token(&owner).await.status, 200);
    assert_eq!(app.get("acme", "/books").token(&billing).await.status, 200);
    app.get("acme", "/books").token(&member).await.problem(403, "forbidden");
    assert_eq!(upstream.n_requests(), 2);
}

#[tokio::test]
async fn a_route_asks_for_a_module_of_the_plan() {
    let upstream = Upstream::start();
    let table = upstream.route("/flows", "module = \"workflows\"");
    let app = spawn_app(|settings| {
        settings.gateway.routes = routes(&table);
        settings.gateway.upgrade_url = "https://acme.test/upgrade".to_owned();
        settings.plans.get_mut("free").unwrap().modules = vec!["crm".to_owned()];
        settings.plans.get_mut("basic").unwrap().price_minor = 0;
    })
    .await;
    let (_, free) = app.tenant_with_owner("acme").await;
    let mut body = onboard_body("globex");
    body["plan"] = "basic".into();
    app.onboard_with(body).await;
    let basic = app.sign_in("globex", "owner@globex.test").await;
    let refused = app.get("acme", "/flows").token(&free).await.problem(403, "module-not-included");
    assert_eq!(refused["upgrade_url"], "https://acme.test/upgrade");
    assert_eq!(app.get("globex", "/flows").token(&basic).await.status, 200);
    assert_eq!(upstream.n_requests(), 1);
}

#[tokio::test]
async fn a_route_asks_for_a_stronger_or_fresher_sign_in() {
    let upstream = Upstream::start();
    let app = app_with(
        upstream.route("/vault", "min_acr = \"aal2\"\nmax_age_s = 300") + &upstream.route("/fresh", "max_age_s = 300"),
    )
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let refused = app.get("acme", "/vault").token(&owner).await;
    refused.problem(401, "insufficient_user_authentication");
    let challenge = refused.header("www-authenticate");
    for part in ["Bearer error=\"insufficient_user_authentication\"", "acr_values=\"aal2\"", "max_age=\"300\""] {
        assert!(challenge.contains(part), "{challenge}");
    }
    assert_eq!(app.get("acme", "/fresh").token(&owner).await.status, 200);
    // The same session, signed in an hour ago.
    app.db.as_admin("UPDATE auth.sessions SET auth_time = auth_time - interval '1 hour'").await;
    let stale = crate::helpers::Session::of(&app.refresh("acme", &owner.refresh).await);
    app.get("acme", "/fresh").token(&stale).await.problem(401, "insufficient_user_authentication");
    assert_eq!(upstream.n_requests(), 1);
}

#[tokio::test]
async fn what_nobody_serves_is_not_found() {
    let upstream = Upstream::start();
    let app = app_with(upstream.route("/crm", "auth = \"none\"")).await;
    app.onboard("acme").await;
    for path in ["/", "/crmx", "/cr", "/nothing"] {
        app.get("acme", path).await.problem(404, "no-route");
    }
    // Many services route without regard to case, so this is the route in disguise.
    app.get("acme", "/CRM/x").await.problem(400, "malformed-request");
    for host in
        ["nobody", "evil.test", "a.acme.localhost", "localhost.evil.test", "acme.localhost.evil.test", "127.0.0.1"]
    {
        app.get(host, "/crm/x").await.problem(404, "unknown-tenant");
    }
    assert_eq!(upstream.n_requests(), 0);
    assert_eq!(app.get("ACME", "/crm").await.status, 200);
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_refused() {
    let upstream = Upstream::start();
    let app =
        app_with(upstream.route("/open", "auth = \"none\"") + &upstream.route("/open/admin", "roles = [\"owner\"]"))
            .await;
    app.onboard("acme").await;
    for path in [
        "/open/../open/admin",
        "/open/%2e%2e/x",
        "/open/x%2f..%2fadmin",
        "/open//admin",
        "/open/%61dmin",
        "/open/admin;x",
        "/open/..%5cadmin",
        "/open/a%00b",
        "/open/./admin",
    ] {
        let answer =
            app.raw(format!("GET {path} HTTP/1.1\r\nHost: acme.localhost\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"malformed-request\""), "{path}: {answer}");
    }
    assert_eq!(upstream.n_requests(), 0);
    app.get("acme", "/open/admin").await.problem(401, "authentication-required");
}

#[tokio::test]
async fn a_service_that_is_away_is_a_problem_that_names_no_address() {
    // Taken, and nobody listens.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let app =
        app_with(format!("[[routes]]\nprefix = \"/crm\"\nupstreams = [\"http://{address}\"]\nauth = \"none\"")).await;
    app.onboard("acme").await;
    let reply = app.get("acme", "/crm/x").await;
    reply.problem(503, "upstream-unavailable");
    assert!(!reply.body.contains(&address.port().to_string()), "{reply:?}");
    assert!(reply.header("retry-after").parse::<u32>().unwrap() >= 1);
}

#[tokio::test]
async fn a_body_over_the_routes_limit_is_refused() {
    let upstream = Upstream::start();
    let app = app_with(upstream.route("/crm", "auth = \"none\"\nbody_limit_bytes = 100")).await;
    app.onboard("acme").await;
    app.post("acme", "/crm").body(vec![b'x'; 101]).await.problem(413, "payload-too-large");
    assert_eq!(app.post("acme", "/crm").body(vec![b'x'; 100]).await.status, 200);
}
