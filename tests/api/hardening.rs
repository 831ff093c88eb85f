//! What an attacker would try, besides forging tokens: each of these was possible once.

use std::future::IntoFuture as _;
use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use crate::helpers::{assert_soon, onboard_body, routes, spawn_app, spawn_app_on, until};
use crate::upstream::Upstream;

#[tokio::test]
async fn a_body_that_does_not_arrive_is_waited_for_in_bounded_time() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    let head = "POST /auth/login HTTP/1.1\r\nHost: acme.localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 50\r\nConnection: close\r\n\r\n{\"email\": ";
    let answer = app.raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request-timeout\""), "{answer}");
}

#[tokio::test]
async fn forged_notifications_hide_no_revocation() {
    let a = spawn_app(|_| {}).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| settings.gateway.public_port = a.port).await;
    let (tenant, session) = a.tenant_with_owner("acme").await;
    assert_eq!(b.get("acme", "/auth/me").token(&session).await.status, 200);
    // Any role that may connect can send these; numbers far ahead must not make the watcher skip what is below them.
    let channel: Vec<String> = {
        let mut conn = a.db.connect(businessos::db::embedded::SUPERUSER).await;
        sqlx::query_scalar("SELECT DISTINCT (regexp_matches(prosrc, 'pg_notify\\(''([a-z_]+)''', 'g'))[1] FROM pg_proc")
            .fetch_all(&mut conn)
            .await
            .unwrap()
    };
    assert!(!channel.is_empty(), "nothing notifies");
    for name in &channel {
        for payload in ["9223372036854775807", &format!("{{\"seq\":9223372036854775807,\"tenant\":\"{}\"}}", tenant.id)]
        {
            a.db.as_admin(&format!("NOTIFY {name}, '{payload}'")).await;
        }
    }
    assert_eq!(a.post("acme", "/auth/logout").token(&session).await.status, 204);
    let delay =
        until("the other node refuses", async || b.get("acme", "/auth/me").token(&session).await.status == 401).await;
    assert_soon(delay);
}

#[tokio::test]
async fn no_token_from_before_a_suspension_works_after_it() {
    let app = spawn_app(|_| {}).await;
    let (tenant, session) = app.tenant_with_owner("acme").await;
    let operator = app.operator().await;
    for act in ["suspend", "resume"] {
        let path = format!("/operator/tenants/{}/{act}", tenant.id);
        assert_eq!(app.post("platform", &path).token(&operator).await.status, 200, "{act}");
    }
    app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
    app.refresh("acme", &session.refresh).await.problem(401, "session-revoked");
    app.sign_in("acme", &tenant.owner).await;
}

#[tokio::test]
async fn the_limit_of_an_address_comes_before_all_other_work() {
    let app = spawn_app(|settings| settings.limits.ip_per_minute = 1).await;
    assert_eq!(app.get("localhost", "/healthz").await.status, 200);
    // A preflight of an unknown tenant would need a look-up of the host.
    let preflight = app
        .request(Method::OPTIONS, "nobody", "/crm/x")
        .header("origin", "https://app.test")
        .header("access-control-request-method", "GET");
    preflight.await.problem(429, "rate-limited");
    app.get("nobody", "/crm/x").await.problem(429, "rate-limited");
}

#[tokio::test]
async fn strangers_do_not_use_up_a_tenants_limit_and_signing_out_always_works() {
    let upstream = Upstream::start();
    let app = spawn_app(|settings| {
        settings.gateway.routes = routes(&upstream.route("/open", "auth = \"optional\""));
        settings.limits.tenant_per_minute = 5;
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    until("strangers are refused", async || app.get("acme", "/open/x").await.status == 429).await;
    assert_eq!(app.get("acme", "/open/x").token(&owner).await.status, 200, "the users' own limit is untouched");
    until("the tenant is over its limit", async || app.get("acme", "/open/x").token(&owner).await.status == 429).await;
    assert_eq!(app.post("acme", "/auth/logout").token(&owner).await.status, 204);
}

#[tokio::test]
async fn a_protected_prefix_has_no_disguise() {
    let upstream = Upstream::start();
    let text = upstream.route("/open", "auth = \"none\"") + &upstream.route("/open/admin", "roles = [\"owner\"]");
    let app = spawn_app(|settings| settings.gateway.routes = routes(&text)).await;
    app.onboard("acme").await;
    for path in
        ["/open/ADMIN", "/open/aDmin/x", "/open/%41dmin", "/open/%2561dmin", "/open/admin%3bx", "/open/admin%20/.."]
    {
        let answer =
            app.raw(format!("GET {path} HTTP/1.1\r\nHost: acme.localhost\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(!answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    assert_eq!(upstream.n_requests(), 0);
}

#[tokio::test]
async fn a_shared_cache_is_told_what_names_the_tenant() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
        let reply = app.get("acme", path).await;
        assert_eq!((reply.status, reply.header("vary")), (200, "X-Tenant, Authorization"), "{path}");
    }
}

#[tokio::test]
async fn a_subdomain_that_reads_as_an_id_is_refused() {
    let app = spawn_app(|_| {}).await;
    let (tenant, _) = app.tenant_with_owner("acme").await;
    for slug in [tenant.id.clone(), tenant.id.replace('-', "")] {
        let mut body = onboard_body("globex");
        body["subdomain"] = json!(slug);
        let reply = app.post("localhost", "/tenants/onboard").json(&body).await;
        assert_eq!(reply.pointers(), ["/subdomain"], "{slug}");
    }
}

#[tokio::test]
async fn two_tenant_headers_are_one_too_many() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    app.onboard("globex").await;
    let request = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\nX-Tenant: acme\r\nX-Tenant: globex\r\n\
                   Connection: close\r\n\r\n";
    let answer = app.raw(request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn headers_that_change_the_method_or_the_url_do_not_reach_a_service() {
    let upstream = Upstream::start();
    let text = upstream.route("/svc", "auth = \"none\"");
    let app = spawn_app(|settings| settings.gateway.routes = routes(&text)).await;
    app.onboard("acme").await;
    let names = ["x-http-method-override", "x-method-override", "x-http-method", "x-original-url", "x-rewrite-url"];
    let mut request = app.get("acme", "/svc/x");
    for name in names {
        request = request.header(name, "DELETE");
    }
    let seen = request.await.json();
    for name in names {
        assert!(seen["headers"][name].is_null(), "{name}: {seen}");
    }
}

#[tokio::test]
async fn only_the_platforms_own_hosts_are_pinned_to_tls_with_their_subdomains() {
    let app = spawn_app(|settings| {
        settings.gateway.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
        settings.gateway.base_domain = "app.test".to_owned();
        settings.gateway.hosts = [("crm.customer.test".to_owned(), "acme".to_owned())].into();
    })
    .await;
    let hsts = async |host: &str| {
        let reply = app.get(host, "/healthz").header("x-forwarded-proto", "https").await;
        reply.header("strict-transport-security").to_owned()
    };
    for ours in ["app.test", "acme.app.test"] {
        assert_eq!(hsts(ours).await, "max-age=31536000; includeSubDomains", "{ours}");
    }
    for elsewhere in ["crm.customer.test", "notapp.test", "app.test.evil.test"] {
        assert_eq!(hsts(elsewhere).await, "max-age=31536000", "{elsewhere}");
    }
    assert_eq!(app.get("app.test", "/healthz").await.header("strict-transport-security"), "", "plain HTTP");
}

#[tokio::test]
async fn a_hash_is_made_for_unknown_users_too() {
    let app = spawn_app(|settings| {
        settings.auth.hashing_permits = 1;
        settings.auth.hashing_queue = 0;
    })
    .await;
    app.onboard("acme").await;
    app.user("acme", "member").await;
    // bcrypt at a cost that keeps the only thread busy for as long as the rest takes.
    app.db
        .as_admin(
            "UPDATE auth.users SET password_hash = '$2b$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
             WHERE email = 'member@acme.test'",
        )
        .await;
    let costly = async {
        loop {
            let reply = app.try_sign_in("acme", "member@acme.test", "wrong").await;
            if reply.status != 503 {
                return reply;
            }
        }
    };
    let others = async {
        until("the thread is busy", async || app.try_sign_in("acme", "owner@acme.test", "wrong").await.status == 503)
            .await;
        let unknown = app.try_sign_in("acme", "nobody@acme.test", "wrong").await;
        let known = app.try_sign_in("acme", "owner@acme.test", "wrong").await;
        unknown.problem(503, "overloaded");
        assert_eq!(unknown.anonymous(), known.anonymous());
    };
    futures_util::pin_mut!(costly, others);
    // The costly one is not waited for.
    match futures_util::future::select(costly, others).await {
        futures_util::future::Either::Left((reply, _)) => panic!("the costly hash was too cheap: {reply:?}"),
        futures_util::future::Either::Right(((), _)) => {}
    }
}

#[tokio::test]
async fn whoever_gives_way_to_another_transaction_may_try_again() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for (code, status) in [("40P01", 503), ("40001", 503), ("0A000", 500)] {
        app.db
            .as_admin(&format!(
                "CREATE OR REPLACE FUNCTION public.give_way() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'made by a test' USING ERRCODE = '{code}'; END $$;
                 CREATE OR REPLACE TRIGGER give_way BEFORE INSERT ON auth.account_links
                 FOR EACH ROW EXECUTE FUNCTION public.give_way()"
            ))
            .await;
        let body = json!({ "email": "new@acme.test" });
        let reply = app.post("acme", "/auth/email").token(&owner).json(&body).await;
        assert_eq!(reply.status, status, "{code}: {reply:?}");
        if status == 503 {
            reply.problem(503, "unavailable");
            assert_eq!(reply.header("retry-after"), "1");
        }
    }
}

#[tokio::test]
async fn accepting_an_invitation_and_setting_a_password_do_not_wait_for_each_other() {
    let app = spawn_app(|settings| settings.server.workers = 2).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for n in 0..8 {
        let email = format!("ann{n}@acme.test");
        let body = json!({ "email": email, "role": "member" });
        assert_eq!(app.post("acme", "/users").token(&owner).json(&body).await.status, 201);
        let invitation = app.mail("invitation", &email).await.token();
        app.post("acme", "/auth/password/forgot").json(&json!({ "email": email })).await;
        let reset = app.mail("password_reset", &email).await.token();
        let by = |path: &str, token: &str| {
            app.post("acme", path).json(&json!({ "token": token, "password": "a whole new sentence" }))
        };
        let (accepted, reset) = futures_util::future::join(
            by("/auth/invitations/accept", &invitation).into_future(),
            by("/auth/password/reset", &reset).into_future(),
        )
        .await;
        assert!([201, 400].contains(&accepted.status), "{accepted:?}");
        assert!([204, 400].contains(&reset.status), "{reset:?}");
        assert_eq!(app.try_sign_in("acme", &email, "a whole new sentence").await.status, 200);
    }
}
