//! Who a person at a provider is here: found, made, linked, or nobody.

use serde_json::{Value, json};

use crate::browser::{Browser, location};
use crate::helpers::Session;
use crate::liar::Liar;
use crate::world::World;

const LINK: &str = "sso-link-required";
const NO: &str = "sso-not-admitted";

#[tokio::test]
async fn nobody_is_found_or_made_by_an_address_that_the_tenant_has_not_proved_and_given_to_the_connection() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    world.app.user("acme", "member").await;
    let other = Liar::start();
    let unbound = world.connect(&other.issuer, json!({"jit": true})).await;
    // The same address, from a provider that the domain was not given to.
    let member = |claims: &mut Value| claims["email"] = json!("member@acme.test");
    assert_eq!(world.try_sign_in(&other, &unbound, member).await, Err(LINK.to_owned()));
    for (what, change) in [
        ("another domain", json!({"email": "ann@elsewhere.test"})),
        ("a domain below", json!({"email": "ann@sub.acme.test"})),
        ("not the person's", json!({"email_verified": false})),
        ("not the person's, in words", json!({"email_verified": "false"})),
        ("not of the directory", json!({"email_verified": null, "xms_edov": "0"})),
        ("no address", json!({"email": "acme.test"})),
        ("nothing", json!({"email": null})),
    ] {
        let refusal = world.try_sign_in(&liar, &connection, |claims| {
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
        });
        assert_eq!(refusal.await, Err(LINK.to_owned()), "{what}");
    }
    world.assert_nobody_in().await;
    // Where it was, the person is the member from now on, by whatever address.
    assert!(world.try_sign_in(&liar, &connection, member).await.is_ok());
    assert!(world.try_sign_in(&liar, &connection, |claims| claims["email"] = json!("x@elsewhere.test")).await.is_ok());
    let n = world.app.count("SELECT count(*) FROM auth.sso_identities i JOIN auth.users u ON u.id = i.user_id WHERE u.email = 'member@acme.test'");
    assert_eq!(n.await, 1);
}

#[tokio::test]
async fn an_address_that_was_given_to_somebody_else_does_not_bring_the_account_with_it() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    assert_eq!(world.sign_in(&liar, &connection, "first ann", "ann@acme.test").await.status, 200);
    let second = world.try_sign_in(&liar, &connection, |claims| claims["sub"] = json!("second ann"));
    assert_eq!(second.await, Err(LINK.to_owned()));
}

#[tokio::test]
async fn an_owner_is_not_found_by_their_address() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    // Whoever sets up a provider as an admin would be an owner a minute later.
    let owner = |claims: &mut Value| claims["email"] = json!("owner@acme.test");
    assert_eq!(world.try_sign_in(&liar, &connection, owner).await, Err(LINK.to_owned()));
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn nobody_who_was_switched_off_or_deleted_comes_back_by_a_provider() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let tokens = world.sign_in(&liar, &connection, "ann", "ann@acme.test").await;
    let session = Session::of(&tokens);
    let id = world.app.get("acme", "/auth/me").token(&session).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/users/{id}");
    let mut browser = Browser::new();
    let there = world.leave(&mut browser, &connection).await;
    let back = liar.admit(&there, &liar.claims(&there, "ann", "ann@acme.test"));
    let code = world.come_back(&mut browser, &back).await.expect("a code");

    let suspend = world.app.patch("acme", &path).token(&world.owner).json(&json!({"state": "suspended"})).await;
    assert_eq!(suspend.status, 200, "{suspend:?}");
    world.app.get("acme", "/auth/me").token(&session).await.problem(401, "invalid-token");
    // Neither with a code from before, nor anew, nor as another person of the same address.
    world.redeem(&mut browser, &code).await.problem(403, NO);
    assert_eq!(world.try_sign_in(&liar, &connection, |_| {}).await, Err(NO.to_owned()));
    assert_eq!(
        world.try_sign_in(&liar, &connection, |claims| claims["sub"] = json!("again")).await,
        Err(NO.to_owned())
    );

    let delete = world.app.delete("acme", &path).token(&world.owner).await;
    assert_eq!(delete.status, 204, "{delete:?}");
    assert_eq!(world.try_sign_in(&liar, &connection, |_| {}).await, Err(NO.to_owned()));
    assert_eq!(world.app.count("SELECT count(*) FROM auth.users WHERE email_norm = 'ann@acme.test'").await, 0);
}

#[tokio::test]
async fn strangers_become_users_only_where_the_connection_makes_them() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    assert_eq!(world.change(&connection, json!({"jit": false})).await.status, 200);
    assert_eq!(world.try_sign_in(&liar, &connection, |_| {}).await, Err(NO.to_owned()));
    world.assert_nobody_in().await;
}

#[tokio::test]
async fn groups_become_roles_and_follow_the_provider_where_they_shall() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let rules = json!([{"value": "it", "role": "admin"}, {"value": "accounts", "role": "billing"}]);
    let change = json!({"role_claim": "groups", "role_map": rules, "sync_roles": true});
    assert_eq!(world.change(&connection, change).await.status, 200);
    let role_with = async |groups: Value| {
        let mut browser = Browser::new();
        let there = world.leave(&mut browser, &connection).await;
        let mut claims = liar.claims(&there, "ann", "ann@acme.test");
        claims["groups"] = groups;
        let code = world.come_back(&mut browser, &liar.admit(&there, &claims)).await.expect("a code");
        let session = Session::of(&world.redeem(&mut browser, &code).await);
        let me = world.app.get("acme", "/auth/me").token(&session).await.json();
        (me["role"].as_str().unwrap().to_owned(), session)
    };
    let (role, first) = role_with(json!(["it", "accounts"])).await;
    assert_eq!(role, "admin");
    let (role, _) = role_with(json!("accounts")).await;
    assert_eq!(role, "billing");
    // What the first token said is not true any more.
    world.app.get("acme", "/auth/me").token(&first).await.problem(401, "invalid-token");
    assert_eq!(role_with(json!([])).await.0, "member");
}

#[tokio::test]
async fn a_user_links_their_own_identity_and_nobody_elses() {
    let world = World::new().await;
    let liar = Liar::start();
    let connection = world.connect(&liar.issuer, json!({})).await;
    let member = world.app.user("acme", "member").await;
    let body = json!({ "connection": connection });
    let start = async |session: &Session| {
        let reply = world.app.post("acme", "/auth/sso/link").token(session).json(&body).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["start_url"].as_str().unwrap().to_owned()
    };
    let code_of = async |browser: &mut Browser, start: &str, sub: &str| {
        let there = location(start, &browser.get(start).await);
        let back = liar.admit(&there, &liar.claims(&there, sub, "whoever@elsewhere.test"));
        world.come_back(browser, &back).await.expect("a code")
    };
    let redeem = async |browser: &Browser, session: Option<&Session>, code: &str| {
        let cookie = format!("bos_sso={}", browser.cookie("acme.localhost", "bos_sso").unwrap());
        let request =
            world.app.post("acme", "/auth/sso/token").header("cookie", &cookie).json(&json!({ "code": code }));
        match session {
            Some(session) => request.token(session).await,
            None => request.await,
        }
    };
    let mut browser = Browser::new();
    // Somebody who is lured to another one's link brings nothing of theirs along, and gets nothing.
    let lure = start(&member).await;
    let code = code_of(&mut browser, &lure, "victim").await;
    redeem(&browser, None, &code).await.problem(400, "invalid-sso-code");
    let lure = start(&member).await;
    let code = code_of(&mut browser, &lure, "victim").await;
    redeem(&browser, Some(&world.owner), &code).await.problem(400, "invalid-sso-code");
    // A link is left with once.
    browser.get(&lure).await.problem(400, "invalid-sso-state");
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_identities").await, 0);

    let code = code_of(&mut browser, &start(&member).await, "me").await;
    let linked = redeem(&browser, Some(&member), &code).await;
    assert_eq!(linked.status, 204, "{linked:?}");
    let code = code_of(&mut browser, &start(&world.owner).await, "me").await;
    redeem(&browser, Some(&world.owner), &code).await.problem(409, "conflict");
    let session = Session::of(&world.sign_in(&liar, &connection, "me", "whoever@elsewhere.test").await);
    let me = world.app.get("acme", "/auth/me").token(&session).await.json();
    assert_eq!(me["email"], "member@acme.test");
    // An owner links themselves, and is let in from then on.
    let code = code_of(&mut browser, &start(&world.owner).await, "the boss").await;
    assert_eq!(redeem(&browser, Some(&world.owner), &code).await.status, 204);
    assert_eq!(world.sign_in(&liar, &connection, "the boss", "x@y.test").await.status, 200);
}

#[tokio::test]
async fn entra_people_are_known_by_directory_and_object() {
    let world = World::new().await;
    let liar = Liar::start();
    world.prove(&world.tenant, "acme.test").await;
    let oidc = json!({"subject_from": "tid_oid"});
    let connection = world.connect(&liar.issuer, json!({"jit": true, "domains": ["acme.test"], "oidc": oidc})).await;
    assert_eq!(world.try_sign_in(&liar, &connection, |_| {}).await, Err("sso-failed".to_owned()), "no oid");
    let as_object = |tid: &'static str| {
        move |claims: &mut Value| {
            claims["tid"] = json!(tid);
            claims["oid"] = json!("object");
            claims["sub"] = json!(uuid::Uuid::new_v4().to_string());
        }
    };
    for _ in 0..2 {
        assert!(world.try_sign_in(&liar, &connection, as_object("directory")).await.is_ok());
    }
    assert_eq!(world.try_sign_in(&liar, &connection, as_object("another")).await, Err(LINK.to_owned()));
    assert_eq!(world.app.count("SELECT count(*) FROM auth.sso_identities").await, 1);
}

#[tokio::test]
async fn a_user_with_a_factor_here_is_asked_for_it_where_the_providers_does_not_count() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let config = json!({"mfa_required": true, "sso": {"return_urls": []}});
    let path = format!("/tenants/{}/config", world.tenant.id);
    let put = world.app.put("acme", &path).token(&world.owner).header("if-match", "\"1\"").json(&config).await;
    assert_eq!(put.status, 200, "{put:?}");
    let answer = world.sign_in(&liar, &connection, "ann", "ann@acme.test").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["mfa_required"], true);
    assert_eq!(world.n_sessions().await, 0);
}

#[tokio::test]
async fn whom_scim_has_removed_is_not_made_again_by_a_provider() {
    let world = World::new().await;
    let (liar, connection) = world.with_liar().await;
    let departed = "INSERT INTO auth.scim_departures (tenant_id, name_hash)
                    SELECT tenant_id, sha256('gone@acme.test') FROM platform.tenants WHERE slug = 'acme'";
    world.app.db.as_admin(departed).await;
    let gone = |claims: &mut Value| claims["email"] = json!("gone@acme.test");
    assert_eq!(world.try_sign_in(&liar, &connection, gone).await, Err(NO.to_owned()));
    world.assert_nobody_in().await;
}
