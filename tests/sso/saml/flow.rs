//! Leaving, coming back, and what becomes of it.

use serde_json::json;

use super::stage::{Stage, told};
use crate::browser::{Browser, location, parameter};
use crate::helpers::Session;

#[tokio::test]
async fn somebody_signs_in_is_made_by_their_proved_address_and_signs_out() {
    let stage = Stage::with(json!({"logout_url": "http://localhost:9/bye"})).await;
    let mut browser = Browser::new();
    let left = stage.leave_with(&mut browser, "?return_to=/signed-in&state=mine").await;
    assert_eq!(left.attribute("AssertionConsumerServiceURL"), Some(&*stage.world.redirect_uri()));
    assert_eq!(left.attribute("ForceAuthn"), None);
    assert!(left.xml.contains(&stage.entity_id()), "{}", left.xml);
    assert!(left.relay_state.len() <= 80, "SAML bindings §3.4.3");
    let response = stage.answer(&left, json!({}));
    let reply = stage.post(&mut browser, &response, &left.relay_state).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    assert_eq!(stage.world.app.count("SELECT count(*) FROM auth.users WHERE email_norm = 'ann@acme.test'").await, 0);
    let link = location(&stage.world.redirect_uri(), &reply);
    let onward = location(&link, &browser.get(&link).await);
    assert!(onward.starts_with(&stage.world.url("acme", "/signed-in?")), "{onward}");
    assert_eq!(parameter(&onward, "state").as_deref(), Some("mine"));
    let session = Session::of(&stage.world.redeem(&mut browser, &told(&onward).unwrap()).await);
    let me = stage.world.app.get("acme", "/auth/me").token(&session).await.json();
    assert_eq!((&me["email"], &me["name"], &me["acr"]), (&json!("ann@acme.test"), &json!("Ann Smith"), &json!("aal1")));
    let out = stage.world.app.post("acme", "/auth/logout").token(&session).await;
    assert_eq!(out.json()["end_session_url"], "http://localhost:9/bye");
    stage.world.app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn the_second_time_the_person_is_known_by_what_names_them_and_not_by_their_address() {
    let stage = Stage::new().await;
    stage.sign_in(json!({})).await;
    let moved = json!({"attributes": {"email": ["somebody@elsewhere.test"]}});
    let session = stage.sign_in(moved).await;
    let me = stage.world.app.get("acme", "/auth/me").token(&session).await.json();
    assert_eq!(me["email"], "ann@acme.test");
    let other = stage.try_sign_in(json!({"name_id": "ann-2"})).await;
    assert_eq!(other, Err("sso-link-required".to_owned()), "an address that was given to somebody else");
    let transient = json!({"name_id_format": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"});
    assert_eq!(stage.try_sign_in(transient).await, Err("sso-failed".to_owned()));
}

#[tokio::test]
async fn whoever_scim_removed_is_not_made_again() {
    let stage = Stage::new().await;
    let departed = "INSERT INTO auth.scim_departures (tenant_id, name_hash)
                    SELECT tenant_id, sha256('ann@acme.test') FROM platform.tenants WHERE slug = 'acme'";
    stage.world.app.db.as_admin(departed).await;
    assert_eq!(stage.try_sign_in(json!({})).await, Err("sso-not-admitted".to_owned()));
    stage.world.assert_nobody_in().await;
}

#[tokio::test]
async fn groups_become_roles_by_their_usual_name_or_by_the_one_that_is_set() {
    let stage = Stage::new().await;
    let rules = json!([{"value": "it", "role": "admin"}, {"value": "accounts", "role": "billing"}]);
    stage.change(json!({"role_map": rules, "sync_roles": true})).await;
    let role_of = async |groups: serde_json::Value| {
        let session = stage.sign_in(json!({ "attributes": groups })).await;
        stage.world.app.get("acme", "/auth/me").token(&session).await.json()["role"].as_str().unwrap().to_owned()
    };
    let usual = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups";
    assert_eq!(role_of(json!({"email": ["ann@acme.test"], usual: ["it"]})).await, "admin");
    stage.change(json!({"role_claim": "team"})).await;
    assert_eq!(role_of(json!({"team": ["x", "accounts"], usual: ["it"]})).await, "billing");
    assert_eq!(role_of(json!({usual: ["it"]})).await, "member");
}

#[tokio::test]
async fn only_the_browser_that_left_comes_for_what_was_said_and_another_changes_nothing() {
    let stage = Stage::new().await;
    let (mut browser, mut thief) = (Browser::new(), Browser::new());
    let left = stage.leave(&mut browser).await;
    let response = stage.answer(&left, json!({}));
    // Whoever posts it learns where to come for it, and gets nothing.
    let reply = stage.post(&mut thief, &response, &left.relay_state).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let link = location(&stage.world.redirect_uri(), &reply);
    thief.get(&link).await.problem(400, "invalid-sso-state");
    stage.leave(&mut thief).await;
    thief.get(&link).await.problem(400, "invalid-sso-state");
    stage.world.assert_nobody_in().await;
    // Lured with somebody else's response, a browser is not signed in as them.
    assert!(
        stage.world.come_back(&mut browser, &link).await.is_ok(),
        "and the one that it belongs to is none the worse"
    );
    browser.get(&link).await.problem(400, "invalid-sso-state");
}

#[tokio::test]
async fn a_code_is_good_for_the_browser_or_for_the_client_that_began() {
    let stage = Stage::new().await;
    let (mut browser, mut thief) = (Browser::new(), Browser::new());
    let left = stage.leave(&mut browser).await;
    let code = stage.come_back(&mut browser, &stage.answer(&left, json!({})), &left.relay_state).await.unwrap();
    stage.world.redeem(&mut thief, &code).await.problem(400, "invalid-sso-code");
    assert_eq!(stage.world.n_sessions().await, 0);
}

#[tokio::test]
async fn what_nobody_asked_for_is_believed_only_where_the_connection_does() {
    let stage = Stage::new().await;
    let unsolicited = || stage.idp.answer(None, &stage.entity_id(), json!({}));
    let mut browser = Browser::new();
    let refused = stage.come_back(&mut browser, &unsolicited(), "").await;
    assert_eq!(refused, Err("invalid-sso-state".to_owned()));
    stage.world.assert_nobody_in().await;
    stage.change(json!({"saml": {"idp_initiated": true}})).await;
    let code = stage.come_back(&mut browser, &unsolicited(), "").await.expect("a code");
    assert_eq!(stage.world.redeem(&mut browser, &code).await.status, 200);
    // It does not say where browsers go, unless they may go there.
    for (relay_state, expected) in
        [("/reports?x=1", "/reports?x=1&"), ("https://evil.example/", "/?"), ("//evil.example", "/?"), ("", "/?")]
    {
        let reply = stage.post(&mut browser, &unsolicited(), relay_state).await;
        let link = location(&stage.world.redirect_uri(), &reply);
        let onward = location(&link, &browser.get(&link).await);
        assert!(onward.starts_with(&stage.world.url("acme", &format!("{expected}code="))), "{relay_state}: {onward}");
    }
}

#[tokio::test]
async fn where_strangers_are_believed_an_answer_to_somebody_elses_request_is_not() {
    let stage = Stage::with(json!({"idp_initiated": true})).await;
    let mut browser = Browser::new();
    let left = stage.leave(&mut browser).await;
    let stolen = stage.answer(&left, json!({}));
    let mut thief = Browser::new();
    assert_eq!(stage.come_back(&mut thief, &stolen, "").await, Err("sso-failed".to_owned()));
    // With an audience of nobody here there is not even anybody to verify it.
    let stray = stage.idp.answer(None, &stage.world.url("acme", "/auth/sso/none/metadata"), json!({}));
    assert_eq!(stage.come_back(&mut thief, &stray, "").await, Err("invalid-sso-state".to_owned()));
    assert_eq!(stage.come_back(&mut thief, "nonsense", "").await, Err("invalid-sso-state".to_owned()));
    stage.world.assert_nobody_in().await;
}

#[tokio::test]
async fn a_connection_that_was_switched_off_meanwhile_lets_nobody_in() {
    let stage = Stage::new().await;
    let (mut first, mut second) = (Browser::new(), Browser::new());
    let (left, other) = (stage.leave(&mut first).await, stage.leave(&mut second).await);
    let reply = stage.post(&mut second, &stage.answer(&other, json!({})), &other.relay_state).await;
    let link = location(&stage.world.redirect_uri(), &reply);
    stage.change(json!({"enabled": false})).await;
    let refused = stage.come_back(&mut first, &stage.answer(&left, json!({})), &left.relay_state).await;
    assert_eq!(refused, Err("not-found".to_owned()));
    assert_eq!(stage.world.come_back(&mut second, &link).await, Err("not-found".to_owned()));
    stage.world.assert_nobody_in().await;
}
