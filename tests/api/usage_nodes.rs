//! Usage that comes in through several processes: thresholds are announced once, and every admin sees them.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::helpers::{App, Session, assert_soon, routes, spawn_app, spawn_app_on};
use crate::provider::{Provider, reply};
use crate::stream_client::Client;
use crate::usage::{event, post, statuses};

async fn two_nodes() -> (App, App, Session) {
    let a = spawn_app(|_| {}).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| settings.gateway.public_port = a.port).await;
    let (_, owner) = a.tenant_with_owner("acme").await;
    (a, b, owner)
}

/// The durable events up to the one that satisfies `is_last`, as (kind, threshold).
async fn events_until(client: &mut Client, is_last: impl Fn(&Value) -> bool) -> Vec<(String, Option<i64>)> {
    let mut seen = Vec::new();
    loop {
        let event = client.next().await.unwrap();
        if event["id"].is_null() {
            continue;
        }
        seen.push((event["type"].as_str().unwrap().to_owned(), event["threshold"].as_i64()));
        if is_last(&event) {
            return seen;
        }
    }
}

#[tokio::test]
async fn each_threshold_is_announced_once_however_many_processes_count() {
    let (a, b, owner) = two_nodes().await;
    let (mut on_a, mut on_b) = (Client::open(&a, "acme", "", &owner).await, Client::open(&b, "acme", "", &owner).await);
    on_a.snapshot().await;
    on_b.snapshot().await;
    let posts = async |app: &App, name: &str| {
        for n in 0..50 {
            let reply = post(app, &owner, json!([event(&format!("{name}-{n}"), "ai_tokens", 125)])).await;
            assert_eq!(statuses(&reply), ["accepted"]);
        }
    };
    // 12,500 of the free plan's 10,000, from both sides at once.
    tokio::join!(posts(&a, "a"), posts(&b, "b"));
    let crossed = |threshold| ("threshold.crossed".to_owned(), Some(threshold));
    let paused = ("workflow.paused".to_owned(), None);
    let expected = [crossed(50), crossed(80), crossed(100), paused, crossed(120)];
    for client in [&mut on_a, &mut on_b] {
        assert_eq!(events_until(client, |event| event["threshold"] == 120).await, expected);
    }
    assert_eq!(a.count("SELECT count(*) FROM billing.usage_alerts").await, 4);
    assert_eq!(a.count("SELECT used FROM billing.usage_counters WHERE meter = 'ai_tokens'").await, 12_500);
}

#[tokio::test]
async fn an_admin_on_one_process_sees_what_was_used_through_another() {
    let (a, b, owner) = two_nodes().await;
    let mut on_a = Client::open(&a, "acme", "", &owner).await;
    on_a.snapshot().await;
    let reply = post(&b, &owner, json!([event("one", "ai_tokens", 8_000)])).await;
    assert_eq!(statuses(&reply), ["accepted"]);
    let acknowledged = Instant::now();
    events_until(&mut on_a, |event| event["threshold"] == 80).await;
    let delay = acknowledged.elapsed();
    println!("from the acknowledgement to the other process's stream: {delay:?}");
    assert_soon(delay);
}

#[tokio::test]
async fn an_admin_on_one_process_sees_calls_through_another() {
    let service = Provider::start(|_, stream| reply(stream, 200, "", "fine"));
    let a = spawn_app(|_| {}).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.gateway.public_port = a.port;
        settings.gateway.routes = routes(&service.route("/run", "meter = \"ai_tokens\"\nmeter_quantity = 8000"));
    })
    .await;
    let (_, owner) = a.tenant_with_owner("acme").await;
    let mut on_a = Client::open(&a, "acme", "", &owner).await;
    on_a.snapshot().await;
    assert_eq!(b.get("acme", "/run/ok").token(&owner).await.status, 200);
    let answered = Instant::now();
    let update = loop {
        let event = on_a.next().await.unwrap();
        if event["type"] == "usage.updated" && event["meter"] == "ai_tokens" {
            break event;
        }
    };
    let delay = answered.elapsed();
    println!("from the call's answer to the other process's stream: {delay:?}");
    assert_eq!(update["used"], 8_000, "{update}");
    assert_soon(delay);
}
