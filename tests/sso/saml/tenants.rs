//! A tenant's provider signs nobody in to another tenant, whatever the two have in common.

use serde_json::{Value, json};

use super::signer::Signer;
use super::stage::Stage;
use crate::browser::{Browser, location};
use crate::helpers::Session;

/// Another tenant with the same provider, key and all.
struct Twin {
    id: String,
    owner: Session,
}

async fn twin_of(stage: &Stage, saml: Value) -> Twin {
    let (globex, session) = stage.world.app.tenant_with_owner("globex").await;
    let owner = stage.world.app.stepped_up("globex", &session).await;
    stage.world.prove(&globex, "globex.test").await;
    let mut settings = json!({ "metadata_xml": stage.idp.metadata(&[&stage.idp.pair]) });
    for (name, value) in saml.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let body = json!({"name": "same", "kind": "saml", "jit": true, "domains": ["globex.test"], "saml": settings});
    let made = stage.world.app.post("globex", "/sso/connections").token(&owner).json(&body).await;
    assert_eq!(made.status, 201, "{made:?}");
    Twin { id: made.json()["id"].as_str().unwrap().to_owned(), owner }
}

#[tokio::test]
async fn responses_of_the_same_provider_and_key_cannot_be_swapped_between_tenants() {
    let stage = Stage::with(json!({"idp_initiated": true})).await;
    let twin = twin_of(&stage, json!({"idp_initiated": true})).await;
    let at = |path: &str| stage.world.url("globex", path);
    let theirs = at(&format!("/auth/sso/{}/metadata", twin.id));
    let callback = at("/auth/sso/callback");
    let mut browser = Browser::new();
    let left = stage.leave(&mut browser).await;
    let start = at(&format!("/auth/sso/{}", twin.id));
    let left_there = stage.idp.read(&location(&start, &browser.get(&start).await));
    let good = stage.answer(&left, json!({}));
    let unsolicited = stage.idp.answer(None, &stage.entity_id(), json!({}));
    // What was said to acme, and to acme's request, in whatever form, brought to globex.
    for (response, relay_state) in [
        (&good, &*left.relay_state),
        (&good, &*left_there.relay_state),
        (&good, ""),
        (&unsolicited, ""),
        (&unsolicited, &*left_there.relay_state),
    ] {
        let form = [("SAMLResponse", response.as_str()), ("RelayState", relay_state)];
        let reply = browser.submit_from_elsewhere(&callback, &form).await;
        assert!(matches!(reply.status, 400 | 403), "{relay_state}: {reply:?}");
    }
    // For globex, but with acme's request or place.
    for change in [json!({"recipient": stage.world.redirect_uri()}), json!({"destination": stage.world.redirect_uri()})]
    {
        let response = stage.idp.answer(Some(&left_there), &theirs, change);
        let form = [("SAMLResponse", response.as_str()), ("RelayState", &*left_there.relay_state)];
        browser.submit_from_elsewhere(&callback, &form).await.problem(403, "sso-failed");
    }
    let response = stage.idp.answer(Some(&left), &theirs, json!({}));
    let form = [("SAMLResponse", response.as_str()), ("RelayState", &*left_there.relay_state)];
    browser.submit_from_elsewhere(&callback, &form).await.problem(403, "sso-failed");
    let sessions = "SELECT count(*) FROM auth.saml_arrivals";
    assert_eq!(stage.world.app.count(sessions).await, 0);
    stage.world.assert_nobody_in().await;
    // And acme's own is none the worse.
    let reply = stage.post(&mut browser, &good, &left.relay_state).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    // What waits at acme is not to be had at globex.
    let link = location(&stage.world.redirect_uri(), &reply);
    let elsewhere = link.replace("acme.localhost", "globex.localhost");
    assert_ne!(elsewhere, link);
    let cookie = browser.cookie("acme.localhost", "bos_sso").unwrap().to_owned();
    let mut carrier = Browser::new();
    carrier.set_cookie("globex.localhost", "bos_sso", &cookie);
    carrier.get(&elsewhere).await.problem(400, "invalid-sso-state");
    assert!(stage.world.come_back(&mut browser, &link).await.is_ok());
}

#[tokio::test]
async fn the_same_person_is_somebody_in_one_tenant_and_nobody_in_the_other() {
    let stage = Stage::new().await;
    let twin = twin_of(&stage, json!({})).await;
    stage.sign_in(json!({})).await;
    let start = stage.world.url("globex", &format!("/auth/sso/{}", twin.id));
    let mut browser = Browser::new();
    let left = stage.idp.read(&location(&start, &browser.get(&start).await));
    let theirs = stage.world.url("globex", &format!("/auth/sso/{}/metadata", twin.id));
    let response = stage.idp.answer(Some(&left), &theirs, json!({}));
    let form = [("SAMLResponse", response.as_str()), ("RelayState", &*left.relay_state)];
    let callback = stage.world.url("globex", "/auth/sso/callback");
    let reply = browser.submit_from_elsewhere(&callback, &form).await;
    let link = location(&callback, &reply);
    let onward = location(&link, &browser.get(&link).await);
    assert_eq!(super::stage::told(&onward), Err("sso-link-required".to_owned()));
    let n = "SELECT count(*) FROM auth.sso_identities WHERE tenant_id <> (SELECT tenant_id FROM platform.tenants WHERE slug = 'acme')";
    assert_eq!(stage.world.app.count(n).await, 0);
}

#[tokio::test]
async fn another_tenants_connection_is_unknown_and_so_are_its_metadata_and_keys() {
    let stage = Stage::new().await;
    let twin = twin_of(&stage, json!({})).await;
    let app = &stage.world.app;
    let path = format!("/auth/sso/{}/metadata", stage.id);
    assert_eq!(app.get("acme", &path).await.status, 200);
    app.get("globex", &path).await.problem(404, "not-found");
    for action in ["keys", "keys/activate", "refresh", "test"] {
        let path = format!("/sso/connections/{}/{action}", stage.id);
        app.post("globex", &path).token(&twin.owner).await.problem(404, "not-found");
    }
    let mut browser = Browser::new();
    let start = stage.world.url("globex", &format!("/auth/sso/{}", stage.id));
    browser.get(&start).await.problem(404, "not-found");
}

#[tokio::test]
async fn another_key_under_the_same_name_is_another_provider() {
    let stage = Stage::with(json!({"idp_initiated": true})).await;
    let impostor = Signer::start();
    assert_eq!(impostor.entity_id, stage.idp.entity_id);
    let mut browser = Browser::new();
    let left = stage.leave(&mut browser).await;
    let forged = impostor.answer(Some(&left), &stage.entity_id(), json!({}));
    assert_eq!(stage.come_back(&mut browser, &forged, &left.relay_state).await, Err("sso-failed".to_owned()));
    let unsolicited = impostor.answer(None, &stage.entity_id(), json!({}));
    assert_eq!(stage.come_back(&mut browser, &unsolicited, "").await, Err("sso-failed".to_owned()));
    stage.world.assert_nobody_in().await;
}
