//! Throttling of sign-ins: guessing gets slow, and nobody is locked out by strangers.

use futures_util::future::join_all;
use serde_json::json;

use crate::helpers::{App, PASSWORD, Reply, spawn_app, spawn_app_on};

const OWNER: &str = "owner@acme.test";

/// An application that believes its clients' addresses, so that a test can be many clients.
async fn spawn() -> App {
    spawn_app(|settings| settings.gateway.trusted_proxies = vec!["127.0.0.1/32".to_owned()]).await
}

async fn sign_in_from(app: &App, ip: &str, email: &str, password: &str) -> Reply {
    let body = json!({ "email": email, "password": password });
    app.post("acme", "/auth/login").header("x-forwarded-for", ip).json(&body).await
}

async fn fail(app: &App, ip: &str, email: &str, n: usize) {
    for _ in 0..n {
        sign_in_from(app, ip, email, "wrong guess").await.problem(401, "invalid-credentials");
    }
}

/// Lets time pass for what is remembered of failures.
async fn wait_s(app: &App, seconds: u32) {
    let sql =
        format!("UPDATE auth.sign_in_attempts SET last_failure_at = last_failure_at - interval '{seconds} seconds'");
    app.db.as_admin(&sql).await;
}

/// Puts the last failures ten seconds ahead, so that no delay is over before a slow machine has looked at it.
async fn hold(app: &App) {
    app.db
        .as_admin("UPDATE auth.sign_in_attempts SET last_failure_at = clock_timestamp() + interval '10 seconds'")
        .await;
}

fn retry_after(reply: &Reply) -> u64 {
    reply.problem(429, "too-many-attempts");
    reply.header("retry-after").parse().unwrap()
}

#[tokio::test]
async fn guesses_are_delayed_from_the_sixth_on_and_longer_each_time() {
    let app = spawn().await;
    app.onboard("acme").await;
    fail(&app, "192.0.2.1", OWNER, 5).await;
    for expected in [1, 2, 4, 8] {
        // From the whole network, and with the right password too: nothing is checked.
        hold(&app).await;
        let reply = sign_in_from(&app, "192.0.2.99", OWNER, PASSWORD).await;
        assert!((expected..=expected + 10).contains(&retry_after(&reply)), "{expected}: {reply:?}");
        wait_s(&app, 900).await;
        fail(&app, "192.0.2.1", OWNER, 1).await;
    }
    wait_s(&app, 900).await;
    assert_eq!(sign_in_from(&app, "192.0.2.1", OWNER, PASSWORD).await.status, 200);
    // A right password forgives.
    fail(&app, "192.0.2.1", OWNER, 5).await;
    let delays = "SELECT count(*) FROM platform.audit_log WHERE detail ? 'delay_s'";
    assert_eq!(app.count(delays).await, 6, "what begins a delay says so in the audit log");
}

#[tokio::test]
async fn a_strangers_guesses_do_not_slow_the_user_down() {
    let app = spawn().await;
    app.onboard("acme").await;
    fail(&app, "192.0.2.1", OWNER, 5).await;
    hold(&app).await;
    retry_after(&sign_in_from(&app, "192.0.2.1", OWNER, "wrong guess").await);
    assert_eq!(sign_in_from(&app, "198.51.100.7", OWNER, PASSWORD).await.status, 200);
    assert_eq!(sign_in_from(&app, "2001:db8::7", OWNER, PASSWORD).await.status, 200);
    // Nor do other accounts feel it in the same network.
    fail(&app, "192.0.2.1", "other@acme.test", 5).await;
}

#[tokio::test]
async fn after_a_hundred_failures_from_everywhere_only_known_networks_go_on() {
    let app = spawn().await;
    app.onboard("acme").await;
    assert_eq!(sign_in_from(&app, "198.51.100.7", OWNER, PASSWORD).await.status, 200);
    for network in 0..20 {
        fail(&app, &format!("10.0.{network}.1"), OWNER, 5).await;
    }
    let stranger = sign_in_from(&app, "203.0.113.1", OWNER, PASSWORD).await;
    assert!((3_500..=3_600).contains(&retry_after(&stranger)), "{stranger:?}");
    assert_eq!(sign_in_from(&app, "198.51.100.200", OWNER, PASSWORD).await.status, 200, "a known network");
    assert_eq!(sign_in_from(&app, "203.0.113.1", OWNER, PASSWORD).await.status, 200, "forgiven");
}

#[tokio::test]
async fn unknown_users_are_throttled_and_answered_the_same() {
    let app = spawn().await;
    app.onboard("acme").await;
    for email in [OWNER, "nobody@acme.test", "no address"] {
        let failed = sign_in_from(&app, "192.0.2.1", email, "wrong guess").await;
        let expected = sign_in_from(&app, "192.0.2.1", "somebody@acme.test", "wrong guess").await;
        assert_eq!((failed.status, failed.anonymous()), (expected.status, expected.anonymous()), "{email}");
        let names =
            |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names(&failed), names(&expected), "{email}");
        fail(&app, "192.0.2.1", email, 4).await;
        hold(&app).await;
        let throttled = sign_in_from(&app, "192.0.2.1", email, "wrong guess").await;
        assert!((1..=11).contains(&retry_after(&throttled)), "{email}: {throttled:?}");
    }
}

#[tokio::test]
async fn of_many_guesses_after_a_delay_one_is_looked_at() {
    let app = spawn().await;
    app.onboard("acme").await;
    fail(&app, "192.0.2.1", OWNER, 5).await;
    app.db.as_admin("UPDATE auth.sign_in_attempts SET n_failures = 12").await;
    wait_s(&app, 900).await;
    let guesses = join_all((0..16).map(|_| sign_in_from(&app, "192.0.2.1", OWNER, "wrong guess"))).await;
    let n_looked_at = guesses.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(n_looked_at, 1, "{guesses:?}");
}

#[tokio::test]
async fn a_restart_and_another_node_remember() {
    let app = spawn().await;
    app.onboard("acme").await;
    fail(&app, "127.0.0.1", OWNER, 5).await;
    hold(&app).await;
    let other = spawn_app_on(std::sync::Arc::clone(&app.db), None, |_| {}).await;
    retry_after(&other.try_sign_in("acme", OWNER, PASSWORD).await);
}

#[tokio::test]
async fn guessing_the_present_password_counts_too() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let body = json!({ "current_password": "wrong guess", "new_password": "a whole new sentence" });
    for _ in 0..5 {
        let reply = app.post("acme", "/auth/password").token(&owner).json(&body).await;
        assert_eq!(reply.pointers(), ["/current_password"]);
    }
    hold(&app).await;
    retry_after(&app.post("acme", "/auth/password").token(&owner).json(&body).await);
}
