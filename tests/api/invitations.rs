//! Invitations to a tenant, and to found one.

use businessos::config::OnboardingMode;
use futures_util::future::join_all;
use serde_json::json;

use crate::helpers::{App, PASSWORD, Reply, Session, onboard_body, spawn_app};

const ANN: &str = "ann@acme.test";

async fn invite(app: &App, session: &Session, email: &str, role: &str) -> Reply {
    app.post("acme", "/invitations").token(session).json(&json!({ "email": email, "role": role })).await
}

async fn accept(app: &App, token: &str) -> Reply {
    let body = json!({ "token": token, "password": PASSWORD, "name": "Ann" });
    app.post("acme", "/auth/invitations/accept").json(&body).await
}

#[tokio::test]
async fn an_invited_person_chooses_a_password_and_is_in() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let made = invite(&app, &owner, ANN, "member").await;
    assert_eq!((made.status, &made.json()["state"]), (201, &json!("open")), "{made:?}");
    let mail = app.mail("invitation", ANN).await;
    assert_eq!(mail.subject, "You are invited to acme Ltd");
    assert!(
        mail.link().starts_with(&format!("http://acme.localhost:{}/accept-invitation?token=", app.port)),
        "{mail:?}"
    );
    assert_eq!(app.count("SELECT count(*) FROM platform.mail_outbox WHERE detail::text LIKE '%token%'").await, 0);

    let accepted = accept(&app, &mail.token()).await;
    assert_eq!(accepted.status, 201, "{accepted:?}");
    assert_eq!(accepted.header("cache-control"), "no-store");
    let user = &accepted.json()["user"];
    assert_eq!((&user["email"], &user["role"], &user["name"]), (&json!(ANN), &json!("member"), &json!("Ann")));
    assert_eq!(user["email_verified"], true, "the mail was read");
    let token = accepted.json()["session"]["access_token"].as_str().unwrap().to_owned();
    assert_eq!(app.get("acme", "/auth/me").bearer(&token).await.json()["email"], ANN);
    app.sign_in("acme", ANN).await;
    for action in ["invitation.create", "invitation.accept"] {
        assert_eq!(app.audited(action, "success").await, 1, "{action}");
    }
    let taken = invite(&app, &owner, "ANN@acme.test", "member").await;
    taken.problem(409, "email-taken");
}

#[tokio::test]
async fn a_link_works_once_however_many_use_it_at_once() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    assert_eq!(invite(&app, &owner, ANN, "billing").await.status, 201);
    let token = app.mail("invitation", ANN).await.token();
    let replies = join_all((0..8).map(|_| accept(&app, &token))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1, "{replies:?}");
    for refused in replies.iter().filter(|reply| reply.status != 201) {
        refused.problem(400, "invalid-link");
    }
    assert_eq!(app.count("SELECT count(*) FROM auth.users WHERE role = 'billing'").await, 1);
}

#[tokio::test]
async fn links_that_are_withdrawn_replaced_too_old_forged_or_anothers_do_not_work() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.onboard("globex").await;
    let first = invite(&app, &owner, ANN, "member").await.json();
    let replaced = app.mail("invitation", ANN).await.token();
    let second = invite(&app, &owner, ANN, "member").await.json();
    let withdrawn = app.nth_mail(2, "invitation", ANN).await.token();
    assert_ne!(first["id"], second["id"]);
    accept(&app, &replaced).await.problem(400, "invalid-link");

    let path = format!("/invitations/{}", second["id"].as_str().unwrap());
    let elsewhere = json!({ "token": withdrawn, "password": PASSWORD });
    app.post("globex", "/auth/invitations/accept").json(&elsewhere).await.problem(400, "invalid-link");
    assert_eq!(app.delete("acme", &path).token(&owner).await.status, 204);
    app.delete("acme", &path).token(&owner).await.problem(404, "not-found");
    accept(&app, &withdrawn).await.problem(400, "invalid-link");

    let third = invite(&app, &owner, ANN, "member").await.json();
    let token = app.nth_mail(3, "invitation", ANN).await.token();
    app.db.as_admin("UPDATE auth.invitations SET expires_at = now() - interval '1 second'").await;
    accept(&app, &token).await.problem(400, "invalid-link");
    for made_up in ["", "x", &format!("{token}A"), &token[..token.len() - 1], &"A".repeat(10_000)] {
        accept(&app, made_up).await.problem(400, "invalid-link");
    }
    // Mailed again, it works again.
    let resend = format!("/invitations/{}/resend", third["id"].as_str().unwrap());
    assert_eq!(app.post("acme", &resend).token(&owner).await.status, 202);
    app.nth_mail(4, "invitation", ANN).await;
    assert_eq!(accept(&app, &token).await.status, 201);
    let list = app.get("acme", "/invitations").token(&owner).await.json();
    let states: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["state"].clone()).collect();
    assert_eq!(states, [json!("revoked"), json!("revoked"), json!("accepted")]);
    let open = app.get("acme", "/invitations?state=open").token(&owner).await.json();
    assert_eq!(open["items"], json!([]));
}

#[tokio::test]
async fn admins_invite_no_owners_and_powerful_roles_ask_for_a_second_factor() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let admin = app.user("acme", "admin").await;
    let refused = invite(&app, &owner, ANN, "admin").await;
    refused.problem(401, "insufficient_user_authentication");
    let admin = app.stepped_up("acme", &admin).await;
    invite(&app, &admin, ANN, "owner").await.problem(403, "forbidden");
    assert_eq!(invite(&app, &admin, ANN, "admin").await.status, 201);
    let owner = app.stepped_up("acme", &owner).await;
    assert_eq!(invite(&app, &owner, "boss@acme.test", "owner").await.status, 201);
    assert_eq!(invite(&app, &owner, ANN, "operator").await.pointers(), ["/role"]);
    assert_eq!(invite(&app, &owner, "no address", "member").await.pointers(), ["/email"]);
    let member = app.user("acme", "member").await;
    invite(&app, &member, ANN, "member").await.problem(403, "forbidden");
}

#[tokio::test]
async fn onboarding_can_be_for_the_invited() {
    let app = spawn_app(|settings| settings.onboarding.mode = OnboardingMode::Invite).await;
    let onboard = async |token: Option<&str>, slug: &str| {
        let mut body = onboard_body(slug);
        body["invitation_token"] = token.into();
        app.post("localhost", "/tenants/onboard").json(&body).await
    };
    onboard(None, "acme").await.problem(401, "authentication-required");
    onboard(Some("made up"), "acme").await.problem(400, "invalid-link");
    let operator = app.operator().await;
    let invite = |email: &str| {
        let body = json!({ "email": email });
        app.post("platform", "/operator/invitations").token(&operator).json(&body)
    };
    assert_eq!(invite("owner@acme.test").await.status, 201);
    let mail = app.mail("onboarding_invitation", "owner@acme.test").await;
    assert!(mail.link().contains("/sign-up?token="), "{mail:?}");
    // It makes no user of the platform's tenant.
    let user = json!({ "token": mail.token(), "password": PASSWORD });
    app.post("platform", "/auth/invitations/accept").json(&user).await.problem(400, "invalid-link");
    // A name that is taken does not use it up.
    onboard(Some(&mail.token()), "www").await.problem(422, "validation-failed");
    assert_eq!(invite("other@globex.test").await.status, 201);
    let others = app.mail("onboarding_invitation", "other@globex.test").await;
    assert_eq!(onboard(Some(&others.token()), "globex").await.status, 201);
    onboard(Some(&mail.token()), "globex").await.problem(409, "subdomain-taken");
    let made = onboard(Some(&mail.token()), "acme").await;
    assert_eq!(made.status, 201, "{made:?}");
    onboard(Some(&mail.token()), "more").await.problem(400, "invalid-link");
    // The invitation proves the address that it was sent to, and no other.
    let verified = "SELECT count(*) FROM auth.users WHERE role = 'owner' AND email_verified_at IS NOT NULL";
    assert_eq!(app.count(verified).await, 1);
    assert!(app.mails("email_verification", "owner@acme.test").is_empty());
    app.mail("email_verification", "owner@globex.test").await;
    assert_eq!(app.audited("onboarding.accept", "success").await, 3);
}

#[tokio::test]
async fn who_loses_rights_leaves_no_invitation_behind() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    let admin = app.user("acme", "admin").await;
    let id = app.get("acme", "/auth/me").token(&admin).await.json()["id"].as_str().unwrap().to_owned();
    let admin = app.stepped_up("acme", &admin).await;
    let invitation = invite(&app, &admin, ANN, "admin").await.json()["id"].as_str().unwrap().to_owned();
    let demote = app.patch("acme", &format!("/users/{id}")).token(&owner).json(&json!({ "role": "member" })).await;
    assert_eq!(demote.status, 200, "{demote:?}");
    let open = format!("SELECT count(*) FROM auth.invitations WHERE id = '{invitation}' AND revoked_at IS NULL");
    assert_eq!(app.count(&open).await, 0);
}

#[tokio::test]
async fn nobody_is_mailed_without_end() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let id = invite(&app, &owner, ANN, "member").await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/invitations/{id}/resend");
    for _ in 0..4 {
        assert_eq!(app.post("acme", &path).token(&owner).await.status, 202);
    }
    let refused = app.post("acme", &path).token(&owner).await;
    refused.problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "3600");
    assert_eq!(invite(&app, &owner, "bob@acme.test", "member").await.status, 201, "others are");
}
