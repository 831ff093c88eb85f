//! Second factors that a provider has seen.

use serde_json::{Value, json};

use super::stage::Stage;
use crate::browser::{Browser, location};
use crate::helpers::{Reply, Session};

const MFA: &str = "https://refeds.org/profile/mfa";

async fn stage(trusts: bool) -> (Stage, Session) {
    let stage = Stage::new().await;
    stage.change(json!({ "trust_mfa": trusts })).await;
    let session = stage.sign_in(json!({})).await;
    (stage, session)
}

/// The walk with a response that was changed, redeemed by the session that began.
async fn step_up(stage: &Stage, session: &Session, change: Value) -> Result<Reply, String> {
    let app = &stage.world.app;
    let body = json!({ "connection": stage.id });
    let reply = app.post("acme", "/auth/sso/step-up").token(session).json(&body).await;
    let start = reply.json()["start_url"].as_str().unwrap().to_owned();
    let mut browser = Browser::new();
    let left = stage.idp.read(&location(&start, &browser.get(&start).await));
    assert_eq!(left.attribute("ForceAuthn"), Some("true"));
    assert!(left.xml.contains(MFA), "{}", left.xml);
    let mut claims = json!({ "context": MFA });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let code = stage.come_back(&mut browser, &stage.answer(&left, claims), &left.relay_state).await?;
    let cookie = format!("bos_sso={}", browser.cookie("acme.localhost", "bos_sso").unwrap());
    let request = app.post("acme", "/auth/sso/token").header("cookie", &cookie).token(session);
    Ok(request.json(&json!({ "code": code })).await)
}

#[tokio::test]
async fn a_fresh_second_factor_at_the_provider_makes_the_session_stronger() {
    let (stage, session) = stage(true).await;
    let stronger = Session::of(&step_up(&stage, &session, json!({})).await.expect("a code"));
    assert_eq!(stage.world.app.get("acme", "/auth/me").token(&stronger).await.json()["acr"], "aal2");
    assert_eq!(stage.world.n_sessions().await, 1, "it is the same session");
}

#[tokio::test]
async fn what_is_not_fresh_not_strong_or_not_the_same_person_is_no_step_up() {
    let (stage, session) = stage(true).await;
    let failed = Some("sso-step-up-failed".to_owned());
    let old = json!({"edits": [["AuthnInstant=\"[^\"]*\"", "AuthnInstant=\"2020-01-01T00:00:00Z\""]]});
    assert_eq!(step_up(&stage, &session, old).await.err(), failed, "a session of before");
    let weak = json!({"context": "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"});
    assert_eq!(step_up(&stage, &session, weak).await.err(), failed, "one factor");
    assert_eq!(step_up(&stage, &session, json!({"name_id": "bob"})).await.err(), failed, "another person");
    assert_eq!(stage.world.app.get("acme", "/auth/me").token(&session).await.json()["acr"], "aal1");
}

#[tokio::test]
async fn a_provider_that_is_not_trusted_with_it_steps_nobody_up() {
    let (stage, session) = stage(false).await;
    assert_eq!(step_up(&stage, &session, json!({})).await.err(), Some("sso-step-up-failed".to_owned()));
}

#[tokio::test]
async fn a_second_factor_at_sign_in_counts_at_once_where_it_is_trusted() {
    let (stage, _) = stage(true).await;
    let session = stage.sign_in(json!({ "context": MFA })).await;
    assert_eq!(stage.world.app.get("acme", "/auth/me").token(&session).await.json()["acr"], "aal2");
}
