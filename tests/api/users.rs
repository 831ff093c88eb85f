//! Users as admins manage them.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::helpers::{App, PASSWORD, Session, spawn_app, until};

async fn id_of(app: &App, slug: &str, session: &Session) -> String {
    app.get(slug, "/auth/me").token(session).await.json()["id"].as_str().unwrap().to_owned()
}

async fn owner_and_steps(app: &App) -> (Session, String) {
    let (_, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    let id = id_of(app, "acme", &owner).await;
    (owner, id)
}

fn change(app: &App, session: &Session, id: &str, body: Value) -> crate::helpers::Request {
    app.patch("acme", &format!("/users/{id}")).token(session).json(&body)
}

#[tokio::test]
async fn a_created_user_chooses_their_own_password() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let body = json!({ "email": "ann@acme.test", "role": "member", "name": "Ann" });
    let made = app.post("acme", "/users").token(&owner).json(&body).await;
    assert_eq!((made.status, &made.json()["has_password"]), (201, &json!(false)), "{made:?}");
    app.try_sign_in("acme", "ann@acme.test", PASSWORD).await.problem(401, "invalid-credentials");
    let mut with_password = body.clone();
    with_password["password"] = PASSWORD.into();
    assert_eq!(app.post("acme", "/users").token(&owner).json(&with_password).await.pointers(), ["/password"]);
    app.post("acme", "/users").token(&owner).json(&body).await.problem(409, "email-taken");

    let token = app.mail("invitation", "ann@acme.test").await.token();
    let accept = json!({ "token": token, "password": PASSWORD });
    let accepted = app.post("acme", "/auth/invitations/accept").json(&accept).await;
    assert_eq!((accepted.status, &accepted.json()["user"]["id"]), (201, &made.json()["id"]), "{accepted:?}");
    app.sign_in("acme", "ann@acme.test").await;
}

#[tokio::test]
async fn users_are_listed_in_pages_and_by_what_they_are() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.tenant_with_owner("globex").await;
    app.user("acme", "admin").await;
    app.user("acme", "member").await;
    let get = async |query: &str| app.get("acme", &format!("/users{query}")).token(&owner).await;
    let emails = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap().to_owned()).collect()
    };
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = get(&format!("?limit=1{next}")).await.json();
        seen.extend(emails(&page));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("&after={after}");
    }
    seen.sort_unstable();
    assert_eq!(seen, ["admin@acme.test", "member@acme.test", "owner@acme.test"]);
    assert_eq!(emails(&get("?role=admin").await.json()), ["admin@acme.test"]);
    assert_eq!(emails(&get("?email=MEMBER@").await.json()), ["member@acme.test"]);
    assert_eq!(emails(&get("?state=suspended").await.json()), Vec::<String>::new());
    for (query, pointer) in
        [("?limit=0", "/limit"), ("?role=king", "/role"), ("?state=x", "/state"), ("?after=x", "/after")]
    {
        assert_eq!(get(query).await.pointers(), [pointer], "{query}");
    }
}

#[tokio::test]
async fn a_suspension_ends_sessions_at_once_and_a_resumed_user_signs_in_anew() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let member = app.user("acme", "member").await;
    let id = id_of(&app, "acme", &member).await;
    let suspended = change(&app, &owner, &id, json!({ "state": "suspended" })).await;
    assert_eq!((suspended.status, &suspended.json()["state"]), (200, &json!("suspended")), "{suspended:?}");
    app.get("acme", "/auth/me").token(&member).await.problem(401, "invalid-token");
    app.refresh("acme", &member.refresh).await.problem(401, "session-revoked");
    app.try_sign_in("acme", "member@acme.test", PASSWORD).await.problem(401, "invalid-credentials");
    assert_eq!(change(&app, &owner, &id, json!({ "state": "active", "name": "M" })).await.status, 200);
    app.get("acme", "/auth/me").token(&member).await.problem(401, "invalid-token");
    app.sign_in("acme", "member@acme.test").await;
    for action in ["user.suspend", "user.resume"] {
        assert_eq!(app.audited(action, "success").await, 1, "{action}");
    }
    let refused = "SELECT count(*) FROM platform.audit_log
                   WHERE action = 'request.deny' AND target_id = '/auth/refresh' AND code = 'session-revoked'";
    until("the refused refresh is written", async || app.count(refused).await == 1).await;
}

#[tokio::test]
async fn a_change_of_role_asks_for_a_second_factor_and_counts_at_once() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let admin = app.user("acme", "admin").await;
    let id = id_of(&app, "acme", &admin).await;
    let refused = change(&app, &owner, &id, json!({ "role": "member" })).await;
    refused.problem(401, "insufficient_user_authentication");
    assert!(refused.header("www-authenticate").contains("acr_values=\"aal2\""), "{refused:?}");
    let owner = app.stepped_up("acme", &owner).await;
    assert_eq!(change(&app, &owner, &id, json!({ "role": "member" })).await.json()["role"], "member");
    app.get("acme", "/users").token(&admin).await.problem(401, "invalid-token");
    let member = app.sign_in("acme", "admin@acme.test").await;
    app.get("acme", "/users").token(&member).await.problem(403, "forbidden");
    assert_eq!(change(&app, &owner, &id, json!({ "role": "operator" })).await.pointers(), ["/role"]);
}

#[tokio::test]
async fn admins_do_not_touch_owners_nor_make_any() {
    let app = spawn_app(|_| {}).await;
    let (_, owner_id) = owner_and_steps(&app).await;
    let admin = app.user("acme", "admin").await;
    let admin = app.stepped_up("acme", &admin).await;
    let member = app.user("acme", "member").await;
    let member_id = id_of(&app, "acme", &member).await;
    for body in [json!({ "role": "member" }), json!({ "state": "suspended" }), json!({ "name": "X" })] {
        change(&app, &admin, &owner_id, body).await.problem(403, "forbidden");
    }
    change(&app, &admin, &member_id, json!({ "role": "owner" })).await.problem(403, "forbidden");
    app.delete("acme", &format!("/users/{owner_id}")).token(&admin).await.problem(403, "forbidden");
    let end = format!("/users/{owner_id}/sessions/end");
    app.post("acme", &end).token(&admin).await.problem(403, "forbidden");
    let ended = app.post("acme", &format!("/users/{member_id}/sessions/end")).token(&admin).await;
    assert_eq!((ended.status, ended.json()), (200, json!({ "n_ended": 1 })));
    app.get("acme", "/auth/me").token(&member).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn the_last_owner_stays() {
    let app = spawn_app(|_| {}).await;
    let (owner, id) = owner_and_steps(&app).await;
    change(&app, &owner, &id, json!({ "role": "admin" })).await.problem(409, "last-owner");
    change(&app, &owner, &id, json!({ "state": "suspended" })).await.problem(409, "last-owner");
    app.delete("acme", &format!("/users/{id}")).token(&owner).await.problem(409, "last-owner");
    // Somebody who was made an owner and has never been here is nobody to rely on.
    let body = json!({ "email": "second@acme.test", "role": "owner" });
    assert_eq!(app.post("acme", "/users").token(&owner).json(&body).await.status, 201);
    change(&app, &owner, &id, json!({ "role": "admin" })).await.problem(409, "last-owner");
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.status, 200);
}

#[tokio::test]
async fn of_two_owners_who_demote_each_other_at_once_one_stays() {
    let app = spawn_app(|settings| settings.server.workers = 2).await;
    for slug in ["one", "two", "three", "four", "five"] {
        let (_, first) = app.tenant_with_owner(slug).await;
        app.user(slug, "admin").await;
        app.db.as_admin("UPDATE auth.users SET role = 'owner' WHERE role = 'admin'").await;
        let second = app.sign_in(slug, &format!("admin@{slug}.test")).await;
        let (first, second) = (app.stepped_up(slug, &first).await, app.stepped_up(slug, &second).await);
        let demote = async |by: &Session, id: String| {
            app.patch(slug, &format!("/users/{id}")).token(by).json(&json!({ "role": "member" })).await
        };
        let (first_id, second_id) = (id_of(&app, slug, &first).await, id_of(&app, slug, &second).await);
        let replies = join_all([demote(&first, second_id), demote(&second, first_id)]).await;
        let owners = format!("SELECT count(*) FROM auth.users WHERE role = 'owner' AND email LIKE '%@{slug}.test'");
        assert_eq!(app.count(&owners).await, 1, "{slug}: {replies:?}");
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{slug}: {replies:?}");
    }
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_what_they_did_is_not() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let member = app.user("acme", "member").await;
    let id = id_of(&app, "acme", &member).await;
    let path = format!("/users/{id}");
    assert_eq!(app.delete("acme", &path).token(&owner).await.status, 204);
    app.get("acme", &path).token(&owner).await.problem(404, "not-found");
    app.delete("acme", &path).token(&owner).await.problem(404, "not-found");
    app.get("acme", "/auth/validate").token(&member).await.problem(401, "invalid-token");
    app.refresh("acme", &member.refresh).await.problem(401, "session-revoked");
    app.try_sign_in("acme", "member@acme.test", PASSWORD).await.problem(401, "invalid-credentials");
    assert_eq!(app.count("SELECT count(*) FROM auth.users WHERE email LIKE 'member@%' OR password_hash IS NULL AND state <> 'deleted'").await, 0);
    let theirs = format!("SELECT count(*) FROM platform.audit_log WHERE actor_id = '{id}'");
    assert!(app.count(&theirs).await >= 1);
    // The address is free.
    app.user("acme", "member").await;
}

#[tokio::test]
async fn a_deleted_users_factors_go_with_them_and_the_tenants_api_keys_stay() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let body = json!({ "email": "ann@acme.test", "role": "admin" });
    let strong = app.stepped_up("acme", &owner).await;
    assert_eq!(app.post("acme", "/invitations").token(&strong).json(&body).await.status, 201);
    let token = app.mail("invitation", "ann@acme.test").await.token();
    let accept = json!({ "token": token, "password": PASSWORD });
    assert_eq!(app.post("acme", "/auth/invitations/accept").json(&accept).await.status, 201);
    let ann = app.sign_in("acme", "ann@acme.test").await;
    let id = id_of(&app, "acme", &ann).await;
    let (authenticator, _) = app.enrol_totp("acme", &ann).await;
    let ann = Session::of(&app.step_up("acme", &ann, &authenticator.code()).await);
    let (_, enrolled) = app.enrol_passkey(&ann).await;
    assert_eq!(enrolled.status, 200, "{enrolled:?}");
    let (_, key) = crate::api_keys::make_key("acme", &app, &ann, &["gateway:*"]).await;
    // What waits: an enrolment, a sign-in with a wrong code, a link.
    assert_eq!(app.post("acme", "/auth/mfa/webauthn/register").token(&ann).await.status, 200);
    let (mfa_token, _) = app.challenge("acme", "ann@acme.test").await;
    let wrong = json!({ "mfa_token": mfa_token, "code": authenticator.wrong_code() });
    app.verify("acme", &wrong).await.problem(401, "invalid-mfa-code");
    app.post("acme", "/auth/password/forgot").json(&json!({ "email": "ann@acme.test" })).await;
    app.mail("password_reset", "ann@acme.test").await;
    let tables = [
        "totp_factors",
        "recovery_codes",
        "passkeys",
        "passkey_ceremonies",
        "mfa_challenges",
        "code_attempts",
        "known_networks",
        "account_links",
    ];
    let n_left =
        async |table: &str| app.count(&format!("SELECT count(*) FROM auth.{table} WHERE user_id = '{id}'")).await;
    for table in tables {
        assert!(n_left(table).await > 0, "{table} has nothing to delete");
    }
    assert_eq!(app.delete("acme", &format!("/users/{id}")).token(&strong).await.status, 204);
    for table in tables {
        assert_eq!(n_left(table).await, 0, "{table}");
    }
    let named = "SELECT count(*) FROM auth.invitations WHERE email LIKE 'ann@%' OR email_norm LIKE 'ann@%'";
    assert_eq!(app.count(named).await, 0);
    app.verify("acme", &json!({ "mfa_token": mfa_token, "code": authenticator.code() }))
        .await
        .problem(401, "invalid-mfa-token");
    assert_eq!(app.get("acme", "/auth/validate").bearer(&key).await.status, 200);
}

#[tokio::test]
async fn who_can_harm_the_tenant_is_touched_by_nobody_with_a_token_alone() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let admin = id_of(&app, "acme", &app.user("acme", "admin").await).await;
    let member = id_of(&app, "acme", &app.user("acme", "member").await).await;
    change(&app, &owner, &admin, json!({ "state": "suspended" }))
        .await
        .problem(401, "insufficient_user_authentication");
    let end = app.post("acme", &format!("/users/{admin}/sessions/end")).token(&owner).await;
    end.problem(401, "insufficient_user_authentication");
    let path = format!("/users/{admin}");
    app.delete("acme", &path).token(&owner).await.problem(401, "insufficient_user_authentication");
    assert_eq!(app.delete("acme", &format!("/users/{member}")).token(&owner).await.status, 204);
    let owner = app.stepped_up("acme", &owner).await;
    assert_eq!(app.delete("acme", &path).token(&owner).await.status, 204);
}

#[tokio::test]
async fn an_admin_helps_whoever_has_lost_their_phone() {
    let app = spawn_app(|_| {}).await;
    let (owner, _) = owner_and_steps(&app).await;
    let member = app.user("acme", "member").await;
    let id = id_of(&app, "acme", &member).await;
    app.enrol_totp("acme", &member).await;
    let sign_in = async || app.try_sign_in("acme", "member@acme.test", PASSWORD).await.json();
    assert_eq!(sign_in().await["mfa_required"], true);
    let path = format!("/users/{id}/factors");
    assert_eq!(app.delete("acme", &path).token(&owner).await.status, 204);
    assert!(sign_in().await["access_token"].is_string(), "the password does again");
    app.get("acme", "/auth/me").token(&member).await.problem(401, "invalid-token");
    let told =
        "SELECT count(*) FROM platform.mail_outbox WHERE kind = 'factor_changed' AND recipient = 'member@acme.test'";
    assert_eq!(app.count(told).await, 2);
    app.delete("acme", &format!("/users/{}/factors", uuid::Uuid::new_v4()))
        .token(&owner)
        .await
        .problem(404, "not-found");
}
