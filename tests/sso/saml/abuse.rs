//! Responses that are not to be believed. What a document's shape can hide has a corpus of its own.

use serde_json::{Value, json};

use super::signer::{Pair, Signer};
use super::stage::Stage;
use crate::browser::{Browser, location};

#[tokio::test]
async fn responses_that_are_not_for_this_sign_in_are_refused_all_alike_and_the_log_says_why() {
    let stage = Stage::new().await;
    let elsewhere = stage.world.url("globex", "/auth/sso/callback");
    let mallory = Pair::new();
    let cases: Vec<(&str, Value)> = vec![
        ("in_response_to_mismatch", json!({"in_response_to": "_another"})),
        ("in_response_to_mismatch", json!({"in_response_to": null})),
        ("audience_mismatch", json!({"audience": "urn:another"})),
        ("audience_mismatch", json!({"audience": stage.entity_id().replace("acme", "globex")})),
        ("recipient_mismatch", json!({ "recipient": elsewhere })),
        ("destination_mismatch", json!({ "destination": elsewhere })),
        ("issuer_mismatch", json!({"issuer": "urn:another:idp"})),
        ("expired", json!({"clock_s": -3_600})),
        ("not_yet_valid", json!({"clock_s": 3_600})),
        ("signature_invalid", json!({"key": mallory.key})),
        ("signature_invalid", json!({"key": mallory.key, "cert": mallory.certificate})),
        ("unsigned", json!({"sign_assertion": false})),
    ];
    let mut bodies = std::collections::BTreeSet::new();
    for (why, change) in cases {
        let mut browser = Browser::new();
        let left = stage.leave(&mut browser).await;
        let reply = stage.post(&mut browser, &stage.answer(&left, change.clone()), &left.relay_state).await;
        reply.problem(403, "sso-failed");
        bodies.insert(reply.anonymous().to_string());
        assert_eq!(stage.reason().await, why, "{change}");
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    stage.world.assert_nobody_in().await;
    assert!(stage.try_sign_in(json!({})).await.is_ok());
}

#[tokio::test]
async fn an_assertion_is_good_once() {
    let stage = Stage::with(json!({"idp_initiated": true})).await;
    let unsolicited = stage.idp.answer(None, &stage.entity_id(), json!({}));
    let mut browser = Browser::new();
    assert!(stage.come_back(&mut browser, &unsolicited, "").await.is_ok());
    let again = stage.post(&mut browser, &unsolicited, "").await;
    again.problem(403, "sso-failed");
    assert_eq!(stage.reason().await, "replayed");
    // Before the flow is used up nothing but this stands in the way.
    let left = stage.leave(&mut browser).await;
    let response = stage.answer(&left, json!({}));
    assert_eq!(stage.post(&mut browser, &response, &left.relay_state).await.status, 303);
    stage.post(&mut browser, &response, &left.relay_state).await.problem(403, "sso-failed");
    assert_eq!(stage.reason().await, "replayed");
}

#[tokio::test]
async fn of_many_who_post_the_same_assertion_at_once_one_gets_on() {
    let stage = Stage::with(json!({"idp_initiated": true})).await;
    let unsolicited = stage.idp.answer(None, &stage.entity_id(), json!({}));
    let posts = (0..12).map(|_| async {
        let mut browser = Browser::new();
        stage.post(&mut browser, &unsolicited, "").await.status
    });
    let statuses = futures_util::future::join_all(posts).await;
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 11, "{statuses:?}");
}

#[tokio::test]
async fn what_waits_is_not_waited_for_for_long_and_is_forgotten() {
    let stage = Stage::new().await;
    let mut browser = Browser::new();
    let left = stage.leave(&mut browser).await;
    let reply = stage.post(&mut browser, &stage.answer(&left, json!({})), &left.relay_state).await;
    let link = location(&stage.world.redirect_uri(), &reply);
    let db = &stage.world.app.db;
    db.as_admin("UPDATE auth.saml_arrivals SET expires_at = clock_timestamp() - interval '1 second'").await;
    db.as_admin("UPDATE auth.saml_replay SET expires_at = clock_timestamp() - interval '1 second'").await;
    browser.get(&link).await.problem(400, "invalid-sso-state");
    stage.run_job("forget_ended_sessions").await;
    for table in ["saml_arrivals", "saml_replay"] {
        assert_eq!(stage.world.app.count(&format!("SELECT count(*) FROM auth.{table}")).await, 0, "{table}");
    }
    stage.world.assert_nobody_in().await;
}

#[tokio::test]
async fn a_relay_state_that_stands_for_no_flow_that_waits_brings_nobody_in() {
    let stage = Stage::new().await;
    let mut browser = Browser::new();
    let left = stage.leave(&mut browser).await;
    let response = stage.answer(&left, json!({}));
    for relay_state in ["", "x", &left.relay_state.replace('A', "B"), &format!("{}x", left.relay_state)] {
        if relay_state != left.relay_state {
            stage.post(&mut browser, &response, relay_state).await.problem(400, "invalid-sso-state");
        }
    }
    stage.world.app.db.as_admin("UPDATE auth.sso_flows SET expires_at = clock_timestamp() - interval '1 second'").await;
    stage.post(&mut browser, &response, &left.relay_state).await.problem(400, "invalid-sso-state");
    stage.world.assert_nobody_in().await;
}

#[tokio::test]
async fn one_connections_answer_is_none_of_anothers() {
    let stage = Stage::new().await;
    // The same provider, key and all, connected twice.
    let twin = Signer::with(&stage.idp.entity_id, stage.idp.pair.clone());
    let made = super::stage::connect(&stage.world, &twin, json!({}), json!({})).await;
    let other = made.json()["id"].as_str().unwrap().to_owned();
    let mut browser = Browser::new();
    let left = stage.idp.read(&stage.world.leave(&mut browser, &other).await);
    let of_the_first = stage.answer(&left, json!({}));
    assert_eq!(stage.come_back(&mut browser, &of_the_first, &left.relay_state).await, Err("sso-failed".to_owned()));
    assert_eq!(stage.reason().await, "audience_mismatch");
    // A state of OpenID Connect waits for no response, nor the other way round.
    let liar = crate::liar::Liar::start();
    let oidc = stage.world.connect(&liar.issuer, json!({})).await;
    let there = stage.world.leave(&mut browser, &oidc).await;
    let state = crate::browser::parameter(&there, "state").unwrap();
    let refused = stage.come_back(&mut browser, &of_the_first, &state).await;
    assert_eq!(refused, Err("invalid-sso-state".to_owned()));
    let left = stage.leave(&mut browser).await;
    let link = format!("{}?state={}&code=x", stage.world.redirect_uri(), left.relay_state);
    assert_eq!(stage.world.come_back(&mut browser, &link).await, Err("invalid-sso-state".to_owned()));
    stage.world.assert_nobody_in().await;
}

#[tokio::test]
async fn forms_that_are_too_large_or_say_things_twice_are_refused() {
    let stage = Stage::new().await;
    let mut browser = Browser::new();
    let left = stage.leave(&mut browser).await;
    let response = stage.answer(&left, json!({}));
    let url = stage.world.redirect_uri();
    let large = "A".repeat(300 << 10);
    stage.post(&mut browser, &large, &left.relay_state).await.problem(413, "payload-too-large");
    let twice = [("SAMLResponse", &*response), ("SAMLResponse", "x"), ("RelayState", &left.relay_state)];
    browser.submit_from_elsewhere(&url, &twice).await.problem(400, "malformed-request");
    let link = "A".repeat(20 << 10);
    let form = [("state", "x"), ("code", &*link)];
    browser.submit_from_elsewhere(&url, &form).await.problem(413, "payload-too-large");
    assert!(stage.come_back(&mut browser, &response, &left.relay_state).await.is_ok());
}
