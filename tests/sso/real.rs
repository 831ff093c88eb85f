//! The whole walk with a real provider: npm `oidc-provider`.

use openidconnect::url::Url;
use serde_json::{Value, json};

use crate::browser::{Browser, location, parameter};
use crate::helpers::Session;
use crate::provider::{Provider, SECRET};
use crate::world::World;

fn people() -> Value {
    json!({
        "ann": {"email": "ann@acme.test", "email_verified": true, "name": "Ann Smith", "groups": ["crm-admins"]},
        "bob": {"email": "bob@elsewhere.test", "email_verified": true, "name": "Bob"},
        "cid": {"email": "cid@acme.test", "email_verified": true, "name": "Cid"},
    })
}

pub async fn connected(world: &World) -> (Provider, String) {
    let provider = Provider::start(&world.redirect_uri(), &people());
    world.prove(&world.tenant, "acme.test").await;
    let connection = world
        .connect(
            &provider.issuer,
            json!({
                "jit": true, "domains": ["acme.test"], "trust_mfa": true,
                "role_claim": "groups", "role_map": [{"value": "crm-admins", "role": "admin"}],
                "oidc": {"client_secret": SECRET, "scopes": ["email", "profile", "groups"],
                         "mfa_acr_values": ["urn:test:mfa"], "post_logout_url": "http://localhost:9/bye"},
            }),
        )
        .await;
    (provider, connection)
}

/// At the provider's page, as somebody; returns where the browser is sent back to.
pub async fn at_provider(browser: &mut Browser, provider: &Provider, there: &str, form: &[(&str, &str)]) -> String {
    let host = provider.issuer.trim_start_matches("http://");
    let (page, shown) = browser.follow(there, host).await;
    assert!(shown.is_some_and(|shown| shown.body.contains("<form")), "no sign-in page: {page}");
    let reply = browser.submit(&page, form).await;
    browser.follow(&location(&page, &reply), host).await.0
}

#[tokio::test]
async fn somebody_signs_in_by_a_real_provider_and_out_again() {
    let world = World::new().await;
    let (provider, connection) = connected(&world).await;
    let found = world.app.get("acme", "/auth/sso?email=ann@acme.test").await.json();
    assert_eq!(found["connections"][0]["id"], *connection);

    let mut browser = Browser::new();
    let start = found["connections"][0]["start_url"].as_str().unwrap().to_owned();
    let reply = browser.get(&format!("{start}?return_to=/signed-in&state=mine")).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let there = location(&start, &reply);
    let cookie = reply.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Domain"), "{cookie}");
    assert_eq!(parameter(&there, "code_challenge_method").as_deref(), Some("S256"));

    let back = at_provider(&mut browser, &provider, &there, &[("login", "ann"), ("code", "")]).await;
    assert!(back.starts_with(&world.redirect_uri()), "{back}");
    assert_eq!(parameter(&back, "iss").as_deref(), Some(&*provider.issuer), "RFC 9207");
    let reply = browser.get(&back).await;
    let onward = location(&back, &reply);
    assert_eq!(Url::parse(&onward).unwrap().path(), "/signed-in");
    assert_eq!(parameter(&onward, "state").as_deref(), Some("mine"));
    assert!(!onward.contains("token"), "{onward}");

    let tokens = world.redeem(&mut browser, &parameter(&onward, "code").expect("a code")).await;
    let session = Session::of(&tokens);
    let me = world.app.get("acme", "/auth/me").token(&session).await.json();
    assert_eq!(
        (&me["email"], &me["name"], &me["role"]),
        (&json!("ann@acme.test"), &json!("Ann Smith"), &json!("admin"))
    );
    assert_eq!(me["acr"], "aal1");

    let out = world.app.post("acme", "/auth/logout").token(&session).await;
    assert_eq!(out.status, 200, "{out:?}");
    let end = out.json()["end_session_url"].as_str().unwrap().to_owned();
    assert!(end.starts_with(&provider.issuer), "{end}");
    assert_eq!(parameter(&end, "client_id").as_deref(), Some("bos"));
    assert_eq!(browser.get(&end).await.status, 200, "the provider asks whether to sign out");
    world.app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn a_second_factor_at_the_provider_counts_where_it_is_trusted() {
    let world = World::new().await;
    let (provider, connection) = connected(&world).await;
    let mut browser = Browser::new();
    let there = world.leave(&mut browser, &connection).await;
    let back = at_provider(&mut browser, &provider, &there, &[("login", "ann"), ("code", "123456")]).await;
    let code = world.come_back(&mut browser, &back).await.expect("a code");
    let session = Session::of(&world.redeem(&mut browser, &code).await);
    let me = world.app.get("acme", "/auth/me").token(&session).await.json();
    // The provider gives no auth_time unless it is asked for an age, and a factor of an unknown time is none.
    assert_eq!(me["acr"], "aal1");
    world.app.get("acme", "/sso/connections").token(&session).await.problem(401, "insufficient_user_authentication");

    let body = json!({"connection": connection, "return_to": "/"});
    let reply = world.app.post("acme", "/auth/sso/step-up").token(&session).json(&body).await;
    let start = reply.json()["start_url"].as_str().unwrap().to_owned();
    let there = location(&start, &browser.get(&start).await);
    assert_eq!(parameter(&there, "prompt").as_deref(), Some("login"));
    assert_eq!(parameter(&there, "acr_values").as_deref(), Some("urn:test:mfa"));
    let back = at_provider(&mut browser, &provider, &there, &[("login", "ann"), ("code", "123456")]).await;
    let code = world.come_back(&mut browser, &back).await.expect("a code");
    let redeem = world.app.post("acme", "/auth/sso/token").token(&session);
    let cookie = format!("bos_sso={}", browser.cookie("acme.localhost", "bos_sso").unwrap());
    let stronger = Session::of(&redeem.header("cookie", &cookie).json(&json!({ "code": code })).await);
    assert_eq!(world.app.get("acme", "/sso/connections").token(&stronger).await.status, 200);
    assert_eq!(world.n_sessions().await, 1, "it is the same session");
}

#[tokio::test]
async fn whoever_the_provider_turns_away_or_does_not_belong_is_not_let_in() {
    let world = World::new().await;
    let (provider, connection) = connected(&world).await;
    for (login, expected) in [("nobody", "sso-declined"), ("bob", "sso-link-required")] {
        let mut browser = Browser::new();
        let there = world.leave(&mut browser, &connection).await;
        let back = at_provider(&mut browser, &provider, &there, &[("login", login), ("code", "")]).await;
        assert_eq!(world.come_back(&mut browser, &back).await, Err(expected.to_owned()), "{login}");
    }
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn a_test_of_the_connection_says_what_is_right_and_what_is_wrong() {
    let world = World::new().await;
    let (_provider, connection) = connected(&world).await;
    let check = async |connection: &str| {
        let path = format!("/sso/connections/{connection}/test");
        let body = world.app.post("acme", &path).token(&world.owner).await.json();
        let state = |name: &str| {
            let checks = body["checks"].as_array().unwrap();
            checks.iter().find(|check| check["check"] == name).map(|check| check["state"].as_str().unwrap().to_owned())
        };
        (body["ok"].as_bool().unwrap(), state("discovery"), state("jwks"), state("client"))
    };
    let ok = || Some("ok".to_owned());
    assert_eq!(check(&connection).await, (true, ok(), ok(), ok()));
    let reply = world.change(&connection, json!({"oidc": {"client_secret": "another"}})).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(check(&connection).await, (false, ok(), ok(), Some("failed".to_owned())));
}
