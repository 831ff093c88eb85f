//! Refresh, rotation, reuse, logout.

use futures_util::future::join_all;
use serde_json::json;

use crate::helpers::{App, Session, spawn_app};

const COUNTER: &str = "SELECT max(refresh_ctr) FROM auth.sessions";

async fn is_refused(app: &App, session: &Session) {
    let reply = app.get("acme", "/auth/me").token(session).await;
    reply.problem(401, "invalid-token");
    assert_eq!(reply.header("www-authenticate"), "Bearer error=\"invalid_token\"");
}

#[tokio::test]
async fn a_refresh_gives_new_tokens_of_the_same_session() {
    let app = spawn_app(|_| {}).await;
    let (_, first) = app.tenant_with_owner("acme").await;
    let reply = app.refresh("acme", &first.refresh).await;
    let second = Session::of(&reply);
    assert_ne!((&first.refresh, &first.access), (&second.refresh, &second.access));
    let me = async |session: &Session| app.get("acme", "/auth/me").token(session).await.json();
    assert_eq!(me(&first).await["session_id"], me(&second).await["session_id"]);
    assert_eq!(app.count(COUNTER).await, 2);
    // The chain goes on.
    let third = Session::of(&app.refresh("acme", &second.refresh).await);
    assert_ne!(second.refresh, third.refresh);
    assert_eq!(app.count(COUNTER).await, 3);
}

#[tokio::test]
async fn the_token_before_gets_the_same_answer_within_the_grace() {
    let app = spawn_app(|settings| settings.auth.refresh_grace_s = 60).await;
    let (_, first) = app.tenant_with_owner("acme").await;
    let second = Session::of(&app.refresh("acme", &first.refresh).await);
    let again = Session::of(&app.refresh("acme", &first.refresh).await);
    assert_eq!(second.refresh, again.refresh);
    assert_eq!(app.count(COUNTER).await, 2);
    Session::of(&app.refresh("acme", &again.refresh).await);
}

#[tokio::test]
async fn a_hundred_refreshes_of_one_token_at_once_agree() {
    let app = spawn_app(|settings| {
        settings.auth.refresh_grace_s = 60;
        settings.database.acquire_timeout_ms = 20_000;
    })
    .await;
    let (_, first) = app.tenant_with_owner("acme").await;
    let replies = join_all((0..100).map(|_| app.refresh("acme", &first.refresh))).await;
    let tokens: std::collections::BTreeSet<_> = replies.iter().map(|reply| Session::of(reply).refresh).collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert_eq!(app.count(COUNTER).await, 2);
    Session::of(&app.refresh("acme", tokens.first().unwrap()).await);
}

#[tokio::test]
async fn a_token_used_twice_ends_the_session() {
    let app = spawn_app(|settings| settings.auth.refresh_grace_s = 0).await;
    let (_, first) = app.tenant_with_owner("acme").await;
    let other = app.sign_in("acme", "owner@acme.test").await;
    let second = Session::of(&app.refresh("acme", &first.refresh).await);
    app.refresh("acme", &first.refresh).await.problem(401, "session-revoked");
    app.refresh("acme", &second.refresh).await.problem(401, "session-revoked");
    let audited = "SELECT count(*) FROM platform.audit_log WHERE code = 'refresh-token-reuse' AND outcome = 'denied'";
    assert_eq!(app.count(audited).await, 1);
    // Another session of the same user is not touched.
    Session::of(&app.refresh("acme", &other.refresh).await);
    is_refused_soon(&app, &second).await;
}

/// The reuse is noticed by the database; the view learns of it through the log.
async fn is_refused_soon(app: &App, session: &Session) {
    crate::helpers::until("the access token is refused", async || {
        app.get("acme", "/auth/me").token(session).await.status == 401
    })
    .await;
    is_refused(app, session).await;
}

#[tokio::test]
async fn forged_refresh_tokens_are_refused() {
    let app = spawn_app(|_| {}).await;
    let (_, session) = app.tenant_with_owner("acme").await;
    let (_, foreign) = app.tenant_with_owner("globex").await;
    let flipped = |at: usize| {
        let mut bytes = session.refresh.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let truncated = session.refresh[..session.refresh.len() - 2].to_owned();
    let longer = format!("{}AA", session.refresh);
    let forged = [
        String::new(),
        "nonsense".into(),
        truncated,
        longer,
        flipped(3),
        flipped(30),
        flipped(45),
        session.access.clone(),
        foreign.refresh.clone(),
        "x".repeat(100_000),
        "\0".into(),
    ];
    for token in forged {
        app.refresh("acme", &token).await.problem(401, "invalid-refresh-token");
    }
    assert_eq!(app.count(COUNTER).await, 1);
    Session::of(&app.refresh("acme", &session.refresh).await);
}

#[tokio::test]
async fn an_expired_session_cannot_be_refreshed() {
    let app = spawn_app(|_| {}).await;
    let (_, session) = app.tenant_with_owner("acme").await;
    app.db.as_admin("UPDATE auth.sessions SET idle_expires_at = now() - interval '1 second'").await;
    app.refresh("acme", &session.refresh).await.problem(401, "invalid-refresh-token");
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_end_however_often_it_is_used() {
    let app = spawn_app(|_| {}).await;
    let (_, first) = app.tenant_with_owner("acme").await;
    let second = Session::of(&app.refresh("acme", &first.refresh).await);
    app.db.as_admin("UPDATE auth.sessions SET absolute_expires_at = now() - interval '1 second'").await;
    app.refresh("acme", &second.refresh).await.problem(401, "invalid-refresh-token");
    // An old token of it is no theft any more, and nobody is told of one.
    app.refresh("acme", &first.refresh).await.problem(401, "invalid-refresh-token");
    assert_eq!(app.count("SELECT count(*) FROM platform.mail_outbox WHERE kind = 'session_reuse'").await, 0);
}

#[tokio::test]
async fn the_token_before_is_reuse_once_the_grace_is_over() {
    let app = spawn_app(|settings| settings.auth.refresh_grace_s = 10).await;
    let (_, first) = app.tenant_with_owner("acme").await;
    let second = Session::of(&app.refresh("acme", &first.refresh).await);
    app.db.as_admin("UPDATE auth.sessions SET rotated_at = rotated_at - interval '11 seconds'").await;
    app.refresh("acme", &first.refresh).await.problem(401, "session-revoked");
    app.refresh("acme", &second.refresh).await.problem(401, "session-revoked");
}

#[tokio::test]
async fn a_suspended_user_cannot_refresh() {
    let app = spawn_app(|_| {}).await;
    let (_, session) = app.tenant_with_owner("acme").await;
    app.db.as_admin("UPDATE auth.users SET state = 'suspended'").await;
    app.refresh("acme", &session.refresh).await.problem(401, "session-revoked");
}

#[tokio::test]
async fn logout_ends_this_session_at_once_and_no_other() {
    let app = spawn_app(|_| {}).await;
    let (_, here) = app.tenant_with_owner("acme").await;
    let there = app.sign_in("acme", "owner@acme.test").await;
    let reply = app.post("acme", "/auth/logout").token(&here).await;
    assert_eq!((reply.status, &*reply.body), (204, ""));
    is_refused(&app, &here).await;
    app.refresh("acme", &here.refresh).await.problem(401, "session-revoked");
    app.post("acme", "/auth/logout").token(&here).await.problem(401, "invalid-token");
    assert_eq!(app.get("acme", "/auth/me").token(&there).await.status, 200);
    assert_eq!(app.count("SELECT count(*) FROM auth.sessions WHERE revoked_at IS NULL").await, 1);
}

#[tokio::test]
async fn logout_of_all_ends_every_session_of_the_user_alone() {
    let app = spawn_app(|_| {}).await;
    let (_, here) = app.tenant_with_owner("acme").await;
    let there = app.sign_in("acme", "owner@acme.test").await;
    let colleague = app.user("acme", "member").await;
    let reply = app.post("acme", "/auth/logout").token(&here).json(&json!({ "all": true })).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    is_refused(&app, &here).await;
    is_refused(&app, &there).await;
    app.refresh("acme", &there.refresh).await.problem(401, "session-revoked");
    assert_eq!(app.get("acme", "/auth/me").token(&colleague).await.status, 200);
}
