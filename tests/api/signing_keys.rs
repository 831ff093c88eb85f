//! Signing keys: rotation by the clock under load on two nodes, and by hand in an emergency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use businessos::config::SigningAlgorithm;
use futures_util::future::{join, join_all};
use serde_json::Value;

use crate::helpers::{App, Session, spawn_app, spawn_app_on, until};

/// Clients that use their tokens all the while.
const CLIENTS: usize = 4;

/// Two nodes that both look for due keys every second.
async fn two_nodes() -> (App, App) {
    let a = spawn_app(|settings| settings.auth.key_check_s = 1).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.auth.key_check_s = 1;
        settings.gateway.public_port = a.port;
    })
    .await;
    (a, b)
}

async fn kids(app: &App) -> Vec<String> {
    let reply = app.get("acme", "/.well-known/jwks.json").await;
    assert_eq!(reply.header("cache-control"), "public, max-age=300");
    let keys = reply.json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

fn kid(session: &Session) -> String {
    header(&session.access)["kid"].as_str().unwrap().to_owned()
}

async fn states(app: &App, path: &str, session: &Session) -> Vec<String> {
    let reply = app.get("acme", path).token(session).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let keys = reply.json()["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

/// A client: refreshes on one node and uses the token on both, again and again. Every answer must be good.
async fn use_tokens(a: &App, b: &App, mut session: Session, stop: &AtomicBool, n_rounds: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        for node in [a, b] {
            let before = session;
            session = Session::of(&node.refresh("acme", &before.refresh).await);
            for token in [&before, &session] {
                for verifier in [a, b] {
                    let reply = verifier.get("acme", "/auth/validate").token(token).await;
                    assert_eq!(reply.status, 200, "{reply:?}");
                }
            }
        }
        n_rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until every client has begun and ended a round from now on.
async fn one_more_round(n_rounds: &[AtomicU64]) {
    let wanted: Vec<_> = n_rounds.iter().map(|n| n.load(Ordering::Relaxed) + 2).collect();
    let done = async || n_rounds.iter().zip(&wanted).all(|(n, wanted)| n.load(Ordering::Relaxed) >= *wanted);
    until("every client goes on", done).await;
}

#[tokio::test]
async fn a_rotation_under_load_on_two_nodes_fails_no_valid_token() {
    let (a, b) = two_nodes().await;
    let tenant = a.onboard("acme").await;
    let mut sessions = Vec::new();
    for _ in 0..=CLIENTS {
        sessions.push(a.sign_in("acme", &tenant.owner).await);
    }
    let watcher = sessions.pop().unwrap();
    let path = format!("/tenants/{}/keys", tenant.id);
    let stop = AtomicBool::new(false);
    let n_rounds: Vec<_> = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
    let clients =
        join_all(sessions.into_iter().zip(&n_rounds).map(|(session, n)| use_tokens(&a, &b, session, &stop, n)));

    let drive = async {
        let old = kids(&a).await;
        assert_eq!(old.len(), 1);
        assert_eq!(states(&a, &path, &watcher).await, ["active"]);
        one_more_round(&n_rounds).await;

        // It has signed for longer than any key does: the next one is published.
        a.db.as_admin("UPDATE auth.signing_keys SET activated_at = now() - interval '40 days'").await;
        until("both nodes publish a new key", async || kids(&a).await.len() == 2 && kids(&b).await.len() == 2).await;
        assert_eq!(states(&a, &path, &watcher).await, ["pending", "active"]);
        one_more_round(&n_rounds).await;
        let fresh = Session::of(&a.refresh("acme", &watcher.refresh).await);
        assert_eq!(kid(&fresh), old[0], "a key that was just published does not sign");

        // Everybody may have seen it: it signs, and the old one verifies.
        let aged = "UPDATE auth.signing_keys SET created_at = now() - interval '1 hour' WHERE state = 'pending'";
        a.db.as_admin(aged).await;
        let new = kids(&a).await.into_iter().find(|kid| *kid != old[0]).unwrap();
        let mut latest = fresh;
        for node in [&a, &b] {
            until("the new key signs", async || {
                latest = Session::of(&node.refresh("acme", &latest.refresh).await);
                kid(&latest) == new
            })
            .await;
        }
        assert_eq!(states(&b, &path, &latest).await, ["retiring", "active"].map(str::to_owned));
        assert_eq!(a.get("acme", "/auth/validate").token(&watcher).await.status, 200, "signed by the old key");
        assert_eq!(kids(&a).await.len(), 2);
        one_more_round(&n_rounds).await;

        // Its last token would be dead by now.
        a.db.as_admin("UPDATE auth.signing_keys SET retired_at = now() - interval '1 hour' WHERE state = 'retiring'")
            .await;
        until("the old key is gone", async || kids(&a).await == [new.clone()] && kids(&b).await == [new.clone()]).await;
        a.get("acme", "/auth/validate").token(&watcher).await.problem(401, "invalid-token");
        one_more_round(&n_rounds).await;
        stop.store(true, Ordering::Relaxed);
    };
    join(drive, clients).await;

    // Two nodes looked, and each step was made once.
    for action in ["publish", "activate", "remove"] {
        let audited = format!(
            "SELECT count(*) FROM platform.audit_log l JOIN platform.tenants t USING (tenant_id)
                               WHERE action = 'signing_key.{action}' AND actor_kind = 'system' AND t.slug = 'acme'"
        );
        assert_eq!(a.count(&audited).await, 1, "{action}");
    }
    // Nothing is due for weeks.
    let due =
        "SELECT count(*) FROM platform.directory WHERE slug = 'acme' AND keys_due_at > now() + interval '26 days'";
    until("the next look is weeks away", async || a.count(due).await == 1).await;
}

#[tokio::test]
async fn both_algorithms_verify_while_one_takes_over_from_the_other() {
    let a = spawn_app(|settings| settings.auth.key_check_s = 3_600).await;
    let (_, old) = a.tenant_with_owner("acme").await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.auth.key_check_s = 1;
        settings.auth.signing_algorithm = SigningAlgorithm::EdDsa;
        settings.gateway.public_port = a.port;
    })
    .await;
    assert_eq!(header(&old.access)["alg"], "ES256");
    a.db.as_admin("UPDATE auth.signing_keys SET activated_at = now() - interval '40 days'").await;
    until("a new key is published", async || kids(&a).await.len() == 2).await;
    a.db.as_admin("UPDATE auth.signing_keys SET created_at = now() - interval '1 hour' WHERE state = 'pending'").await;
    let mut new = old.clone();
    until("the new key signs", async || {
        new = Session::of(&a.refresh("acme", &new.refresh).await);
        header(&new.access)["alg"] == "EdDSA"
    })
    .await;
    for node in [&a, &b] {
        for session in [&old, &new] {
            assert_eq!(node.get("acme", "/auth/validate").token(session).await.status, 200);
        }
    }
}

#[tokio::test]
async fn in_an_emergency_all_access_tokens_die_and_sessions_live_on() {
    let (a, b) = two_nodes().await;
    let (tenant, owner) = a.tenant_with_owner("acme").await;
    let member = a.user("acme", "member").await;
    let (globex, foreigner) = a.tenant_with_owner("globex").await;
    let before = kids(&a).await;
    let path = format!("/tenants/{}/keys/rotate", tenant.id);
    let reply = a.post("acme", &path).token(&owner).await;
    reply.problem(401, "insufficient_user_authentication");
    assert!(reply.header("www-authenticate").contains("acr_values=\"aal2\""), "{reply:?}");
    a.post("acme", &path).token(&member).await.problem(403, "forbidden");
    assert_eq!(kids(&a).await, before);

    let owner = a.stepped_up("acme", &owner).await;
    assert_eq!(b.get("acme", "/auth/me").token(&member).await.status, 200);
    a.post("acme", &format!("/tenants/{}/keys/rotate", globex.id)).token(&owner).await.problem(404, "not-found");
    let reply = a.post("acme", &path).token(&owner).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let keys = reply.json()["keys"].as_array().unwrap().clone();
    assert_eq!((keys.len(), &keys[0]["state"]), (1, &"active".into()));
    let after = kids(&a).await;
    assert_eq!(after, [keys[0]["kid"].as_str().unwrap()]);
    assert_ne!(after, before);
    for dead in [&owner, &member] {
        a.get("acme", "/auth/me").token(dead).await.problem(401, "invalid-token");
        until("the other node refuses", async || b.get("acme", "/auth/me").token(dead).await.status == 401).await;
    }
    for session in [&owner, &member] {
        let next = Session::of(&b.refresh("acme", &session.refresh).await);
        assert_eq!(a.get("acme", "/auth/me").token(&next).await.status, 200);
        assert_eq!(b.get("acme", "/auth/me").token(&next).await.status, 200);
    }
    assert_eq!(a.get("globex", "/auth/me").token(&foreigner).await.status, 200);
    let audited =
        "SELECT count(*) FROM platform.audit_log WHERE action = 'signing_key.replace_all' AND actor_kind = 'user'";
    assert_eq!(a.count(audited).await, 1);
}

#[tokio::test]
async fn an_operator_may_replace_a_tenants_keys() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let operator = app.operator().await;
    let operator = app.stepped_up("platform", &operator).await;
    let reply = app.post("platform", &format!("/tenants/{}/keys/rotate", tenant.id)).token(&operator).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    app.get("acme", "/auth/me").token(&owner).await.problem(401, "invalid-token");
    let audited = "SELECT count(*) FROM platform.audit_log l JOIN platform.tenants t USING (tenant_id)
                   WHERE action = 'signing_key.replace_all' AND actor_kind = 'operator' AND t.slug = 'acme'";
    assert_eq!(app.count(audited).await, 1);
}
