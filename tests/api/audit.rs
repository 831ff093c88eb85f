//! The audit trail: what is in it, who reads it, and that nobody can change it unseen.

use std::process::Command;

use businessos::db::embedded::SUPERUSER;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;

use crate::api_keys::make_key;
use crate::helpers::{App, PASSWORD, Session, routes, spawn_app, until};
use crate::upstream::Upstream;

/// An application that seals each second, with acme and its owner, who has shown two factors.
async fn sealing_app() -> (App, Session) {
    let app = spawn_app(|settings| settings.audit.seal_every_s = 1).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let admin = app.stepped_up("acme", &owner).await;
    (app, admin)
}

async fn events(app: &App, reader: &Session, query: &str) -> Vec<Value> {
    let reply = app.get("acme", &format!("/audit{query}")).token(reader).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["events"].as_array().unwrap().clone()
}

/// Waits until everything of acme is sealed; returns the size of its tree.
async fn sealed(app: &App) -> i64 {
    let open = "SELECT count(*) FROM platform.audit_log l JOIN platform.tenants t USING (tenant_id)
                WHERE t.slug = 'acme' AND NOT EXISTS (SELECT FROM platform.audit_leaves f WHERE f.audit_id = l.id)";
    until("all is sealed", async || app.count(open).await == 0).await;
    app.count("SELECT max(tree_size) FROM platform.audit_checkpoints JOIN platform.tenants USING (tenant_id) WHERE slug = 'acme'")
        .await
}

/// Runs `businessos audit verify` beside the server; returns whether it was content, and what it said.
async fn verify(app: &App) -> (bool, String) {
    let url = app.db.options(SUPERUSER).to_url_lossy().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_businessos"));
    command
        .args(["audit", "verify", "--tenant", "acme"])
        .current_dir(app.data_dir())
        .env("BUSINESSOS__DATABASE__URL", url)
        .env("BUSINESSOS__DATA_DIR", app.data_dir());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

/// Changes the log as nobody may but the machine's superuser.
async fn tamper(app: &App, sql: &str) {
    app.db.as_admin(&format!("SET session_replication_role = replica; {sql}")).await;
}

#[tokio::test]
async fn what_admins_do_and_who_is_refused_is_in_the_trail() {
    let upstream = Upstream::start();
    let text = upstream.route("/crm", "") + &upstream.route("/books", "roles = [\"billing\"]");
    let app = spawn_app(|settings| settings.gateway.routes = routes(&text)).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (member, admin) = (app.user("acme", "member").await, app.stepped_up("acme", &owner).await);
    app.onboard("globex").await;
    let stranger = app.sign_in("globex", "owner@globex.test").await;
    let (key_id, key) = make_key("acme", &app, &admin, &["gateway:/crm"]).await;
    app.get("acme", "/books/1").token(&member).await.problem(403, "forbidden");
    app.get("acme", "/api-keys").token(&member).await.problem(403, "forbidden");
    app.get("acme", "/crm/x").token(&stranger).await.problem(403, "tenant-mismatch");
    app.get("acme", "/crm/x").bearer("forged").await.problem(401, "invalid-token");
    app.get("acme", "/auth/me").bearer(&key).await.problem(403, "insufficient-scope");
    app.try_sign_in("acme", "owner@acme.test", "not the password").await.problem(401, "invalid-credentials");
    assert_eq!(app.post("acme", "/auth/logout").token(&member).await.status, 204);
    app.get("acme", "/auth/me").token(&member).await.problem(401, "invalid-token");
    let wanted = [
        ("request.deny", "user", "forbidden"),
        ("request.deny", "anonymous", "tenant-mismatch"),
        ("request.deny", "anonymous", "invalid-token"),
        ("request.deny", "key", "insufficient-scope"),
        ("session.create", "anonymous", "invalid-credentials"),
        ("api_key.create", "user", ""),
        ("session.end", "user", ""),
    ];
    let is_in = |all: &[Value], (action, actor, code): (&str, &str, &str)| {
        all.iter().any(|event| {
            let is_code = event["code"].as_str().unwrap_or_default() == code;
            is_code && event["action"] == action && event["actor"]["kind"] == actor
        })
    };
    until("the refusals are written", async || {
        let all = events(&app, &admin, "?limit=200").await;
        wanted.iter().all(|wanted| is_in(&all, *wanted))
            && all.iter().filter(|e| e["code"] == "invalid-token").count() == 2
    })
    .await;
    let denied = events(&app, &admin, &format!("?outcome=denied&actor={key_id}")).await;
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(denied[0]["detail"], json!({ "method": "GET", "path": "/auth/me" }));
    assert_eq!((&denied[0]["source"]["ip"], &denied[0]["target"]["id"]), (&json!("127.0.0.1"), &json!("/auth/me")));
    assert!(denied[0]["source"]["request_id"].is_string());
    let text = serde_json::to_string(&events(&app, &admin, "?limit=200").await).unwrap();
    assert!(!text.contains(&key) && !text.contains(PASSWORD), "a secret is in the trail");
}

#[tokio::test]
async fn pages_and_filters_fit_together() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for _ in 0..4 {
        app.try_sign_in("acme", "owner@acme.test", "wrong password").await;
    }
    let all = events(&app, &owner, "?limit=200").await;
    let ids = |events: &[Value]| events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = app.get("acme", &format!("/audit?limit=2{after}")).token(&owner).await.json();
        paged.extend(page["events"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(ids(&paged), ids(&all));
    let mut backwards = events(&app, &owner, "?limit=200&order=desc").await;
    backwards.reverse();
    assert_eq!(ids(&backwards), ids(&all));
    assert_eq!(events(&app, &owner, "?action=session.create&outcome=failure").await.len(), 4);
    assert_eq!(events(&app, &owner, "?action=session.*").await.len(), 5);
    assert_eq!(events(&app, &owner, "?action=session").await.len(), 0);
    assert_eq!(events(&app, &owner, "?target=user&outcome=success").await.len(), 1);
    assert_eq!(events(&app, &owner, "?from=2999-01-01T00:00:00Z").await.len(), 0);
    for (query, pointer) in [("limit=0", "/limit"), ("order=up", "/order"), ("outcome=fine", "/outcome")] {
        assert_eq!(app.get("acme", &format!("/audit?{query}")).token(&owner).await.pointers(), [pointer]);
    }
}

#[tokio::test]
async fn the_whole_trail_comes_as_lines_and_that_is_in_the_trail() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.onboard("globex").await;
    // More than a batch.
    app.db
        .as_admin(
            "INSERT INTO platform.audit_log (tenant_id, id, actor_kind, action, target_kind, outcome)
             SELECT tenant_id, gen_random_uuid(), 'system', 'test.made', 'test', 'success'
             FROM platform.tenants, generate_series(1, 1200) WHERE slug IN ('acme', 'globex')",
        )
        .await;
    let reply = app.get("acme", "/audit?action=test.*").token(&owner).header("accept", "application/x-ndjson").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/x-ndjson"));
    let lines: Vec<Value> = reply.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1200);
    assert_eq!(events(&app, &owner, "?action=audit.export").await.len(), 1);
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_the_trail() {
    let app = spawn_app(|settings| settings.audit.denials_per_minute = 3).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for _ in 0..60 {
        app.get("acme", "/auth/me").bearer("forged").await.problem(401, "invalid-token");
    }
    until("refusals are written", async || events(&app, &owner, "?action=request.deny").await.len() >= 3).await;
    // A minute may have turned meanwhile.
    assert!(events(&app, &owner, "?action=request.deny").await.len() <= 6);
}

#[tokio::test]
async fn a_key_reads_the_trail_if_it_may() {
    let (app, admin) = sealing_app().await;
    let (_, reader) = make_key("acme", &app, &admin, &["audit:read"]).await;
    let (_, other) = make_key("acme", &app, &admin, &["usage:write"]).await;
    assert_eq!(app.get("acme", "/audit").bearer(&reader).await.status, 200);
    let refused = app.get("acme", "/audit").bearer(&other).await;
    refused.problem(403, "insufficient-scope");
    assert_eq!(refused.header("www-authenticate"), "Bearer error=\"insufficient_scope\", scope=\"audit:read\"");
    sealed(&app).await;
    let checkpoint = app.get("acme", "/audit/checkpoint").bearer(&reader).await.json();
    assert!(checkpoint["tree_size"].as_i64().unwrap() > 0 && checkpoint["jws"].is_string(), "{checkpoint}");
}

#[tokio::test]
async fn a_sound_trail_verifies_while_it_grows() {
    let (app, admin) = sealing_app().await;
    let first = sealed(&app).await;
    let (is_sound, said) = verify(&app).await;
    assert!(is_sound && said.contains(&format!("acme: sound, {first} sealed, 0 not sealed yet")), "{said}");
    make_key("acme", &app, &admin, &["usage:write"]).await;
    let second = sealed(&app).await;
    assert!(second > first);
    let (is_sound, said) = verify(&app).await;
    assert!(is_sound && said.contains(&format!("{second} sealed")), "{said}");
    let marks = "SELECT count(*) FROM platform.audit_marks";
    until("the marks are taken away", async || app.count(marks).await == 0).await;
}

#[tokio::test]
async fn every_kind_of_tampering_is_found() {
    let row = "(SELECT audit_id FROM platform.audit_leaves f JOIN platform.tenants USING (tenant_id)
                WHERE slug = 'acme' AND leaf_index = 1)";
    let of_acme = "tenant_id = (SELECT tenant_id FROM platform.tenants WHERE slug = 'acme')";
    for (sql, finding) in [
        (format!("UPDATE platform.audit_log SET detail = '{{\"a\": 1}}' WHERE id = {row}"), "(leaf 1) was changed"),
        (
            format!("UPDATE platform.audit_log SET at = at + interval '1 second' WHERE id = {row}"),
            "(leaf 1) was changed",
        ),
        (format!("DELETE FROM platform.audit_log WHERE id = {row}"), "(leaf 1) is missing"),
        (
            format!(
                "INSERT INTO platform.audit_log (tenant_id, id, at, xid, actor_kind, action, target_kind, outcome)
                     SELECT tenant_id, gen_random_uuid(), at - interval '1 hour', xid, 'system', 'x.y', 'x', 'success'
                     FROM platform.audit_log WHERE id = {row}"
            ),
            "was added below what is sealed",
        ),
        (
            format!(
                "UPDATE platform.audit_leaves SET leaf_index = 1000000 WHERE {of_acme} AND leaf_index = 0;
                     UPDATE platform.audit_leaves SET leaf_index = 0 WHERE {of_acme} AND leaf_index = 1;
                     UPDATE platform.audit_leaves SET leaf_index = 1 WHERE {of_acme} AND leaf_index = 1000000"
            ),
            "the rows below it give another root",
        ),
        (format!("DELETE FROM platform.audit_leaves WHERE {of_acme} AND leaf_index = 0"), "leaves 0 to 0 are missing"),
        (
            format!("UPDATE platform.audit_checkpoints SET jws = jws || 'x' WHERE {of_acme}"),
            "its signature does not verify",
        ),
        (
            format!("UPDATE platform.audit_checkpoints SET jwk = jwk || '{{\"kid\": \"x\"}}' WHERE {of_acme}"),
            "it was not made by this installation",
        ),
        (format!("DELETE FROM platform.audit_checkpoints WHERE {of_acme}"), "are under no checkpoint"),
    ] {
        let (app, _) = sealing_app().await;
        sealed(&app).await;
        tamper(&app, &sql).await;
        let (is_sound, said) = verify(&app).await;
        assert!(!is_sound && said.contains(finding), "{sql}: {said}");
    }
}

#[tokio::test]
async fn nobody_changes_the_trail_by_the_front_door() {
    let (app, _) = sealing_app().await;
    sealed(&app).await;
    for table in ["audit_log", "audit_leaves", "audit_checkpoints"] {
        for sql in ["DELETE FROM", "UPDATE"] {
            let set = if sql == "UPDATE" { " SET tenant_id = tenant_id" } else { "" };
            let mut owner = app.db.connect(SUPERUSER).await;
            let state = crate::support::sqlstate(&mut owner, &format!("{sql} platform.{table}{set}")).await;
            assert_eq!(state, "42501", "{sql} {table}");
        }
    }
}
