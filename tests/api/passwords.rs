//! Forgotten, reset and changed passwords; proven and changed addresses.

use futures_util::future::join_all;
use serde_json::json;

use crate::helpers::{App, PASSWORD, Reply, Session, spawn_app};

const OWNER: &str = "owner@acme.test";
const NEW: &str = "a whole new sentence";

async fn forgot(app: &App, email: &str) -> Reply {
    app.post("acme", "/auth/password/forgot").json(&json!({ "email": email })).await
}

async fn reset(app: &App, token: &str, password: &str) -> Reply {
    app.post("acme", "/auth/password/reset").json(&json!({ "token": token, "password": password })).await
}

async fn verify(app: &App, token: &str) -> Reply {
    app.post("acme", "/auth/email/verify").json(&json!({ "token": token })).await
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew_by_mail_once_and_ends_all_sessions() {
    let app = spawn_app(|_| {}).await;
    let (_, session) = app.tenant_with_owner("acme").await;
    assert_eq!(forgot(&app, " OWNER@acme.test").await.status, 202);
    let token = app.mail("password_reset", OWNER).await.token();
    assert_eq!(reset(&app, &token, "short").await.pointers(), ["/password"]);
    let replies = join_all((0..6).map(|_| reset(&app, &token, NEW))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 204).count(), 1, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.status == 204 || reply.json()["code"] == "invalid-link"), "{replies:?}");
    assert!(replies.iter().all(|reply| !reply.body.contains("access_token")), "it signs nobody in");

    app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
    app.refresh("acme", &session.refresh).await.problem(401, "session-revoked");
    app.try_sign_in("acme", OWNER, PASSWORD).await.problem(401, "invalid-credentials");
    assert_eq!(app.try_sign_in("acme", OWNER, NEW).await.status, 200);
    app.mail("password_changed", OWNER).await;
    assert_eq!(app.audited("password.forgot", "success").await, 1);
    assert_eq!(app.audited("password.reset", "success").await, 1);
}

#[tokio::test]
async fn asking_for_a_link_tells_nobody_who_has_an_account() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    app.all_mail_sent().await;
    let known = forgot(&app, OWNER).await;
    assert_eq!((known.status, known.body.as_str()), (202, ""));
    let names =
        |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>();
    for email in ["nobody@acme.test", "no address", "", "owner@globex.test"] {
        let unknown = forgot(&app, email).await;
        assert_eq!((unknown.status, unknown.body.as_str()), (202, ""), "{email}");
        assert_eq!(names(&unknown), names(&known), "{email}");
    }
    app.mail("password_reset", OWNER).await;
    assert_eq!(app.count("SELECT count(*) FROM platform.mail_outbox WHERE kind = 'password_reset'").await, 1);
}

#[tokio::test]
async fn nobody_is_buried_in_links() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    for _ in 0..9 {
        assert_eq!(forgot(&app, OWNER).await.status, 202);
    }
    app.nth_mail(5, "password_reset", OWNER).await;
    // The actor works on messages in turn: when this one's audit row is there, the others are done.
    app.all_mail_sent().await;
    assert_eq!(app.count("SELECT count(*) FROM auth.account_links WHERE purpose = 'password_reset'").await, 5);
}

#[tokio::test]
async fn an_old_link_and_a_suspended_users_link_do_not_work() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    forgot(&app, OWNER).await;
    let token = app.mail("password_reset", OWNER).await.token();
    app.db.as_admin("UPDATE auth.users SET state = 'suspended'").await;
    reset(&app, &token, NEW).await.problem(400, "invalid-link");
    app.db.as_admin("UPDATE auth.users SET state = 'active'").await;
    app.db.as_admin("UPDATE auth.account_links SET expires_at = now()").await;
    reset(&app, &token, NEW).await.problem(400, "invalid-link");
    // A link of one purpose is none of another.
    let verification = app.mail("email_verification", OWNER).await.token();
    reset(&app, &verification, NEW).await.problem(400, "invalid-link");
    verify(&app, &token).await.problem(400, "invalid-link");
    app.sign_in("acme", OWNER).await;
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let app = spawn_app(|_| {}).await;
    let (_, mine) = app.tenant_with_owner("acme").await;
    let other = app.sign_in("acme", OWNER).await;
    let change = async |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        app.post("acme", "/auth/password").token(&mine).json(&body).await
    };
    assert_eq!(change("wrong", NEW).await.pointers(), ["/current_password"]);
    assert_eq!(change(PASSWORD, "password1").await.pointers(), ["/new_password"]);
    assert_eq!(change(PASSWORD, NEW).await.status, 204);
    assert_eq!(app.get("acme", "/auth/me").token(&mine).await.status, 200);
    app.get("acme", "/auth/me").token(&other).await.problem(401, "invalid-token");
    assert_eq!(app.try_sign_in("acme", OWNER, NEW).await.status, 200);
    app.mail("password_changed", OWNER).await;
    assert_eq!(app.audited("password.change", "failure").await, 1);
    assert_eq!(app.audited("password.change", "success").await, 1);
}

/// Signs in, asks for another address and does something; the link to the new address has to be worthless then.
async fn ends_a_change_of_address<F: AsyncFnOnce(&App, &Session)>(end: F) {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    let mallory = app.sign_in("acme", OWNER).await;
    let wish = json!({ "email": "mallory@evil.test" });
    assert_eq!(app.post("acme", "/auth/email").token(&mallory).json(&wish).await.status, 202);
    let link = app.mail("email_verification", "mallory@evil.test").await.token();
    end(&app, &mallory).await;
    verify(&app, &link).await.problem(400, "invalid-link");
    assert_eq!(app.count("SELECT count(*) FROM auth.users WHERE email_norm LIKE 'mallory@%'").await, 0);
}

#[tokio::test]
async fn whoever_takes_their_account_back_keeps_their_address() {
    ends_a_change_of_address(async |app, _| {
        forgot(app, OWNER).await;
        let token = app.mail("password_reset", OWNER).await.token();
        assert_eq!(reset(app, &token, NEW).await.status, 204);
    })
    .await;
    ends_a_change_of_address(async |app, session| {
        let body = json!({ "current_password": PASSWORD, "new_password": NEW });
        assert_eq!(app.post("acme", "/auth/password").token(session).json(&body).await.status, 204);
    })
    .await;
    ends_a_change_of_address(async |app, session| {
        let reply = app.post("acme", "/auth/logout").token(session).json(&json!({ "all": true })).await;
        assert!(matches!(reply.status, 200 | 204), "{reply:?}");
    })
    .await;
    ends_a_change_of_address(async |app, session| {
        let me = app.get("acme", "/auth/me").token(session).await.json();
        let path = format!("/users/{}/sessions/end", me["id"].as_str().unwrap());
        let strong = app.stepped_up("acme", session).await;
        assert_eq!(app.post("acme", &path).token(&strong).await.status, 200);
    })
    .await;
    ends_a_change_of_address(async |app, session| {
        app.enrol_totp("acme", session).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_guessed_first_is_no_password() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    forgot(&app, OWNER).await;
    let token = app.mail("password_reset", OWNER).await.token();
    for (password, hint) in [
        ("Password1", "most used"),
        ("qwertyuiop", "most used"),
        ("acme ltd 1", "organisation"),
        ("owner@acme.test", "address"),
        ("1234567", "at least 8"),
        (&"x".repeat(129), "at most 128"),
    ] {
        let reply = reset(&app, &token, password).await;
        assert_eq!(reply.pointers(), ["/password"], "{password}");
        assert!(reply.json()["errors"][0]["detail"].as_str().unwrap().contains(hint), "{reply:?}");
    }
    assert_eq!(reset(&app, &token, NEW).await.status, 204, "the link was not used up");
}

#[tokio::test]
async fn the_first_owner_proves_their_address() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let verified = "SELECT count(*) FROM auth.users WHERE email_verified_at IS NOT NULL";
    assert_eq!(app.count(verified).await, 0);
    let resend = || app.post("acme", "/auth/email/verify/resend").token(&owner);
    assert_eq!(resend().await.status, 202);
    let token = app.nth_mail(2, "email_verification", OWNER).await.token();
    assert_eq!(verify(&app, &token).await.status, 204);
    assert_eq!(app.count(verified).await, 1);
    verify(&app, &token).await.problem(400, "invalid-link");
    assert_eq!(resend().await.status, 202);
    app.all_mail_sent().await;
    assert_eq!(app.mails("email_verification", OWNER).len(), 2, "there is no need any more");
}

#[tokio::test]
async fn a_new_address_counts_once_it_is_proven_and_the_old_one_is_told() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    forgot(&app, OWNER).await;
    let reset_link = app.mail("password_reset", OWNER).await.token();
    let change = |email: &str| app.post("acme", "/auth/email").token(&owner).json(&json!({ "email": email }));
    assert_eq!(change("nonsense").await.pointers(), ["/email"]);
    assert_eq!(change("new@acme.test").await.status, 202);
    app.mail("email_changed", OWNER).await;
    app.sign_in("acme", OWNER).await;
    let token = app.mail("email_verification", "new@acme.test").await.token();
    assert_eq!(verify(&app, &token).await.status, 204);
    app.sign_in("acme", "new@acme.test").await;
    app.try_sign_in("acme", OWNER, PASSWORD).await.problem(401, "invalid-credentials");
    app.nth_mail(2, "email_changed", OWNER).await;
    // Whoever reads the old address has no way in any more.
    reset(&app, &reset_link, NEW).await.problem(400, "invalid-link");
    assert_eq!(app.audited("email.change", "success").await, 1);
}

#[tokio::test]
async fn whether_an_address_is_taken_is_told_to_its_reader_only() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    let member = app.user("acme", "member").await;
    let change = |email: &str| app.post("acme", "/auth/email").token(&member).json(&json!({ "email": email }));
    let (taken, free) = (change(OWNER).await, change("free@acme.test").await);
    assert_eq!((taken.status, taken.body.as_str()), (free.status, free.body.as_str()));
    assert_eq!(change(OWNER).await.status, 202);
    // The first is the owner's own, from onboarding; the latest link is the one that works.
    let token = app.nth_mail(3, "email_verification", OWNER).await.token();
    verify(&app, &token).await.problem(409, "email-taken");
}

#[tokio::test]
async fn a_change_of_address_asks_for_a_fresh_sign_in() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.db.as_admin("UPDATE auth.sessions SET auth_time = now() - interval '301 seconds'").await;
    let stale = crate::helpers::Session::of(&app.refresh("acme", &owner.refresh).await);
    let body = json!({ "email": "new@acme.test" });
    let refused = app.post("acme", "/auth/email").token(&stale).json(&body).await;
    refused.problem(401, "insufficient_user_authentication");
    assert!(refused.header("www-authenticate").contains("max_age=\"300\""), "{refused:?}");
}

#[tokio::test]
async fn a_change_of_address_asks_for_the_second_factor_of_whoever_has_one() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    let body = json!({ "email": "new@acme.test" });
    let refused = app.post("acme", "/auth/email").token(&owner).json(&body).await;
    refused.problem(401, "insufficient_user_authentication");
    assert!(refused.header("www-authenticate").contains("acr_values=\"aal2\""), "{refused:?}");
    let strong = Session::of(&app.step_up("acme", &owner, &phone.code()).await);
    assert_eq!(app.post("acme", "/auth/email").token(&strong).json(&body).await.status, 202);
}
