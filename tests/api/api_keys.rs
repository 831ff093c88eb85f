//! API keys: made, used, listed, revoked.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::helpers::{App, Session, assert_soon, routes, spawn_app, spawn_app_on, until};
use crate::sign_in::verify;
use crate::upstream::Upstream;

/// Makes a key; returns its id and its text.
pub async fn make_key(slug: &str, app: &App, admin: &Session, scopes: &[&str]) -> (String, String) {
    let body = json!({ "name": "robot", "scopes": scopes });
    let reply = app.post(slug, "/api-keys").token(admin).json(&body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let field = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
    (field("id"), field("secret"))
}

/// An application with two services, the tenant acme, and its owner, who has shown two factors.
async fn app_with_services(upstream: &Upstream) -> (App, Session) {
    let text = upstream.route("/crm", "")
        + &upstream.route("/crm/admin", "")
        + &upstream.route("/books", "roles = [\"billing\"]")
        + &upstream.route("/vault", "min_acr = \"aal2\"")
        + &upstream.route("/may", "auth = \"optional\"")
        + &upstream.route("/open", "auth = \"none\"");
    let app = spawn_app(move |settings| {
        settings.gateway.routes = routes(&text);
        settings.auth.api_key_use_flush_s = 1;
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let admin = app.stepped_up("acme", &owner).await;
    (app, admin)
}

#[tokio::test]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let body =
        json!({ "name": " robot ", "scopes": ["gateway:/crm", "audit:read"], "expires_at": "2999-01-01T00:00:00Z" });
    let reply = app.post("acme", "/api-keys").token(&admin).json(&body).await;
    assert_eq!((reply.status, reply.header("cache-control")), (201, "no-store"), "{reply:?}");
    let made = reply.json();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("bos_live_") && secret.len() == 83, "{made}");
    assert_eq!((&made["name"], &made["scopes"]), (&json!("robot"), &json!(["gateway:/crm", "audit:read"])));
    let reply = app.get("acme", "/api-keys").token(&admin).await;
    let listed = &reply.json()["items"][0];
    for field in ["id", "name", "scopes", "created_by", "created_at", "expires_at"] {
        assert_eq!(listed[field], made[field], "{field}");
    }
    assert_eq!(listed["last_used_at"], Value::Null);
    let hidden = secret.split('_').nth(3).unwrap();
    assert!(!reply.body.contains(hidden), "{reply:?}");
    let in_database = format!("SELECT count(*) FROM auth.api_keys k WHERE k::text LIKE '%{hidden}%'");
    assert_eq!(app.count(&in_database).await, 0);
    let in_audit = format!("SELECT count(*) FROM platform.audit_log a WHERE a::text LIKE '%{hidden}%'");
    assert_eq!(app.count(&in_audit).await, 0);
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'api_key.create' AND actor_kind = 'user'";
    assert_eq!(app.count(audited).await, 1);
}

#[tokio::test]
async fn pages_of_keys_hang_together() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(make_key("acme", &app, &admin, &["usage:write"]).await.0);
    }
    let first = app.get("acme", "/api-keys?limit=2").token(&admin).await.json();
    let next = first["next"].as_str().unwrap();
    let second = app.get("acme", &format!("/api-keys?limit=2&after={next}")).token(&admin).await.json();
    assert_eq!(second["next"], Value::Null);
    let ids = |page: &Value| page["items"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect::<Vec<_>>();
    assert_eq!([ids(&first), ids(&second)].concat(), made.into_iter().map(Value::from).collect::<Vec<_>>());
    assert_eq!(app.get("acme", "/api-keys?limit=0").token(&admin).await.pointers(), ["/limit"]);
}

#[tokio::test]
async fn making_and_revoking_asks_for_a_second_factor() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let body = json!({ "name": "robot", "scopes": ["gateway:*"] });
    let refused = app.post("acme", "/api-keys").token(&owner).json(&body).await;
    refused.problem(401, "insufficient_user_authentication");
    assert!(refused.header("www-authenticate").contains("acr_values=\"aal2\""), "{refused:?}");
    let path = format!("/api-keys/{}", uuid::Uuid::nil());
    app.delete("acme", &path).token(&owner).await.problem(401, "insufficient_user_authentication");
    assert_eq!(app.get("acme", "/api-keys").token(&owner).await.status, 200, "looking asks for none");
}

#[tokio::test]
async fn wrong_fields_are_named_all_at_once() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let post = async |body: Value| app.post("acme", "/api-keys").token(&admin).json(&body).await;
    let scopes = ["gateway:/crm", "gateway:/nowhere", "root", "gateway:/crm/"];
    let reply = post(json!({ "name": "", "scopes": scopes, "expires_at": "2001-01-01T00:00:00Z" })).await;
    assert_eq!(reply.pointers(), ["/expires_at", "/name", "/scopes/1", "/scopes/2", "/scopes/3"]);
    assert_eq!(post(json!({ "name": "a", "scopes": [] })).await.pointers(), ["/scopes"]);
    let many = vec!["usage:write"; 51];
    assert!(post(json!({ "name": "a", "scopes": many })).await.pointers().contains(&"/scopes".to_owned()));
    post(json!({ "name": "a", "scopes": ["gateway:*"], "secret": "mine" })).await.problem(422, "validation-failed");
    assert_eq!(app.count("SELECT count(*) FROM auth.api_keys").await, 0);
}

#[tokio::test]
async fn a_service_sees_which_key_calls_and_no_user() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let (id, key) = make_key("acme", &app, &admin, &["gateway:/crm"]).await;
    let by_bearer = app.get("acme", "/crm/x").bearer(&key);
    let by_header = app.get("acme", "/crm/x").header("x-api-key", &key);
    for request in [by_bearer, by_header] {
        let forged =
            request.header("x-api-key-id", "forged").header("x-user-id", "forged").header("x-user-roles", "owner");
        let reply = forged.await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let headers = &reply.json()["headers"];
        assert_eq!(headers["x-api-key-id"], json!([id]));
        assert_eq!(headers["x-user-roles"], json!([""]));
        for gone in ["x-user-id", "x-auth-acr", "authorization", "x-api-key"] {
            assert!(headers.get(gone).is_none(), "{gone}: {headers}");
        }
        assert!(!reply.body.contains(&key), "the service was shown the key");
        let context = verify(&app, "acme", headers["x-tenant-context"][0].as_str().unwrap(), "/crm").await;
        assert_eq!((&context["key"], &context["scopes"]), (&json!(id), &json!(["gateway:/crm"])));
        assert_eq!((context.get("sub"), &context["roles"]), (None, &json!([])));
    }
    // A user's context names no key, and a route without credentials shows none to the service.
    let headers = app.get("acme", "/crm/x").token(&admin).await.json()["headers"].clone();
    assert!(headers.get("x-api-key-id").is_none(), "{headers}");
    let headers = app.get("acme", "/open/x").header("x-api-key", &key).await.json()["headers"].clone();
    assert!(headers.get("x-api-key").is_none() && headers.get("x-api-key-id").is_none(), "{headers}");
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_nothing_else() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let (_, crm) = make_key("acme", &app, &admin, &["gateway:/crm"]).await;
    let (_, all) = make_key("acme", &app, &admin, &["gateway:*"]).await;
    let (_, none) = make_key("acme", &app, &admin, &["usage:write"]).await;
    for (key, path, status) in [
        (&crm, "/crm/x", 200),
        (&crm, "/crm/admin/x", 403),
        (&crm, "/may/x", 403),
        (&all, "/crm/x", 200),
        (&all, "/crm/admin/x", 200),
        (&all, "/may/x", 200),
        // A key has no role, and no sign-in that could be strong.
        (&all, "/books/x", 403),
        (&all, "/vault/x", 403),
        (&none, "/crm/x", 403),
    ] {
        let reply = app.get("acme", path).bearer(key).await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        if status == 403 {
            reply.problem(403, "insufficient-scope");
            assert!(reply.header("www-authenticate").starts_with("Bearer error=\"insufficient_scope\""), "{reply:?}");
        }
    }
    assert_eq!(upstream.n_requests(), 4);
    let refused = app.get("acme", "/crm/x").bearer(&none).await;
    assert_eq!(refused.header("www-authenticate"), "Bearer error=\"insufficient_scope\", scope=\"gateway:/crm\"");
    for path in ["/auth/me", "/api-keys"] {
        app.get("acme", path).bearer(&all).await.problem(403, "insufficient-scope");
    }
}

#[tokio::test]
async fn validate_says_what_a_key_may_do() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let (id, key) = make_key("acme", &app, &admin, &["gateway:*", "usage:write"]).await;
    for request in
        [app.get("acme", "/auth/validate").bearer(&key), app.post("acme", "/auth/validate").header("x-api-key", &key)]
    {
        let reply = request.await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        assert_eq!((&body["active"], &body["key_id"]), (&json!(true), &json!(id)));
        assert_eq!((&body["scopes"], &body["roles"]), (&json!(["gateway:*", "usage:write"]), &json!([])));
        assert_eq!((&body["user_id"], &body["session_id"], &body["exp"]), (&Value::Null, &Value::Null, &Value::Null));
        assert_eq!((reply.header("x-api-key-id"), reply.header("x-user-id")), (&*id, ""));
        assert!(reply.headers.contains_key("x-user-id"), "a proxy must overwrite what the client sent");
    }
    let user = app.get("acme", "/auth/validate").token(&admin).await;
    assert!(user.headers.contains_key("x-api-key-id") && user.json().get("key_id").is_none(), "{user:?}");
}

#[tokio::test]
async fn what_is_not_a_key_of_this_tenant_is_refused_alike() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    app.onboard("globex").await;
    let (_, key) = make_key("acme", &app, &admin, &["gateway:*"]).await;
    let swapped = {
        let mut bytes = key.clone().into_bytes();
        bytes[40] = if bytes[40] == b'a' { b'b' } else { b'a' };
        String::from_utf8(bytes).unwrap()
    };
    for bad in ["bos_", "bos_live_1_2_3", &swapped, &key[..key.len() - 1], "something"] {
        app.get("acme", "/crm/x").header("x-api-key", bad).await.problem(401, "invalid-token");
        app.get("acme", "/may/x").header("x-api-key", bad).await.problem(401, "invalid-token");
        app.get("acme", "/auth/validate").bearer(bad).await.problem(401, "invalid-token");
    }
    // An access token has no business in X-Api-Key, and two credentials are one too many.
    app.get("acme", "/crm/x").header("x-api-key", &admin.access).await.problem(401, "invalid-token");
    app.get("acme", "/crm/x").header("x-api-key", &key).bearer(&key).await.problem(400, "malformed-request");
    app.get("acme", "/crm/x")
        .header("x-api-key", &key)
        .header("x-api-key", &key)
        .await
        .problem(400, "malformed-request");
    assert_eq!(upstream.n_requests(), 0);
    // Another tenant's key is answered exactly as a well-formed one that nobody has.
    let theirs = app.get("globex", "/crm/x").bearer(&key).await;
    app.db.as_admin("UPDATE auth.api_keys SET secret_hash = sha256('x') ").await;
    theirs.problem(401, "invalid-token");
    let elsewhere = spawn_app(|_| {}).await;
    elsewhere.onboard("globex").await;
    let nobodys = elsewhere.get("globex", "/auth/validate").bearer(&key).await;
    assert_eq!(theirs.anonymous(), nobodys.anonymous());
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_elsewhere_soon() {
    let upstream = Upstream::start();
    let (a, admin) = app_with_services(&upstream).await;
    let text = upstream.route("/crm", "");
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.gateway.public_port = a.port;
        settings.gateway.routes = routes(&text);
    })
    .await;
    let (kept_id, kept) = make_key("acme", &a, &admin, &["gateway:*"]).await;
    let (id, key) = make_key("acme", &a, &admin, &["gateway:*"]).await;
    for app in [&a, &b] {
        until("the key is known", async || app.get("acme", "/crm/x").bearer(&key).await.status == 200).await;
    }
    let path = format!("/api-keys/{id}");
    assert_eq!(a.delete("acme", &path).token(&admin).await.status, 204);
    let refused = a.get("acme", "/crm/x").bearer(&key).await;
    refused.problem(401, "invalid-token");
    let delay =
        until("the other node refuses", async || b.get("acme", "/crm/x").bearer(&key).await.status == 401).await;
    assert_soon(delay);
    for app in [&a, &b] {
        assert_eq!(app.get("acme", "/crm/x").bearer(&kept).await.status, 200);
    }
    a.delete("acme", &path).token(&admin).await.problem(404, "not-found");
    a.delete("acme", "/api-keys/nonsense").token(&admin).await.problem(404, "not-found");
    let listed = a.get("acme", "/api-keys").token(&admin).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["id"], json!(kept_id));
    assert_eq!(a.count("SELECT count(*) FROM platform.audit_log WHERE action = 'api_key.revoke'").await, 1);
}

#[tokio::test]
async fn a_key_that_ran_out_is_refused() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let at = chrono::DateTime::from_timestamp(businessos::clock::now_s() + 6, 0).unwrap();
    let body = json!({ "name": "brief", "scopes": ["gateway:*"], "expires_at": at });
    let key =
        app.post("acme", "/api-keys").token(&admin).json(&body).await.json()["secret"].as_str().unwrap().to_owned();
    until("it runs out", async || app.get("acme", "/crm/x").bearer(&key).await.status == 401).await;
    assert!(businessos::clock::now() >= at);
}

#[tokio::test]
async fn the_last_use_is_written_down_beside_the_requests() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    let (_, used) = make_key("acme", &app, &admin, &["gateway:*"]).await;
    make_key("acme", &app, &admin, &["gateway:*"]).await;
    assert_eq!(app.get("acme", "/crm/x").bearer(&used).await.status, 200);
    until("the use is written", async || {
        let keys = app.get("acme", "/api-keys").token(&admin).await.json();
        assert_eq!(keys["items"][1]["last_used_at"], Value::Null);
        keys["items"][0]["last_used_at"].is_string()
    })
    .await;
}

#[tokio::test]
async fn a_hundred_keys_are_enough_also_for_two_admins_at_once() {
    let upstream = Upstream::start();
    let (app, admin) = app_with_services(&upstream).await;
    app.db
        .as_admin(
            "INSERT INTO auth.api_keys (tenant_id, id, name, secret_hash, scopes, created_by)
             SELECT tenant_id, gen_random_uuid(), 'n', sha256(n::text::bytea), '{gateway:*}', gen_random_uuid()
             FROM platform.tenants, generate_series(1, 98) n WHERE slug = 'acme'",
        )
        .await;
    let body = json!({ "name": "robot", "scopes": ["gateway:*"] });
    let replies = join_all((0..6).map(|_| app.post("acme", "/api-keys").token(&admin).json(&body).into_future())).await;
    let n = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!((n(201), n(409)), (2, 4), "{replies:?}");
    assert_eq!(app.count("SELECT count(*) FROM auth.api_keys").await, 100);
}

#[tokio::test]
async fn a_key_outlives_the_user_who_made_it() {
    let upstream = Upstream::start();
    let (app, owner) = app_with_services(&upstream).await;
    let maker = app.user("acme", "admin").await;
    let maker = app.stepped_up("acme", &maker).await;
    let (_, key) = make_key("acme", &app, &maker, &["gateway:*"]).await;
    app.db.as_admin("DELETE FROM auth.sessions; DELETE FROM auth.users WHERE role = 'admin'").await;
    assert_eq!(app.get("acme", "/crm/x").bearer(&key).await.status, 200);
    assert_eq!(app.get("acme", "/api-keys").token(&owner).await.json()["items"].as_array().unwrap().len(), 1);
}
