//! Passkeys: as second factor, for step-up, and in place of a password.

use serde_json::{Value, json};

use crate::helpers::{App, Reply, Session, spawn_app};
use crate::second_factor::claims;
use crate::soft_key::SoftKey;

const OWNER: &str = "owner@acme.test";

impl App {
    /// Where a tenant's pages are.
    pub fn origin(&self, slug: &str) -> String {
        format!("http://{slug}.localhost:{}", self.port)
    }

    pub async fn enrol_passkey(&self, session: &Session) -> (SoftKey, Reply) {
        let begun = self.post("acme", "/auth/mfa/webauthn/register").token(session).await;
        assert_eq!(begun.status, 200, "{begun:?}");
        let begun = begun.json();
        assert_eq!(begun["publicKey"]["rp"]["id"], "acme.localhost", "{begun}");
        assert_eq!(begun["publicKey"]["authenticatorSelection"]["userVerification"], "required", "{begun}");
        let mut key = SoftKey::new(&self.origin("acme"));
        let body = json!({
            "ceremony_id": begun["ceremony_id"], "name": "Phone", "credential": key.create(&begun["publicKey"]),
        });
        let reply = self.post("acme", "/auth/mfa/webauthn/register/finish").token(session).json(&body).await;
        (key, reply)
    }

    async fn begin_login(&self, host: &str) -> Value {
        let reply = self.post(host, "/auth/webauthn/login").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    async fn finish_login(&self, host: &str, ceremony: &Value, credential: Value) -> Reply {
        let body = json!({ "ceremony_id": ceremony["ceremony_id"], "credential": credential });
        self.post(host, "/auth/webauthn/login/finish").json(&body).await
    }
}

#[tokio::test]
async fn a_passkey_is_a_second_factor() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (mut key, enrolled) = app.enrol_passkey(&owner).await;
    assert_eq!(enrolled.status, 200, "{enrolled:?}");
    assert_eq!(enrolled.json()["recovery_codes"].as_array().unwrap().len(), 10);
    let (mfa_token, challenge) = app.challenge("acme", OWNER).await;
    assert_eq!(challenge["factors"], json!(["webauthn", "recovery_code"]));
    let asked = app.post("acme", "/auth/mfa/webauthn/challenge").json(&json!({ "mfa_token": mfa_token })).await.json();
    let body = json!({
        "mfa_token": mfa_token, "ceremony_id": asked["ceremony_id"], "credential": key.get(&asked["publicKey"]),
    });
    let reply = app.post("acme", "/auth/mfa/webauthn/verify").json(&body).await;
    let said = claims(&Session::of(&reply));
    assert_eq!((&said["acr"], &said["amr"]), (&json!("aal2"), &json!(["pwd", "hwk"])));
    // Once.
    app.post("acme", "/auth/mfa/webauthn/verify").json(&body).await.problem(401, "invalid-mfa-token");
    let used =
        "SELECT count(*) FROM auth.passkeys WHERE last_used_at IS NOT NULL AND credential->'cred'->>'counter' = '2'";
    assert_eq!(app.count(used).await, 1);
}

#[tokio::test]
async fn a_passkey_steps_up() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (mut key, _) = app.enrol_passkey(&owner).await;
    let asked = app.post("acme", "/auth/mfa/webauthn/challenge").token(&owner).await.json();
    let body = json!({ "ceremony_id": asked["ceremony_id"], "credential": key.get(&asked["publicKey"]) });
    let strong = Session::of(&app.post("acme", "/auth/mfa/webauthn/verify").token(&owner).json(&body).await);
    let said = claims(&strong);
    assert_eq!((&said["acr"], &said["amr"]), (&json!("aal2"), &json!(["pwd", "hwk"])));
    // It may be removed now, and with it go the recovery codes.
    let listed = app.get("acme", "/auth/mfa/webauthn").token(&strong).await.json();
    assert_eq!(listed["passkeys"][0]["name"], "Phone");
    let path = format!("/auth/mfa/webauthn/{}", listed["passkeys"][0]["id"].as_str().unwrap());
    app.delete("acme", &path).token(&owner).await.problem(401, "insufficient_user_authentication");
    assert_eq!(app.delete("acme", &path).token(&strong).await.status, 204);
    app.delete("acme", &path).token(&strong).await.problem(404, "not-found");
    assert_eq!(app.count("SELECT count(*) FROM auth.recovery_codes").await, 0);
    app.sign_in("acme", OWNER).await;
}

#[tokio::test]
async fn a_passkey_signs_in_alone_and_each_answer_once() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (mut key, _) = app.enrol_passkey(&owner).await;
    let ceremony = app.begin_login("acme").await;
    let answer = key.get(&ceremony["publicKey"]);
    let session = Session::of(&app.finish_login("acme", &ceremony, answer.clone()).await);
    let said = claims(&session);
    assert_eq!((&said["acr"], &said["amr"]), (&json!("aal2"), &json!(["hwk", "user"])));
    assert_eq!(app.get("acme", "/auth/me").token(&session).await.json()["email"], OWNER);
    app.finish_login("acme", &ceremony, answer).await.problem(401, "invalid-passkey");
    app.db.as_admin("UPDATE auth.users SET state = 'suspended'").await;
    let ceremony = app.begin_login("acme").await;
    let answer = key.get(&ceremony["publicKey"]);
    assert_eq!(app.finish_login("acme", &ceremony, answer).await.status, 401);
}

#[tokio::test]
async fn what_a_passkey_did_not_sign_for_this_ceremony_is_refused() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.onboard("globex").await;
    let (mut key, _) = app.enrol_passkey(&owner).await;
    let refused = async |key: &mut SoftKey, what: &str| {
        let ceremony = app.begin_login("acme").await;
        let answer = key.get(&ceremony["publicKey"]);
        let reply = app.finish_login("acme", &ceremony, answer).await;
        assert_eq!(reply.status, 401, "{what}: {reply:?}");
        reply.problem(401, "invalid-passkey");
    };
    key.origin = app.origin("evil");
    refused(&mut key, "another page's").await;
    key.origin = app.origin("globex");
    refused(&mut key, "another tenant's page").await;
    key.origin = app.origin("acme");
    key.verifies_user = false;
    refused(&mut key, "without PIN or finger").await;
    key.verifies_user = true;
    refused(&mut SoftKey::new(&app.origin("acme")), "nobody's key").await;
    // Another ceremony's answer, and another tenant's ceremony.
    let (first, second) = (app.begin_login("acme").await, app.begin_login("acme").await);
    let answer = key.get(&first["publicKey"]);
    app.finish_login("acme", &second, answer.clone()).await.problem(401, "invalid-passkey");
    app.finish_login("globex", &first, answer.clone()).await.problem(401, "invalid-passkey");
    Session::of(&app.finish_login("acme", &first, answer).await);
    // A counter that went back: somebody has copied the key.
    let ceremony = app.begin_login("acme").await;
    key.counter = 0;
    let answer = key.get(&ceremony["publicKey"]);
    app.finish_login("acme", &ceremony, answer).await.problem(401, "invalid-passkey");
    // Too late.
    let ceremony = app.begin_login("acme").await;
    key.counter = 100;
    app.db.as_admin("UPDATE auth.passkey_ceremonies SET expires_at = now() - interval '1 second'").await;
    let answer = key.get(&ceremony["publicKey"]);
    app.finish_login("acme", &ceremony, answer).await.problem(401, "invalid-passkey");
}

#[tokio::test]
async fn a_waiting_sign_in_may_enrol_a_passkey_where_one_is_required() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    app.db.as_admin("UPDATE platform.tenants SET config = '{\"mfa_required\": true}'").await;
    crate::helpers::until("the tenant asks for a factor", async || {
        app.try_sign_in("acme", OWNER, crate::helpers::PASSWORD).await.json()["mfa_required"] == true
    })
    .await;
    let (mfa_token, _) = app.challenge("acme", OWNER).await;
    let begun = app.post("acme", "/auth/mfa/webauthn/register").json(&json!({ "mfa_token": mfa_token })).await.json();
    let credential = SoftKey::new(&app.origin("acme")).create(&begun["publicKey"]);
    let body = json!({ "mfa_token": mfa_token, "ceremony_id": begun["ceremony_id"], "credential": credential });
    let reply = app.post("acme", "/auth/mfa/webauthn/register/finish").json(&body).await;
    assert_eq!(claims(&Session::of(&reply))["acr"], "aal2");
    app.post("acme", "/auth/mfa/webauthn/register/finish").json(&body).await.problem(401, "invalid-mfa-token");
}

#[tokio::test]
async fn what_fails_is_in_the_trail() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let begun = app.post("acme", "/auth/mfa/webauthn/register").token(&owner).await.json();
    let mut key = SoftKey::new(&app.origin("evil"));
    let finish = |credential: Value| {
        let body = json!({ "ceremony_id": begun["ceremony_id"], "credential": credential });
        app.post("acme", "/auth/mfa/webauthn/register/finish").token(&owner).json(&body)
    };
    finish(key.create(&begun["publicKey"])).await.problem(401, "invalid-passkey");
    key.origin = app.origin("acme");
    finish(key.create(&begun["publicKey"])).await.problem(401, "invalid-passkey");
    assert_eq!(app.audited("factor.enrol", "success").await, 1);
    assert_eq!(app.audited("factor.confirm", "failure").await, 2);
    // Without a name: an answer to nothing, a forged one, and one of a user who was switched off.
    let (mut key, _) = app.enrol_passkey(&owner).await;
    let ceremony = app.begin_login("acme").await;
    let answer = key.get(&ceremony["publicKey"]);
    let nothing = json!({ "ceremony_id": uuid::Uuid::new_v4() });
    app.finish_login("acme", &nothing, answer.clone()).await.problem(401, "invalid-passkey");
    let mut forged = answer.clone();
    forged["response"]["signature"] = "AAAA".into();
    app.finish_login("acme", &ceremony, forged).await.problem(401, "invalid-passkey");
    app.db.as_admin("UPDATE auth.users SET state = 'suspended'").await;
    let ceremony = app.begin_login("acme").await;
    let answer = key.get(&ceremony["publicKey"]);
    app.finish_login("acme", &ceremony, answer).await.problem(401, "invalid-passkey");
    let failures = "SELECT count(*) FROM platform.audit_log WHERE action = 'session.create' AND outcome = 'failure'
                    AND actor_kind = 'anonymous' AND code = 'invalid-passkey' AND source_ip IS NOT NULL";
    assert_eq!(app.count(failures).await, 3);
}
