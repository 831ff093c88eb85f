//! What was proved before something else changed: a proof counts only if it is still one when its session is written.

use std::cell::Cell;

use businessos::db::embedded::SUPERUSER;
use futures_util::future::join;
use serde_json::{Value, json};

use crate::helpers::{App, PASSWORD, Reply, Session, spawn_app, until};
use crate::second_factor::claims;
use crate::soft_key::SoftKey;

const OWNER: &str = "owner@acme.test";
const NEW: &str = "a whole new sentence";

/// Has somebody else change something while requests are under way: the change is made, and committed when `n` of them wait for it (or
/// have not waited and are done).
async fn beside<T>(app: &App, change: &str, n: i64, requests: impl Future<Output = T>) -> T {
    let mut conn = app.db.connect(SUPERUSER).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("BEGIN; {change}"))).execute(&mut conn).await.unwrap();
    let is_done = Cell::new(false);
    let requests = async {
        let replies = requests.await;
        is_done.set(true);
        replies
    };
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let commit = async {
        until("requests wait", async || is_done.get() || app.count(waiting).await >= n).await;
        sqlx::raw_sql("COMMIT").execute(&mut conn).await.unwrap();
    };
    join(requests, commit).await.0
}

const CHANGE: &str = "UPDATE auth.users SET";

#[tokio::test]
async fn a_password_that_was_right_a_moment_ago_signs_nobody_in() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    for (change, back) in [
        ("password_hash = password_hash || ' '", "password_hash = rtrim(password_hash)"),
        ("state = 'suspended'", "state = 'active'"),
        ("state = 'deleted'", "state = 'active'"),
    ] {
        let change = format!("{CHANGE} {change} WHERE email_norm = '{OWNER}'");
        let reply = beside(&app, &change, 1, app.try_sign_in("acme", OWNER, PASSWORD)).await;
        reply.problem(401, "invalid-credentials");
        assert_eq!(app.count("SELECT count(*) FROM auth.sessions").await, 0, "{change}");
        app.db.as_admin(&format!("{CHANGE} {back} WHERE email_norm = '{OWNER}'")).await;
    }
    let lesser = format!("{CHANGE} role = 'member' WHERE email_norm = '{OWNER}'");
    let session = Session::of(&beside(&app, &lesser, 1, app.try_sign_in("acme", OWNER, PASSWORD)).await);
    assert_eq!(claims(&session)["roles"], json!(["member"]));
}

#[tokio::test]
async fn a_code_lets_nobody_in_who_was_switched_off_meanwhile() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    let body = json!({ "mfa_token": mfa_token, "code": phone.code() });
    let change = format!("{CHANGE} state = 'suspended' WHERE email_norm = '{OWNER}'");
    beside(&app, &change, 1, app.verify("acme", &body)).await.problem(401, "invalid-mfa-token");
    assert_eq!(app.count("SELECT count(*) FROM auth.sessions WHERE acr = 'aal2'").await, 0);
}

async fn change_password(app: &App, session: &Session) -> Reply {
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    app.post("acme", "/auth/password").token(session).json(&body).await
}

#[tokio::test]
async fn an_old_password_does_not_change_the_new_one() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let change = format!("{CHANGE} password_hash = password_hash || ' ' WHERE email_norm = '{OWNER}'");
    let reply = beside(&app, &change, 1, change_password(&app, &owner)).await;
    assert_eq!(reply.pointers(), ["/current_password"]);
    assert_eq!(app.count("SELECT count(*) FROM auth.users WHERE password_hash LIKE '% '").await, 1);
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_changes_nothing() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    // Ended by another node, so that this one has not heard of it.
    let end = format!(
        "SET LOCAL session_replication_role = replica; UPDATE auth.sessions SET revoked_at = now();
         {CHANGE} updated_at = now() WHERE email_norm = '{OWNER}'"
    );
    beside(&app, &end, 1, change_password(&app, &owner)).await.problem(401, "session-revoked");
    app.post("acme", "/auth/mfa/totp").token(&owner).await.problem(401, "session-revoked");
    let wish = json!({ "email": "new@acme.test" });
    app.post("acme", "/auth/email").token(&owner).json(&wish).await.problem(401, "session-revoked");
    app.sign_in("acme", OWNER).await;
}

#[tokio::test]
async fn of_two_waiting_sign_ins_one_adds_the_first_factor() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;

    let member = app.sign_in("acme", OWNER).await;
    let me = app.get("acme", "/auth/me").token(&member).await.json();
    let path = format!("/tenants/{}/config", me["tenant"]["id"].as_str().unwrap());
    let before = app.get("acme", &path).token(&member).await;
    let strict = json!({ "mfa_required": true });
    let reply = app.put("acme", &path).token(&member).header("if-match", before.header("etag")).json(&strict).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let mut bodies: Vec<Value> = Vec::new();
    for _ in 0..2 {
        let (mfa_token, _) = app.challenge("acme", OWNER).await;
        let body = json!({ "mfa_token": mfa_token });
        let begun = app.post("acme", "/auth/mfa/webauthn/register").json(&body).await.json();
        let mut key = SoftKey::new(&format!("http://acme.localhost:{}", app.port));
        bodies.push(json!({
            "mfa_token": mfa_token, "ceremony_id": begun["ceremony_id"], "name": "Phone",
            "credential": key.create(&begun["publicKey"]),
        }));
    }
    let finish = |body: &Value| app.post("acme", "/auth/mfa/webauthn/register/finish").json(body);
    // Nobody can add a passkey until both have got as far as they can.
    let both = join(finish(&bodies[0]).into_future(), finish(&bodies[1]).into_future());
    let (one, two) = beside(&app, "LOCK TABLE auth.passkeys IN SHARE MODE", 2, both).await;
    let (won, lost) = if one.status == 200 { (one, two) } else { (two, one) };
    assert_eq!(won.status, 200, "{won:?}");
    lost.problem(401, "invalid-mfa-token");
    assert_eq!(app.count("SELECT count(*) FROM auth.passkeys").await, 1);
}
