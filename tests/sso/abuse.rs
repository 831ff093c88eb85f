//! What a provider, a browser or somebody between them may try. Each is refused, and nobody is in.

use serde_json::{Value, json};

use crate::browser::{Browser, location, parameter};
use crate::helpers::Session;
use crate::liar::{Liar, Signed};
use crate::world::World;

// Reasons of the audit log. Whoever tries it is told `sso-failed`, whatever it was.
const AUDIENCE: &str = "it is for another client";
const ISSUER: &str = "it is another issuer's";
const MIX_UP: &str = "the answer is another provider's";
const NONCE: &str = "it belongs to another sign-in";
const NO_SUBJECT: &str = "the ID token does not say who it is about";
const PROOF_TIME: &str = "the time of the proof cannot be right";
const SIGNATURE: &str = "its signature is not valid";
const TIME: &str = "it has run out, or is not valid yet: see the clocks of both sides";
const UNKNOWN_KEY: &str = "it is signed with a key that the provider does not publish";
const UNREADABLE: &str = "what token_endpoint answered cannot be read";

/// What a lying provider changes of its claims.
type Change = Box<dyn FnOnce(&mut Value)>;

#[tokio::test]
async fn an_honest_answer_lets_in_so_that_the_refusals_below_mean_something() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let session = Session::of(&world.sign_in(&liar, &connection, "ann", "ann@acme.test").await);
    let me = world.app.get("acme", "/auth/me").token(&session).await.json();
    assert_eq!((&me["email"], &me["role"]), (&json!("ann@acme.test"), &json!("member")));
    assert_eq!(world.n_sessions().await, 1);
    let asked = &liar.asked("/token")[0];
    assert!(asked.contains("code_verifier=") && !asked.contains("s3cret"), "the secret goes in the header: {asked}");
}

#[tokio::test]
async fn claims_that_are_not_for_this_sign_in_are_refused() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let now = businessos::clock::now_s();
    let cases: Vec<(&str, &str, Change)> = vec![
        ("another issuer", ISSUER, Box::new(|claims| claims["iss"] = json!("https://accounts.google.com"))),
        (
            "an issuer with a slash",
            ISSUER,
            Box::new(|claims| claims["iss"] = json!(format!("{}/", claims["iss"].as_str().unwrap()))),
        ),
        ("no issuer", UNREADABLE, Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("iss")))),
        ("another client", AUDIENCE, Box::new(|claims| claims["aud"] = json!("somebody-else"))),
        ("another client beside", AUDIENCE, Box::new(|claims| claims["aud"] = json!(["bos", "somebody-else"]))),
        ("another party", AUDIENCE, Box::new(|claims| claims["azp"] = json!("somebody-else"))),
        ("no audience", AUDIENCE, Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("aud")))),
        ("another nonce", NONCE, Box::new(|claims| claims["nonce"] = json!("n"))),
        ("no nonce", NONCE, Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("nonce")))),
        ("run out", TIME, Box::new(move |claims| claims["exp"] = json!(now - 60))),
        ("no end", UNREADABLE, Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("exp")))),
        ("issued in the future", TIME, Box::new(move |claims| claims["iat"] = json!(now + 120))),
        ("issued long ago", TIME, Box::new(move |claims| claims["iat"] = json!(now - 3_600))),
        ("not good yet", TIME, Box::new(move |claims| claims["nbf"] = json!(now + 120))),
        ("signed in in the future", PROOF_TIME, Box::new(move |claims| claims["auth_time"] = json!(now + 120))),
        ("a strange access token", SIGNATURE, Box::new(|claims| claims["at_hash"] = json!("AAAAAAAAAAAAAAAAAAAAAA"))),
        ("no subject", UNREADABLE, Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("sub")))),
        ("an empty subject", NO_SUBJECT, Box::new(|claims| claims["sub"] = json!(""))),
    ];
    for (what, why, change) in cases {
        let refusal = world.try_sign_in(&liar, &connection, change).await;
        assert_eq!((refusal, &*world.reason().await), (Err("sso-failed".to_owned()), why), "{what}");
    }
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn clocks_may_differ_a_little() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let now = businessos::clock::now_s();
    let ahead = world.try_sign_in(&liar, &connection, |claims| {
        for name in ["iat", "nbf", "auth_time"] {
            claims[name] = json!(now + 10);
        }
    });
    assert!(ahead.await.is_ok());
    assert!(world.try_sign_in(&liar, &connection, |claims| claims["exp"] = json!(now - 10)).await.is_ok());
}

#[tokio::test]
async fn signatures_that_prove_nothing_are_refused() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    for (signed, why) in [
        (Signed::NotAtAll, SIGNATURE),
        (Signed::Hmac(b"s3cret".to_vec()), SIGNATURE),
        (Signed::Hmac(liar.public_key()), SIGNATURE),
        (Signed::Broken, SIGNATURE),
        (Signed::By("second"), UNKNOWN_KEY),
    ] {
        let mut browser = Browser::new();
        let there = world.leave(&mut browser, &connection).await;
        let claims = liar.claims(&there, "ann", "ann@acme.test");
        let back = liar.admit_with(&there, &claims, &signed);
        let refusal = world.come_back(&mut browser, &back).await;
        assert_eq!((refusal, &*world.reason().await), (Err("sso-failed".to_owned()), why), "{signed:?}");
    }
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn keys_turn_over_without_a_failed_sign_in_and_made_up_ones_do_not_have_the_provider_asked_each_time() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let sign_in = async |kid| {
        let mut browser = Browser::new();
        let there = world.leave(&mut browser, &connection).await;
        let claims = liar.claims(&there, "ann", "ann@acme.test");
        world.come_back(&mut browser, &liar.admit_with(&there, &claims, &Signed::By(kid))).await
    };
    assert!(sign_in("first").await.is_ok());
    let n_before = liar.asked("/jwks").len();
    liar.publish(&["first", "second"]);
    assert!(sign_in("second").await.is_ok(), "a key that was published since");
    assert_eq!(liar.asked("/jwks").len(), n_before + 1);
    for _ in 0..3 {
        assert_eq!(sign_in("third").await, Err("sso-failed".to_owned()));
    }
    assert_eq!(liar.asked("/jwks").len(), n_before + 1, "within the cooldown nobody is asked again");
}

#[tokio::test]
async fn a_state_is_good_once_in_the_browser_that_left_with_it() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let (mut browser, mut thief) = (Browser::new(), Browser::new());
    let there = world.leave(&mut browser, &connection).await;
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    thief.get(&back).await.problem(400, "invalid-sso-state");
    // With a cookie of its own it is no better off.
    world.leave(&mut thief, &connection).await;
    thief.get(&back).await.problem(400, "invalid-sso-state");
    world.assert_nobody_in().await;
    // The browser that it belongs to is none the worse for it.
    assert!(world.come_back(&mut browser, &back).await.is_ok());
    browser.get(&back).await.problem(400, "invalid-sso-state");
    assert_eq!(liar.asked("/token").len(), 1, "a replay reaches no provider");
}

#[tokio::test]
async fn a_state_that_is_forged_missing_or_too_old_is_refused() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let mut browser = Browser::new();
    let there = world.leave(&mut browser, &connection).await;
    let callback = world.redirect_uri();
    for query in ["?state=x&code=y", "?state=&code=y"] {
        browser.get(&format!("{callback}{query}")).await.problem(400, "invalid-sso-state");
    }
    assert_eq!(browser.get(&format!("{callback}?code=y")).await.status, 400);
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    world.app.db.as_admin("UPDATE auth.sso_flows SET expires_at = clock_timestamp() - interval '1 second'").await;
    browser.get(&back).await.problem(400, "invalid-sso-state");
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn the_answers_of_two_flows_cannot_be_swapped() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let mut browser = Browser::new();
    let first = world.leave(&mut browser, &connection).await;
    let second = world.leave(&mut browser, &connection).await;
    // The code of the first flow, brought back with the state of the second: its ID token has the other nonce.
    let back = liar.admit(&first, &liar.claims(&first, "ann", "ann@acme.test"));
    let (own, other) = (parameter(&first, "state").unwrap(), parameter(&second, "state").unwrap());
    let swapped = back.replace(&own, &other);
    assert_ne!(swapped, back);
    assert_eq!(world.come_back(&mut browser, &swapped).await, Err("sso-failed".to_owned()));
    assert_eq!(world.reason().await, NONCE);
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn one_providers_answer_is_none_of_anothers() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let honest = Liar::start();
    honest.set_discovery(json!({"authorization_response_iss_parameter_supported": true}));
    let other = world.connect(&honest.issuer, json!({})).await;
    let mut browser = Browser::new();
    // Mix-up: the browser left for the liar, which sent it on to the honest provider; that one says who it is.
    let there = world.leave(&mut browser, &connection).await;
    let back = honest.admit(&there, &honest.claims(&there, "ann", "ann@acme.test"));
    let named = format!("{back}&iss={}", honest.issuer);
    assert_eq!(world.come_back(&mut browser, &named).await, Err("sso-failed".to_owned()));
    assert_eq!(world.reason().await, MIX_UP);
    assert!(liar.asked("/token").is_empty(), "the honest provider's code was not given away");
    // One that announces that it says so is not believed when it does not, nor under another name.
    for named in ["", "&iss=https://elsewhere.example"] {
        let there = world.leave(&mut browser, &other).await;
        let back = honest.admit(&there, &honest.claims(&there, "ann", "ann@acme.test"));
        assert_eq!(world.come_back(&mut browser, &format!("{back}{named}")).await, Err("sso-failed".to_owned()));
        assert_eq!(world.reason().await, MIX_UP, "{named}");
    }
    assert!(honest.asked("/token").is_empty());
    // Tokens that the other connection's provider has signed for the same client id: in a sign-in of its own, for the nonce of this one,
    // and in this one's name, with a key of the same id.
    let theirs = world.leave(&mut browser, &other).await;
    for (of, issuer, why) in
        [(Some(&theirs), &honest.issuer, ISSUER), (None, &honest.issuer, ISSUER), (None, &liar.issuer, SIGNATURE)]
    {
        let there = world.leave(&mut browser, &connection).await;
        let mut claims = honest.claims(of.unwrap_or(&there), "ann", "ann@acme.test");
        claims["iss"] = json!(issuer);
        let back = liar.admit_token(&there, honest.token(&claims, &Signed::By("first")));
        assert_eq!(world.come_back(&mut browser, &back).await, Err("sso-failed".to_owned()));
        assert_eq!(world.reason().await, why);
    }
    assert_eq!(liar.asked("/token").len(), 3, "it is the tokens that were not believed");
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn a_tenants_provider_signs_nobody_in_to_another_tenant() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let (globex, session) = world.app.tenant_with_owner("globex").await;
    let globex_owner = world.app.stepped_up("globex", &session).await;
    // The same provider, client and all, is a connection of the other tenant too.
    let body =
        json!({"name": "same", "kind": "oidc", "oidc": {"issuer": liar.issuer, "client_id": "bos"}, "jit": true});
    let theirs = world.app.post("globex", "/sso/connections").token(&globex_owner).json(&body).await;
    assert_eq!(theirs.status, 201, "{theirs:?}");
    world.prove(&globex, "globex.test").await;
    let mut browser = Browser::new();
    let at = |path: &str| world.url("globex", path);
    // Another tenant's connection is none of this one's.
    browser.get(&at(&format!("/auth/sso/{connection}"))).await.problem(404, "not-found");
    // A flow that began at the one ends at the one: not with its own cookie carried over either.
    let there = world.leave(&mut browser, &connection).await;
    let cookie = browser.cookie("acme.localhost", "bos_sso").unwrap().to_owned();
    browser.set_cookie("globex.localhost", "bos_sso", &cookie);
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    let elsewhere = back.replace("acme.localhost", "globex.localhost");
    browser.get(&elsewhere).await.problem(400, "invalid-sso-state");
    // Nor does the code that comes of it.
    let code = world.come_back(&mut browser, &back).await.expect("a code");
    browser.post_json(&at("/auth/sso/token"), &json!({ "code": code })).await.problem(400, "invalid-sso-code");
    assert_eq!(world.n_sessions().await, 0);
    let tokens = world.redeem(&mut browser, &code).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    // The person that the provider knows is somebody in acme, and nobody in globex.
    let start = at(&format!("/auth/sso/{}", theirs.json()["id"].as_str().unwrap()));
    let there = location(&start, &browser.get(&start).await);
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    let onward = location(&back, &browser.get(&back).await);
    assert_eq!(parameter(&onward, "error").as_deref(), Some("sso-link-required"));
    let n = world.app.count("SELECT count(*) FROM auth.sso_identities WHERE tenant_id <> (SELECT tenant_id FROM platform.tenants WHERE slug = 'acme')");
    assert_eq!(n.await, 0);
}

#[tokio::test]
async fn a_code_is_good_once_for_whom_it_was_made_and_not_for_long() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let code_of = async |browser: &mut Browser, query: &str| {
        let there = world.leave_with(browser, &connection, query).await;
        let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
        world.come_back(browser, &back).await.expect("a code")
    };
    let refused = |reply: crate::helpers::Reply| drop(reply.problem(400, "invalid-sso-code"));
    let (mut browser, mut thief) = (Browser::new(), Browser::new());
    // Another browser, with or without a cookie of its own. The code is spent by the attempt.
    let code = code_of(&mut browser, "").await;
    refused(world.redeem(&mut thief, &code).await);
    refused(world.redeem(&mut browser, &code).await);
    // With PKCE the cookie is not enough, nor is another verifier.
    let challenge = "?code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
    for verifier in [None, Some("another-another-another-another-another-another")] {
        let code = code_of(&mut browser, challenge).await;
        let body = json!({"code": code, "code_verifier": verifier});
        refused(browser.post_json(&world.url("acme", "/auth/sso/token"), &body).await);
    }
    assert_eq!(world.n_sessions().await, 0);
    // The verifier of RFC 7636's appendix B is, in whatever browser.
    let code = code_of(&mut browser, challenge).await;
    let body = json!({"code": code, "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"});
    assert_eq!(thief.post_json(&world.url("acme", "/auth/sso/token"), &body).await.status, 200);
    // Replayed, and too late.
    let code = code_of(&mut browser, "").await;
    assert_eq!(world.redeem(&mut browser, &code).await.status, 200);
    refused(world.redeem(&mut browser, &code).await);
    let code = code_of(&mut browser, "").await;
    world.app.db.as_admin("UPDATE auth.sso_codes SET expires_at = clock_timestamp() - interval '1 second'").await;
    refused(world.redeem(&mut browser, &code).await);
    assert_eq!(world.n_sessions().await, 2);
}

#[tokio::test]
async fn browsers_are_not_sent_where_nobody_said_they_may_go() {
    let world = World::new().await;
    let (_liar, connection) = world.with_liar().await;
    let mut browser = Browser::new();
    for bad in
        ["https://evil.example/", "//evil.example/", "/%5Cevil.example", "javascript:alert(1)", "https://app.example/x"]
    {
        let url = world.url("acme", &format!("/auth/sso/{connection}?return_to={bad}"));
        assert_eq!(browser.get(&url).await.pointers(), ["/return_to"], "{bad}");
    }
    for bad in ["code_challenge=short", "code_challenge_method=plain&code_challenge=x"] {
        let url = world.url("acme", &format!("/auth/sso/{connection}?{bad}"));
        assert_eq!(browser.get(&url).await.status, 422, "{bad}");
    }
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_flows").await, 0);
}

#[tokio::test]
async fn a_form_that_another_site_posts_becomes_a_link_that_brings_the_cookie() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let (mut browser, mut bare) = (Browser::new(), Browser::new());
    let there = world.leave(&mut browser, &connection).await;
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    let (state, code) = (parameter(&back, "state").unwrap(), parameter(&back, "code").unwrap());
    // Browsers send no cookie along with it.
    let reply = bare.submit(&world.redirect_uri(), &[("code", &code), ("state", &state), ("session_state", "x")]).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    let link = location(&world.redirect_uri(), &reply);
    assert!(world.come_back(&mut browser, &link).await.is_ok());
    assert_eq!(bare.submit(&world.redirect_uri(), &[("code", &code)]).await.status, 400);
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be_and_costs_nobody_else() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let mut browser = Browser::new();
    let there = world.leave(&mut browser, &connection).await;
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    liar.vanish();
    assert_eq!(world.come_back(&mut browser, &back).await, Err("identity-provider-unavailable".to_owned()));
    // One that nothing is known of is not even left for.
    let gone = world.connect("http://127.0.0.1:9", json!({})).await;
    let reply = browser.get(&world.url("acme", &format!("/auth/sso/{gone}"))).await;
    reply.problem(503, "identity-provider-unavailable");
    assert!(!reply.header("retry-after").is_empty());
    world.assert_nobody_in().await;
    assert_eq!(world.app.try_sign_in("acme", &world.tenant.owner, crate::helpers::PASSWORD).await.status, 200);
}

#[tokio::test]
async fn userinfo_about_somebody_else_is_refused_and_says_nothing_of_the_sign_in() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    liar.set_discovery(json!({"userinfo_endpoint": format!("{}/userinfo", liar.issuer)}));
    world.app.post("acme", &format!("/sso/connections/{connection}/test")).token(&world.owner).await;
    liar.set_user_info(json!({"sub": "victim", "email": "ann@acme.test", "email_verified": true}));
    let without_email = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("email"));
    assert_eq!(world.try_sign_in(&liar, &connection, without_email).await, Err("sso-failed".to_owned()));
    world.assert_nobody_in().await;
    liar.set_user_info(json!({"sub": "ann", "email": "ann@acme.test", "email_verified": true}));
    assert!(world.try_sign_in(&liar, &connection, without_email).await.is_ok());
}
