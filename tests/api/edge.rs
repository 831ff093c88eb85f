//! What every answer has, and the platform's own pages.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use crate::helpers::{App, Reply, routes, spawn_app, spawn_app_on, until};
use crate::support::TestDatabase;
use crate::upstream::Upstream;

/// Helmet 8's headers, over plain HTTP.
const HELMET: [(&str, &str); 11] = [
    (
        "content-security-policy",
        "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

async fn with_service(upstream: &Upstream) -> App {
    let text = upstream.route("/svc", "auth = \"none\"");
    spawn_app(move |settings| settings.gateway.routes = routes(&text)).await
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let upstream = Upstream::start();
    let app = with_service(&upstream).await;
    app.onboard("acme").await;
    let unmatched = app.get("acme", "/nothing").await;
    unmatched.problem(404, "no-route");
    let proxied = app.get("acme", "/svc/x").await;
    assert_eq!(proxied.status, 200);
    for reply in [
        app.get("localhost", "/healthz").await,
        unmatched,
        app.get("acme", "/auth/me").await,
        app.request(Method::DELETE, "acme", "/auth/me").await,
        proxied,
    ] {
        for (name, value) in HELMET {
            // The service's own wish stands.
            let value = if name == "x-frame-options" && reply.body.contains("\"target\"") { "DENY" } else { value };
            assert_eq!(reply.headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}: {reply:?}");
        }
        for gone in ["server", "x-powered-by", "strict-transport-security"] {
            assert_eq!(reply.header(gone), "", "{gone}: {reply:?}");
        }
        assert!(!reply.header("x-request-id").is_empty(), "{reply:?}");
    }
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_well_formed() {
    let app = spawn_app(|_| {}).await;
    let get = |id: &str| app.get("localhost", "/healthz").header("x-request-id", id);
    for good in ["0123456789abcdef", "a.b_c-d1", &"x".repeat(128)] {
        assert_eq!(get(good).await.header("x-request-id"), good);
    }
    for bad in ["short", "has space in it", "new\tline-tab", &"x".repeat(129), "<script>alert"] {
        let id = get(bad).await.header("x-request-id").to_owned();
        assert!(id.parse::<uuid::Uuid>().is_ok(), "{bad:?}: {id}");
    }
}

#[tokio::test]
async fn another_method_is_answered_405() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    for (method, path) in [
        (Method::GET, "/auth/login"),
        (Method::DELETE, "/tenants/onboard"),
        (Method::PUT, "/healthz"),
        (Method::POST, "/tenants/x"),
    ] {
        app.request(method, "acme", path).await.problem(405, "method-not-allowed");
    }
    let trace = app.raw(b"TRACE / HTTP/1.1\r\nHost: acme.localhost\r\nConnection: close\r\n\r\n");
    assert!(trace.starts_with("HTTP/1.1 405 ") && trace.contains("\"method-not-allowed\""), "{trace}");
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let upstream = Upstream::start();
    let app = with_service(&upstream).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    app.onboard("globex").await;
    let path = format!("/tenants/{}/config", tenant.id);
    let tag = app.get("acme", &path).token(&owner).await.header("etag").to_owned();
    let origin = "https://app.acme.test";
    let body = json!({ "cors_origins": [origin] });
    assert_eq!(app.put("acme", &path).token(&owner).header("if-match", &tag).json(&body).await.status, 200);

    let preflight = |host: &str, path: &str, origin: &str| {
        app.request(Method::OPTIONS, host, path)
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization,if-match")
    };
    for path in ["/svc/x", "/auth/me", &path] {
        let reply = preflight("acme", path, origin).await;
        assert_eq!(reply.status, 204, "{reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), origin);
        assert_eq!(reply.header("access-control-allow-credentials"), "true");
        assert!(reply.header("access-control-allow-methods").contains("PUT"), "{reply:?}");
        assert_eq!(reply.header("access-control-allow-headers"), "authorization,if-match");
        assert!(reply.header("vary").contains("Origin"), "{reply:?}");
        for other in [
            "https://evil.test",
            "https://app.acme.test.evil.test",
            "http://app.acme.test",
            "null",
            "https://APP.acme.test",
        ] {
            let reply = preflight("acme", path, other).await;
            reply.problem(403, "origin-not-allowed");
            assert_eq!(reply.header("access-control-allow-origin"), "", "{other}");
        }
    }
    // An origin of one tenant is nobody to another.
    preflight("globex", "/auth/me", origin).await.problem(403, "origin-not-allowed");
    for path in ["/svc/x", "/auth/me"] {
        let reply = app.get("acme", path).token(&owner).header("origin", origin).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, origin));
        assert!(reply.header("access-control-expose-headers").contains("x-request-id"), "{reply:?}");
        assert!(reply.header("vary").contains("Origin"), "{reply:?}");
        // The service says `*`; the tenant decides.
        let reply = app.get("acme", path).token(&owner).header("origin", "https://evil.test").await;
        assert_eq!(reply.header("access-control-allow-origin"), "", "{reply:?}");
        assert!(reply.header("vary").contains("Origin"), "{reply:?}");
    }
    assert_eq!(upstream.n_requests(), 2, "a preflight reached the service");
}

#[tokio::test]
async fn metrics_name_route_templates_and_no_tenants() {
    let upstream = Upstream::start();
    let app = with_service(&upstream).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    app.get("acme", "/svc/customers/42").await;
    app.get("acme", &format!("/tenants/{}", tenant.id)).token(&owner).await;
    app.get("acme", "/nothing/secret-path").await;
    let reply = app.admin("/metrics").await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"), "{reply:?}");
    let text = &reply.body;
    for line in [
        "http_requests_total{route=\"/svc\",method=\"GET\",status=\"200\"} 1",
        "http_requests_total{route=\"/tenants/{id}\",method=\"GET\",status=\"200\"} 1",
        "http_requests_total{route=\"none\",method=\"GET\",status=\"404\"} 1",
        "http_response_flags_total{flag=\"NR\"} 1",
        "tenants_active 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    for secret in ["acme", &tenant.id, "secret-path", "customers", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret}\n{text}");
    }
    // Not for the public.
    app.get("localhost", "/metrics").await.problem(404, "no-route");
}

#[tokio::test]
async fn the_documentation_needs_nothing_from_the_internet() {
    let app = spawn_app(|_| {}).await;
    let page = app.get("localhost", "/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let mut assets = 0;
    for attribute in ["src=\"", "href=\""] {
        for link in page.body.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(!link.contains("//"), "{link} is elsewhere");
            if link == "/docs/" || link.starts_with("data:") {
                continue;
            }
            let path = format!("/docs/{}", link.trim_start_matches("./"));
            let reply = app.get("localhost", &path).await;
            assert_eq!(reply.status, 200, "{path}");
            assets += 1;
        }
    }
    assert!(assets >= 3, "{}", page.body);
    for path in ["/docs/nothing.js", "/docs/..%2f..%2fetc%2fpasswd"] {
        let reply = app.get("localhost", path).await;
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
    }
    let initializer = app.get("localhost", "/docs/swagger-initializer.js").await.body;
    assert!(initializer.contains("/openapi.json") && !initializer.contains("https://"), "{initializer}");
    assert_eq!(app.get("localhost", "/openapi.json").await.json()["openapi"], "3.1.0");
}

#[tokio::test]
async fn readiness_names_the_part_that_fails_and_liveness_stays() {
    let app = spawn_app(|settings| settings.database.acquire_timeout_ms = 3_000).await;
    assert_eq!(app.get("localhost", "/readyz").await.json(), json!({ "status": "ok" }));
    let name = app.db.name().to_owned();
    let elsewhere = TestDatabase::new().await;
    let close = format!(
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    elsewhere.as_admin(&close).await;
    let ask = async |reply: Reply, status: u16| reply.status == status;
    until("readiness fails", async || ask(app.get("localhost", "/readyz").await, 503).await).await;
    let body = app.get("localhost", "/readyz").await.json();
    assert_eq!(body["status"], "unavailable");
    assert!(body["failing"]["database"].is_string(), "{body}");
    assert_eq!(app.admin("/readyz").await.status, 503);
    assert_eq!(app.get("localhost", "/healthz").await.json(), json!({ "status": "ok" }));
    let reply = app.post("localhost", "/tenants/onboard").json(&crate::helpers::onboard_body("acme")).await;
    reply.problem(503, "unavailable");
    assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
    elsewhere.as_admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    until("readiness recovers", async || ask(app.get("localhost", "/readyz").await, 200).await).await;
    app.onboard("acme").await;
}

#[tokio::test]
async fn routes_are_read_again_all_or_nothing() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |text: &str| std::fs::write(file.path(), text.replace("[[routes]]", "[[gateway.routes]]")).unwrap();
    let first = one.route("/svc", "auth = \"none\"");
    write(&first);
    let app = spawn_app_on(Arc::new(TestDatabase::new().await), Some(file.path().to_owned()), |settings| {
        settings.gateway.routes = routes(&first);
    })
    .await;
    app.onboard("acme").await;
    let operator = app.operator().await;
    let reload = async || app.post("platform", "/operator/reload").token(&operator).await;
    assert_eq!(app.get("acme", "/svc/x").await.status, 200);
    write(&(two.route("/svc", "auth = \"none\"") + &two.route("/more", "auth = \"none\"")));
    let reply = reload().await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "n_routes": 2 })));
    for path in ["/svc/x", "/more/x"] {
        assert_eq!(app.get("acme", path).await.status, 200, "{path}");
    }
    assert_eq!((one.n_requests(), two.n_requests()), (1, 2));
    for broken in [
        "[[routes]]\nprefix = \"/svc\"\nupstreams = []",
        "not toml at all [",
        "[gateway]\nbase_domian = \"x\"",
        "[[routes]]\nprefix = \"svc\"\nupstreams = [\"http://127.0.0.1:1\"]",
        "[[routes]]\nprefix = \"/a\"\nupstreams = [\"ftp://127.0.0.1:1\"]",
    ] {
        write(broken);
        let problem = reload().await.problem(422, "validation-failed");
        assert!(!problem["errors"].as_array().unwrap().is_empty(), "{problem}");
        assert_eq!(app.get("acme", "/more/x").await.status, 200, "after {broken}");
    }
    assert_eq!((one.n_requests(), two.n_requests()), (1, 7));
}

#[tokio::test]
async fn a_reload_is_refused_when_a_route_names_a_meter_that_only_the_new_file_has() {
    let service = Upstream::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let app = spawn_app_on(Arc::new(TestDatabase::new().await), Some(file.path().to_owned()), |_| {}).await;
    let operator = app.operator().await;
    let reload = async |key: &str| {
        let route = service.route("/svc", &format!("auth = \"none\"\n{key}"));
        let route = route.replace("[[routes]]", "[[gateway.routes]]");
        std::fs::write(file.path(), format!("{route}\n[meters.pages]\naggregation = \"sum\"\n")).unwrap();
        app.post("platform", "/operator/reload").token(&operator).await
    };
    for key in ["meter = \"pages\"", "usage_header = [\"pages\"]", "pauses_with = [\"ai_tokens\", \"pages\"]"] {
        let problem = reload(key).await.problem(422, "validation-failed");
        let text = problem.to_string();
        assert!(text.contains("pages") && text.contains("restart"), "{key}: {text}");
    }
    let reply = reload("meter = \"ai_tokens\"").await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "n_routes": 1 })), "other routes are read again");
}
