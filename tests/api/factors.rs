//! Authenticator apps and recovery codes: enrolling, signing in, removing.

use futures_util::future::join_all;
use serde_json::json;

use crate::helpers::{App, Session, spawn_app};
use crate::second_factor::{Authenticator, claims};

const OWNER: &str = "owner@acme.test";

async fn audited(app: &App, action: &str, outcome: &str) -> i64 {
    app.count(&format!("SELECT count(*) FROM platform.audit_log WHERE action = '{action}' AND outcome = '{outcome}'"))
        .await
}

async fn mails(app: &App, change: &str) -> i64 {
    app.count(&format!(
        "SELECT count(*) FROM platform.mail_outbox
         WHERE kind = 'factor_changed' AND recipient = '{OWNER}' AND detail->>'change' = '{change}'"
    ))
    .await
}

#[tokio::test]
async fn an_enrolment_shows_the_secret_in_three_forms_and_changes_nothing_yet() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let reply = app.post("acme", "/auth/mfa/totp").token(&owner).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"), "{reply:?}");
    let body = reply.json();
    let uri = body["otpauth_uri"].as_str().unwrap();
    let secret = body["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 32, "160 bits in base32");
    assert!(uri.starts_with("otpauth://totp/acme%20Ltd:owner") && uri.contains(&format!("secret={secret}")), "{uri}");
    assert!(body["qr_svg"].as_str().unwrap().starts_with("<svg "), "{body}");
    // Not confirmed: the password alone still signs in, and nobody is told of a factor.
    app.sign_in("acme", OWNER).await;
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.json()["factors"], json!([]));
    assert_eq!(
        app.count("SELECT count(*) FROM auth.totp_factors WHERE octet_length(secret_enc) = 1 + 16 + 20 + 16").await,
        1
    );
    // A new enrolment takes the first one's place.
    let first = Authenticator::new(&body);
    let again = Authenticator::new(&app.post("acme", "/auth/mfa/totp").token(&owner).await.json());
    let confirm =
        |code: String| app.post("acme", "/auth/mfa/totp/confirm").token(&owner).json(&json!({ "code": code }));
    confirm(first.code()).await.problem(401, "invalid-mfa-code");
    assert_eq!(confirm(again.code()).await.status, 200);
}

#[tokio::test]
async fn a_confirmed_app_is_asked_for_at_every_sign_in() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, codes) = app.enrol_totp("acme", &owner).await;
    assert_eq!(codes.len(), 10);
    assert!(codes.iter().all(|code| code.len() == 29 && code.split('-').all(|group| group.len() == 4)), "{codes:?}");
    let me = app.get("acme", "/auth/me").token(&owner).await.json();
    assert_eq!((&me["factors"], &me["mfa_required"]), (&json!(["totp", "recovery_code"]), &json!(false)));
    assert_eq!(me["acr"], "aal1", "confirming makes no token stronger");

    let (mfa_token, challenge) = app.challenge("acme", OWNER).await;
    assert_eq!(
        challenge,
        json!({ "mfa_required": true, "mfa_token": mfa_token, "factors": ["totp", "recovery_code"] })
    );
    let reply = app.verify("acme", &json!({ "mfa_token": mfa_token, "code": phone.code() })).await;
    let session = Session::of(&reply);
    assert_eq!((reply.header("cache-control"), &reply.json()["token_type"]), ("no-store", &json!("Bearer")));
    let said = claims(&session);
    assert_eq!((&said["acr"], &said["amr"]), (&json!("aal2"), &json!(["pwd", "otp"])));
    Session::of(&app.refresh("acme", &session.refresh).await);
    // The sign-in is over: its token is worth nothing any more.
    app.let_steps_pass().await;
    app.verify("acme", &json!({ "mfa_token": mfa_token, "code": phone.code() }))
        .await
        .problem(401, "invalid-mfa-token");
    assert_eq!(audited(&app, "factor.confirm", "success").await, 1);
    assert_eq!(audited(&app, "mfa.verify", "success").await, 1);
    assert_eq!(mails(&app, "added").await, 1);
}

#[tokio::test]
async fn a_code_works_once() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    let code = phone.code();
    let (first, _) = app.challenge("acme", OWNER).await;
    let (second, _) = app.challenge("acme", OWNER).await;
    Session::of(&app.verify("acme", &json!({ "mfa_token": first, "code": code })).await);
    app.verify("acme", &json!({ "mfa_token": second, "code": code })).await.problem(401, "invalid-mfa-code");
    app.step_up("acme", &owner, &code).await.problem(401, "invalid-mfa-code");
    assert_eq!(audited(&app, "mfa.verify", "failure").await, 1);
    assert_eq!(audited(&app, "session.step_up", "failure").await, 1);
}

#[tokio::test]
async fn of_many_uses_of_one_code_at_once_one_succeeds() {
    let app = spawn_app(|settings| settings.database.acquire_timeout_ms = 20_000).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, codes) = app.enrol_totp("acme", &owner).await;
    for code in [phone.code(), codes[0].clone()] {
        let mut bodies = Vec::new();
        for _ in 0..4 {
            let (mfa_token, _) = app.challenge("acme", OWNER).await;
            bodies.push(json!({ "mfa_token": mfa_token, "code": code }));
        }
        let replies = join_all(bodies.iter().map(|body| app.verify("acme", body))).await;
        let n_signed_in = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(n_signed_in, 1, "{replies:?}");
        app.let_steps_pass().await;
        app.db.as_admin("DELETE FROM auth.code_attempts").await;
    }
    // One sign-in, met by two good codes at once, begins one session.
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    let bodies = [&codes[1], &codes[2]].map(|code| json!({ "mfa_token": mfa_token, "code": code }));
    let replies = join_all(bodies.iter().map(|body| app.verify("acme", body))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{replies:?}");
}

#[tokio::test]
async fn a_recovery_code_signs_in_once() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (_, codes) = app.enrol_totp("acme", &owner).await;
    let typed = codes[3].to_lowercase().replace('-', " ");
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    let session = Session::of(&app.verify("acme", &json!({ "mfa_token": mfa_token, "code": typed })).await);
    assert_eq!(claims(&session)["acr"], "aal2");
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    app.verify("acme", &json!({ "mfa_token": mfa_token, "code": codes[3] })).await.problem(401, "invalid-mfa-code");
    assert_eq!(audited(&app, "recovery_code.use", "success").await, 1);
    // A new set ends the old one.
    let reply = app.post("acme", "/auth/mfa/recovery-codes").token(&session).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    app.verify("acme", &json!({ "mfa_token": mfa_token, "code": codes[4] })).await.problem(401, "invalid-mfa-code");
    let renewed = reply.json()["recovery_codes"][0].clone();
    Session::of(&app.verify("acme", &json!({ "mfa_token": mfa_token, "code": renewed })).await);
    let stored = "SELECT count(*) FROM auth.recovery_codes WHERE octet_length(code_hash) = 32";
    assert_eq!(app.count(stored).await, 10);
}

#[tokio::test]
async fn a_sign_in_dies_after_five_wrong_codes() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    for code in
        [phone.wrong_code(), "x".into(), String::new(), "0000-0000-0000-0000-0000-0000".into(), "１２３４５６".into()]
    {
        let reply = app.verify("acme", &json!({ "mfa_token": mfa_token, "code": code })).await;
        reply.problem(401, "invalid-mfa-code");
    }
    app.verify("acme", &json!({ "mfa_token": mfa_token, "code": phone.code() }))
        .await
        .problem(401, "invalid-mfa-token");
    // The password begins another.
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    Session::of(&app.verify("acme", &json!({ "mfa_token": mfa_token, "code": phone.code() })).await);
}

#[tokio::test]
async fn ten_wrong_codes_make_the_eleventh_wait_and_nobody_else() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    for n in 0..10 {
        let (mfa_token, _) = app.challenge("acme", OWNER).await;
        let reply = app.verify("acme", &json!({ "mfa_token": mfa_token, "code": phone.wrong_code() })).await;
        assert_eq!(reply.status, 401, "{n}: {reply:?}");
    }
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    let body = json!({ "mfa_token": mfa_token, "code": phone.code() });
    let refused = app.verify("acme", &body).await;
    refused.problem(429, "rate-limited");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    // Whoever is signed in still steps up: the counters are two.
    Session::of(&app.step_up("acme", &owner, &phone.code()).await);
    // Later.
    app.let_steps_pass().await;
    app.db.as_admin("UPDATE auth.code_attempts SET window_began = window_began - interval '5 minutes'").await;
    Session::of(&app.verify("acme", &body).await);
}

#[tokio::test]
async fn whoever_guesses_codes_waits_longer_each_time_and_the_user_is_told() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    let guess = async |code: String| {
        let (mfa_token, _) = app.challenge("acme", OWNER).await;
        app.verify("acme", &json!({ "mfa_token": mfa_token, "code": code })).await
    };
    let pass = async |seconds: u64| {
        let sql = format!("UPDATE auth.code_attempts SET window_began = window_began - interval '{seconds} seconds'");
        app.db.as_admin(&sql).await;
    };
    let fill = async || {
        for _ in 0..10 {
            guess(phone.wrong_code()).await.problem(401, "invalid-mfa-code");
        }
    };
    for (n, expected) in [300_u64, 600, 1_200].into_iter().enumerate() {
        fill().await;
        let refused = guess(phone.wrong_code()).await;
        refused.problem(429, "rate-limited");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((expected - 60..=expected).contains(&wait), "{n}: {wait}");
        app.nth_mail(n + 1, "code_guessing", OWNER).await;
        pass(expected).await;
    }
    // A right code ends it.
    app.let_steps_pass().await;
    Session::of(&guess(phone.code()).await);
    fill().await;
    let wait: u64 = guess(phone.wrong_code()).await.header("retry-after").parse().unwrap();
    assert!(wait <= 300, "{wait}");
}

#[tokio::test]
async fn a_waiting_sign_in_belongs_to_its_tenant_and_time() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (_, globex) = app.tenant_with_owner("globex").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    app.enrol_totp("globex", &globex).await;
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    let body = json!({ "mfa_token": mfa_token, "code": phone.code() });
    app.verify("globex", &body).await.problem(401, "invalid-mfa-token");
    for forged in ["", "nonsense", &mfa_token[1..], &format!("{mfa_token}A"), &owner.access, &owner.refresh] {
        let reply = app.verify("acme", &json!({ "mfa_token": forged, "code": phone.code() })).await;
        reply.problem(401, "invalid-mfa-token");
    }
    app.db.as_admin("UPDATE auth.mfa_challenges SET expires_at = now() - interval '1 second'").await;
    app.verify("acme", &body).await.problem(401, "invalid-mfa-token");
    // Switched off between password and code.
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    app.db.as_admin("UPDATE auth.users SET state = 'suspended'").await;
    let body = json!({ "mfa_token": mfa_token, "code": phone.code() });
    app.verify("acme", &body).await.problem(401, "invalid-mfa-token");
}

#[tokio::test]
async fn a_wrong_password_says_nothing_of_factors() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.enrol_totp("acme", &owner).await;
    let wrong = app.try_sign_in("acme", OWNER, "wrong password").await;
    wrong.problem(401, "invalid-credentials");
    let unknown = app.try_sign_in("acme", "nobody@acme.test", "wrong password").await;
    assert_eq!(wrong.anonymous(), unknown.anonymous());
    assert_eq!(app.count("SELECT count(*) FROM auth.mfa_challenges").await, 0);
}

#[tokio::test]
async fn removing_the_app_needs_a_step_up_and_takes_the_recovery_codes() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (phone, _) = app.enrol_totp("acme", &owner).await;
    for (method, path) in
        [("DELETE", "/auth/mfa/totp"), ("POST", "/auth/mfa/recovery-codes"), ("POST", "/auth/mfa/totp")]
    {
        let refused = app.request(method.parse().unwrap(), "acme", path).token(&owner).await;
        refused.problem(401, "insufficient_user_authentication");
        assert!(refused.header("www-authenticate").contains("acr_values=\"aal2\", max_age=\"300\""), "{refused:?}");
    }
    let strong = Session::of(&app.step_up("acme", &owner, &phone.code()).await);
    let (elsewhere, _) = app.challenge("acme", OWNER).await;
    app.let_steps_pass().await;
    let other = Session::of(&app.verify("acme", &json!({ "mfa_token": elsewhere, "code": phone.code() })).await);
    let (waiting, _) = app.challenge("acme", OWNER).await;
    assert_eq!(app.delete("acme", "/auth/mfa/totp").token(&strong).await.status, 204);
    // The others end, and so do sign-ins under way; this session goes on.
    app.get("acme", "/auth/me").token(&other).await.problem(401, "invalid-token");
    app.verify("acme", &json!({ "mfa_token": waiting, "code": phone.code() })).await.problem(401, "invalid-mfa-token");
    assert_eq!(app.get("acme", "/auth/me").token(&strong).await.json()["factors"], json!([]));
    assert_eq!(app.count("SELECT count(*) FROM auth.recovery_codes").await, 0);
    assert_eq!((mails(&app, "removed").await, audited(&app, "factor.remove", "success").await), (1, 1));
    app.sign_in("acme", OWNER).await;
    app.delete("acme", "/auth/mfa/totp").token(&strong).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_new_phone_takes_the_old_ones_place() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (old, old_codes) = app.enrol_totp("acme", &owner).await;
    let strong = Session::of(&app.step_up("acme", &owner, &old.code()).await);
    app.let_steps_pass().await;
    let (new, _) = app.enrol_totp("acme", &strong).await;
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    for code in [old.code(), old_codes[0].clone()] {
        let reply = app.verify("acme", &json!({ "mfa_token": mfa_token, "code": code })).await;
        reply.problem(401, "invalid-mfa-code");
    }
    Session::of(&app.verify("acme", &json!({ "mfa_token": mfa_token, "code": new.code() })).await);
}

#[tokio::test]
async fn a_first_factor_needs_a_fresh_sign_in() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.db.as_admin("UPDATE auth.sessions SET auth_time = auth_time - interval '301 seconds'").await;
    let stale = Session::of(&app.refresh("acme", &owner.refresh).await);
    let refused = app.post("acme", "/auth/mfa/totp").token(&stale).await;
    refused.problem(401, "insufficient_user_authentication");
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("max_age=\"300\"") && !challenge.contains("acr_values"), "{challenge}");
}

#[tokio::test]
async fn an_enrolment_that_nobody_confirms_runs_out() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let phone = Authenticator::new(&app.post("acme", "/auth/mfa/totp").token(&owner).await.json());
    let confirm =
        |code: String| app.post("acme", "/auth/mfa/totp/confirm").token(&owner).json(&json!({ "code": code }));
    app.db.as_admin("UPDATE auth.totp_factors SET created_at = created_at - interval '15 minutes'").await;
    confirm(phone.code()).await.problem(404, "not-found");
    assert_eq!(app.count("SELECT count(*) FROM auth.totp_factors WHERE state = 'active'").await, 0);
}

#[tokio::test]
async fn a_body_says_what_the_code_is_for() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let pointers = async |body| app.post("acme", "/auth/mfa/verify").token(&owner).json(&body).await.pointers();
    assert_eq!(pointers(json!({ "code": "123456" })).await, ["/mfa_token"]);
    assert_eq!(pointers(json!({ "code": "123456", "mfa_token": "x", "purpose": "step_up" })).await, ["/purpose"]);
    assert_eq!(pointers(json!({ "code": "123456", "purpose": "tea" })).await, ["/purpose"]);
    assert_eq!(pointers(json!({ "code": 123_456, "purpose": "step_up" })).await, ["/code"]);
    let anonymous = app.verify("acme", &json!({ "code": "123456", "purpose": "step_up" })).await;
    anonymous.problem(401, "authentication-required");
}
