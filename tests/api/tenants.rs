//! A tenant and its configuration, as its admins see and change them.

use serde_json::{Value, json};

use crate::helpers::{App, Session, spawn_app};

async fn config(app: &App, id: &str, session: &Session) -> Value {
    let reply = app.get("acme", &format!("/tenants/{id}/config")).token(session).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("etag"), format!("\"{}\"", reply.json()["version"]));
    reply.json()
}

#[tokio::test]
async fn an_admin_reads_and_changes_the_tenant() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let admin = app.user("acme", "admin").await;
    let path = format!("/tenants/{}", tenant.id);
    let before = app.get("acme", &path).token(&owner).await.json();
    assert_eq!((&before["name"], &before["state"]), (&json!("acme Ltd"), &json!("active")));
    let reply = app.patch("acme", &path).token(&admin).json(&json!({ "name": " Acme ", "region": "eu" })).await;
    let mut after = before.clone();
    after["name"] = "Acme".into();
    after["region"] = "eu".into();
    assert_eq!((reply.status, reply.json()), (200, after.clone()));
    assert_eq!(app.get("acme", &path).token(&owner).await.json(), after);
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.json()["tenant"]["name"], "Acme");
    // What is left out stays.
    assert_eq!(app.patch("acme", &path).token(&owner).json(&json!({})).await.json(), after);
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'tenant.update' AND actor_kind = 'user'";
    assert_eq!(app.count(audited).await, 2);
}

#[tokio::test]
async fn a_wrong_change_is_refused_by_field_and_changes_nothing() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let path = format!("/tenants/{}", tenant.id);
    let before = app.get("acme", &path).token(&owner).await.json();
    for (body, pointers) in [
        (json!({ "name": "", "region": "mars" }), vec!["/name", "/region"]),
        (json!({ "name": 5 }), vec!["/name"]),
        (json!({ "plan": "pro" }), vec!["/plan"]),
        (json!({ "subdomain": "other" }), vec!["/subdomain"]),
        (json!({ "name": "a\u{0}" }), vec!["/name"]),
        (json!([]), vec![""]),
    ] {
        let reply = app.patch("acme", &path).token(&owner).json(&body).await;
        assert_eq!(reply.pointers(), pointers, "{body}");
    }
    assert_eq!(app.get("acme", &path).token(&owner).await.json(), before);
}

#[tokio::test]
async fn members_neither_read_nor_change_the_tenant() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    for role in ["member", "billing", "operator"] {
        // `operator` counts in the platform's own tenant only.
        let user = app.user("acme", role).await;
        let path = format!("/tenants/{}", tenant.id);
        app.get("acme", &path).token(&user).await.problem(403, "forbidden");
        app.patch("acme", &path).token(&user).json(&json!({ "name": "x" })).await.problem(403, "forbidden");
        app.get("acme", &format!("{path}/config")).token(&user).await.problem(403, "forbidden");
        app.get("acme", "/operator/tenants").token(&user).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn another_tenants_id_is_as_unknown_as_a_random_one() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let globex = app.onboard("globex").await;
    let mut bodies = Vec::new();
    for id in [globex.id.as_str(), &uuid::Uuid::new_v4().to_string(), "1", "null", "%00", "a%2Fb"] {
        for path in [format!("/tenants/{id}"), format!("/tenants/{id}/config")] {
            let reply = app.get("acme", &path).token(&owner).await;
            reply.problem(404, "not-found");
            bodies.push(reply.anonymous());
        }
        let reply = app.patch("acme", &format!("/tenants/{id}")).token(&owner).json(&json!({ "name": "mine" })).await;
        bodies.push(reply.anonymous());
        let put = app.put("acme", &format!("/tenants/{id}/config")).token(&owner).header("if-match", "\"1\"");
        bodies.push(put.json(&json!({})).await.anonymous());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    assert_eq!(app.count("SELECT count(*) FROM platform.tenants WHERE name = 'mine'").await, 0);
}

#[tokio::test]
async fn an_operator_reaches_every_tenant() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    let operator = app.operator().await;
    let path = format!("/tenants/{}", tenant.id);
    assert_eq!(app.get("platform", &path).token(&operator).await.json()["subdomain"], "acme");
    let reply = app.patch("platform", &path).token(&operator).json(&json!({ "name": "Renamed" })).await;
    assert_eq!((reply.status, &reply.json()["name"]), (200, &json!("Renamed")));
    assert_eq!(app.get("platform", &format!("{path}/config")).token(&operator).await.status, 200);
    let random = format!("/tenants/{}", uuid::Uuid::new_v4());
    app.get("platform", &random).token(&operator).await.problem(404, "not-found");
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'tenant.update' AND actor_kind = 'operator'";
    assert_eq!(app.count(audited).await, 1);
}

#[tokio::test]
async fn a_configuration_is_replaced_by_who_has_seen_the_last_one() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let path = format!("/tenants/{}/config", tenant.id);
    let before = config(&app, &tenant.id, &owner).await;
    let version = before["version"].as_i64().unwrap();
    let empty = json!({ "cors_origins": [], "session": { "idle_timeout_s": null, "absolute_timeout_s": null },
                        "mfa_required": false, "sso": {"enforced": false, "return_urls": []}, "limits": { "requests_per_minute": null }, "version": version });
    assert_eq!(before, empty);
    let put = |if_match: Option<String>, body: Value| {
        let request = app.put("acme", &path).token(&owner).json(&body);
        match if_match {
            Some(tag) => request.header("if-match", &tag),
            None => request,
        }
    };
    let wanted = json!({ "cors_origins": ["https://app.acme.test"], "limits": { "requests_per_minute": 500 } });
    put(None, wanted.clone()).await.problem(428, "precondition-required");
    for wrong in
        [format!("\"{}\"", version + 1), format!("\"{}\"", version - 1), "x".into(), "\"\"".into(), "-1".into()]
    {
        put(Some(wrong), wanted.clone()).await.problem(412, "precondition-failed");
    }
    assert_eq!(config(&app, &tenant.id, &owner).await, before);

    let tag = format!("\"{version}\"");
    let reply = put(Some(tag.clone()), wanted.clone()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let after = reply.json();
    assert_eq!(after["version"], version + 1);
    assert_eq!(reply.header("etag"), format!("\"{}\"", version + 1));
    assert_eq!((&after["cors_origins"], &after["limits"]), (&wanted["cors_origins"], &wanted["limits"]));
    assert_eq!(config(&app, &tenant.id, &owner).await, after);
    // Seen by the very next request.
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.header("x-ratelimit-limit"), "500");
    put(Some(tag), wanted).await.problem(412, "precondition-failed");
    // What was read may be sent back as it is, with its version.
    let reply = put(Some(format!("\"{}\"", version + 1)), after.clone()).await;
    assert_eq!((reply.status, &reply.json()["version"]), (200, &json!(version + 2)));
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_by_field() {
    let app = spawn_app(|settings| settings.limits.tenant_per_minute = 1000).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let before = config(&app, &tenant.id, &owner).await;
    let tag = format!("\"{}\"", before["version"]);
    for (body, pointers) in [
        (
            json!({ "cors_origins": ["https://a.test", "*", "https://a.test/x", "null"] }),
            vec!["/cors_origins/1", "/cors_origins/2", "/cors_origins/3"],
        ),
        (json!({ "cors_origins": vec!["https://a.test"; 51] }), vec!["/cors_origins"]),
        (json!({ "cors_origins": "https://a.test" }), vec!["/cors_origins"]),
        (json!({ "cors_origins": ["https://a.test", 1] }), vec!["/cors_origins/1"]),
        (
            json!({ "session": { "idle_timeout_s": 1, "absolute_timeout_s": 999_999_999_u64 } }),
            vec!["/session/absolute_timeout_s", "/session/idle_timeout_s"],
        ),
        (json!({ "session": { "idle_timeout_s": -1 } }), vec!["/session/idle_timeout_s"]),
        (json!({ "session": { "forever": true } }), vec!["/session/forever"]),
        (json!({ "limits": { "requests_per_minute": 1001 } }), vec!["/limits/requests_per_minute"]),
        (json!({ "limits": { "requests_per_minute": 0 } }), vec!["/limits/requests_per_minute"]),
        (json!({ "limits": { "requests_per_minute": 1e30 } }), vec!["/limits/requests_per_minute"]),
        (json!({ "mfa_required": "yes" }), vec!["/mfa_required"]),
        (json!({ "version": 99 }), vec!["/version"]),
        (json!({ "colour": "red" }), vec!["/colour"]),
    ] {
        let reply = app
            .put("acme", &format!("/tenants/{}/config", tenant.id))
            .token(&owner)
            .header("if-match", &tag)
            .json(&body)
            .await;
        assert_eq!(reply.pointers(), pointers, "{body}");
    }
    assert_eq!(config(&app, &tenant.id, &owner).await, before);
}

#[tokio::test]
async fn a_request_may_wait_for_a_version_of_the_configuration() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let version = config(&app, &tenant.id, &owner).await["version"].as_i64().unwrap();
    let get = |version: &str| app.get("acme", "/auth/me").token(&owner).header("x-min-config-version", version);
    assert_eq!(get(&version.to_string()).await.status, 200);
    get("soon").await.problem(400, "malformed-request");
    // A change behind the server's back, before any notification: still read for who asks for it.
    app.db.as_admin("SET session_replication_role = replica; UPDATE platform.tenants SET config_version = config_version + 1, name = 'Changed' WHERE slug = 'acme'").await;
    assert_eq!(get(&(version + 1).to_string()).await.json()["tenant"]["name"], "Changed");
}

#[tokio::test]
async fn a_node_that_has_not_heard_of_a_change_does_not_let_it_be_undone_without_a_second_factor() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let path = format!("/tenants/{}/config", tenant.id);
    let version: i64 = app.get("acme", &path).token(&owner).await.json()["version"].as_i64().unwrap();
    // What another node wrote; without its trigger nobody is told of it.
    app.db
        .as_admin(
            "ALTER TABLE platform.tenants DISABLE TRIGGER USER;
             UPDATE platform.tenants SET config = config || '{\"mfa_required\": true}', config_version = config_version + 1
             WHERE slug = 'acme';
             ALTER TABLE platform.tenants ENABLE TRIGGER USER",
        )
        .await;
    let put = async |version: i64| {
        app.put("acme", &path).token(&owner).header("if-match", &format!("\"{version}\"")).json(&json!({})).await
    };
    put(version + 1).await.problem(401, "insufficient_user_authentication");
    put(version).await.problem(412, "precondition-failed");
}
