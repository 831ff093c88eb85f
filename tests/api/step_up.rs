//! Step-up (RFC 9470), and tenants that ask everybody for a second factor.

use serde_json::{Value, json};

use crate::helpers::{App, Session, routes, spawn_app};
use crate::second_factor::{Authenticator, claims};
use crate::upstream::Upstream;

async fn replace_config(app: &App, session: &Session, config: Value) -> crate::helpers::Reply {
    let me = app.get("acme", "/auth/me").token(session).await.json();
    let path = format!("/tenants/{}/config", me["tenant"]["id"].as_str().unwrap());
    let before = app.get("acme", &path).token(session).await;
    app.put("acme", &path).token(session).header("if-match", before.header("etag")).json(&config).await
}

#[tokio::test]
async fn a_step_up_opens_a_route_that_asks_for_it() {
    let upstream = Upstream::start();
    let route = upstream.route("/vault", "min_acr = \"aal2\"\nmax_age_s = 300");
    let app = spawn_app(move |settings| settings.gateway.routes = routes(&route)).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    let refused = app.get("acme", "/vault").token(&owner).await;
    refused.problem(401, "insufficient_user_authentication");
    let challenge = refused.header("www-authenticate");
    assert_eq!(challenge, "Bearer error=\"insufficient_user_authentication\", acr_values=\"aal2\", max_age=\"300\"");
    // The first sign-in was an hour ago; the code is of now.
    app.db.as_admin("UPDATE auth.sessions SET auth_time = auth_time - interval '1 hour'").await;
    let strong = Session::of(&app.step_up("acme", &owner, &phone.code()).await);
    let (before, after) = (claims(&owner), claims(&strong));
    assert_eq!((&before["sid"], &before["acr"]), (&after["sid"], &json!("aal1")));
    assert_eq!((&after["acr"], &after["amr"]), (&json!("aal2"), &json!(["pwd", "otp"])));
    assert!(after["auth_time"].as_i64().unwrap() >= before["auth_time"].as_i64().unwrap(), "{after}");
    let reply = app.get("acme", "/vault").token(&strong).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["headers"]["x-auth-acr"], json!(["aal2"]));
    // The weak token of the same session stays weak.
    app.get("acme", "/vault").token(&owner).await.problem(401, "insufficient_user_authentication");
    // Too long ago.
    app.db.as_admin("UPDATE auth.sessions SET mfa_time = mfa_time - interval '301 seconds'").await;
    let stale = Session::of(&app.refresh("acme", &strong.refresh).await);
    app.get("acme", "/vault").token(&stale).await.problem(401, "insufficient_user_authentication");
    assert_eq!(upstream.n_requests(), 1);
    let stepped_up = "SELECT count(*) FROM platform.audit_log WHERE action = 'session.step_up' AND outcome = 'success'";
    assert_eq!(app.count(stepped_up).await, 1);
}

#[tokio::test]
async fn a_step_up_replaces_the_refresh_token() {
    // However long the grace of a refresh is.
    let app = spawn_app(|settings| settings.auth.refresh_grace_s = 300).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (_, codes) = app.enrol_totp("acme", &owner).await;
    let strong = Session::of(&app.step_up("acme", &owner, &codes[0]).await);
    let next = Session::of(&app.refresh("acme", &strong.refresh).await);
    assert_eq!(claims(&next)["acr"], "aal2");
    // One that was stolen before the step-up ends the session instead of inheriting its strength.
    app.refresh("acme", &owner.refresh).await.problem(401, "session-revoked");
}

#[tokio::test]
async fn without_a_factor_no_code_steps_up() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for code in ["000000", "0000-0000-0000-0000-0000-0000"] {
        app.step_up("acme", &owner, code).await.problem(401, "invalid-mfa-code");
    }
    assert_eq!(app.count("SELECT count(*) FROM auth.sessions WHERE acr = 'aal2'").await, 0);
}

#[tokio::test]
async fn an_ended_session_cannot_step_up() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, codes) = app.enrol_totp("acme", &owner).await;
    // Ended by another node a moment ago, so that this one has not heard of it.
    app.db.as_admin("SET session_replication_role = replica; UPDATE auth.sessions SET revoked_at = now()").await;
    app.step_up("acme", &owner, &phone.code()).await.problem(401, "session-revoked");
    // The code was not used up for nothing.
    assert_eq!(app.count("SELECT max(last_step) FROM auth.totp_factors").await, 0);
    app.step_up("acme", &owner, &codes[0]).await.problem(401, "session-revoked");
    assert_eq!(app.count("SELECT count(*) FROM auth.recovery_codes WHERE used_at IS NOT NULL").await, 0);
}

#[tokio::test]
async fn a_tenant_may_ask_everybody_for_a_second_factor() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let member = app.user("acme", "member").await;
    assert_eq!(replace_config(&app, &owner, json!({ "mfa_required": true })).await.status, 200);
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.json()["mfa_required"], true);
    // Sessions that are under way are asked at their next refresh, and are not ended by it.
    for _ in 0..2 {
        app.refresh("acme", &member.refresh).await.problem(401, "mfa-required");
    }
    assert_eq!(app.count("SELECT count(*) FROM auth.sessions WHERE revoked_at IS NOT NULL").await, 0);
    // A sign-in without a factor leads to an enrolment and nowhere else.
    let (mfa_token, challenge) = app.challenge("acme", "member@acme.test").await;
    let expected = json!({ "mfa_required": true, "mfa_token": mfa_token, "factors": [], "enrolment_required": true });
    assert_eq!(challenge, expected);
    app.verify("acme", &json!({ "mfa_token": mfa_token, "code": "000000" })).await.problem(401, "invalid-mfa-code");
    let begin = |token: &str| app.post("acme", "/auth/mfa/totp").json(&json!({ "mfa_token": token }));
    let phone = Authenticator::new(&begin(&mfa_token).await.json());
    let confirm = |code: String| json!({ "mfa_token": mfa_token, "code": code });
    let refused = app.post("acme", "/auth/mfa/totp/confirm").json(&confirm(phone.wrong_code())).await;
    refused.problem(401, "invalid-mfa-code");
    let reply = app.post("acme", "/auth/mfa/totp/confirm").json(&confirm(phone.code())).await;
    let session = Session::of(&reply);
    assert_eq!(reply.json()["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(claims(&session)["acr"], "aal2");
    Session::of(&app.refresh("acme", &session.refresh).await);
    app.refresh("acme", &member.refresh).await.problem(401, "session-revoked");
    // The token has done its work.
    begin(&mfa_token).await.problem(401, "invalid-mfa-token");
    // With a factor, the token of a sign-in does not add another.
    let (mfa_token, _) = app.challenge("acme", "member@acme.test").await;
    begin(&mfa_token).await.problem(401, "invalid-mfa-token");
}

#[tokio::test]
async fn asking_less_of_users_needs_a_step_up_and_asking_more_does_not() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    let strict = json!({ "mfa_required": true, "session": { "idle_timeout_s": 600 } });
    assert_eq!(replace_config(&app, &owner, strict).await.status, 200);
    for lax in [json!({}), json!({ "mfa_required": true }), json!({ "session": { "idle_timeout_s": 600 } })] {
        replace_config(&app, &owner, lax).await.problem(401, "insufficient_user_authentication");
    }
    let other =
        json!({ "mfa_required": true, "session": { "idle_timeout_s": 60 }, "cors_origins": ["https://a.test"] });
    assert_eq!(replace_config(&app, &owner, other).await.status, 200);
    let strong = Session::of(&app.step_up("acme", &owner, &phone.code()).await);
    assert_eq!(replace_config(&app, &strong, json!({})).await.status, 200);
}
