//! Usage events over HTTP: counted once, however often and at once they are sent.

use std::sync::Arc;

use businessos::clock;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::api_keys::make_key;
use crate::helpers::{App, Reply, Session, spawn_app, spawn_app_on};

/// An event without a time.
pub fn event(id: &str, meter: &str, quantity: i64) -> Value {
    json!({ "id": id, "meter": meter, "quantity": quantity })
}

/// Posts events to acme.
pub async fn post(app: &App, by: &Session, events: Value) -> Reply {
    app.post("acme", "/billing/usage/events").token(by).json(&json!({ "events": events })).await
}

/// The statuses of the answer to events.
#[track_caller]
pub fn statuses(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let results = reply.json()["results"].as_array().unwrap().clone();
    results.iter().map(|result| result["status"].as_str().unwrap().to_owned()).collect()
}

/// What acme used of a meter in a period.
pub async fn used(app: &App, by: &Session, meter: &str, period: &str) -> Value {
    let query = if period.is_empty() { String::new() } else { format!("?period={period}") };
    let reply = app.get("acme", &format!("/billing/usage{query}")).token(by).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let meters = reply.json()["meters"].as_array().unwrap().clone();
    meters.into_iter().find(|found| found["meter"] == meter).unwrap_or_else(|| panic!("no {meter}: {reply:?}"))
}

async fn world() -> (App, Session) {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    (app, owner)
}

#[tokio::test]
async fn an_event_that_is_sent_again_is_a_duplicate_and_counted_once() {
    let (app, owner) = world().await;
    let events = json!([event("a", "workflow_runs", 3), event("b", "ai_tokens", 500)]);
    let first = post(&app, &owner, events.clone()).await;
    assert_eq!(statuses(&first), ["accepted", "accepted"]);
    assert_eq!(first.json()["results"][1]["id"], "b");
    assert_eq!(first.header("cache-control"), "no-store");
    assert_eq!(statuses(&post(&app, &owner, events).await), ["duplicate", "duplicate"]);
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 3);
    assert_eq!(used(&app, &owner, "ai_tokens", "").await["used"], 500);
    assert_eq!(app.count("SELECT count(*) FROM billing.usage_events").await, 2);
}

#[tokio::test]
async fn another_event_under_the_same_id_is_a_conflict() {
    let (app, owner) = world().await;
    let now = clock::now();
    let at = |at| json!({ "id": "timed", "meter": "workflow_runs", "quantity": 1, "occurred_at": at });
    let events = json!([event("a", "workflow_runs", 3), at(now)]);
    assert_eq!(statuses(&post(&app, &owner, events).await), ["accepted", "accepted"]);
    let others = json!([
        event("a", "workflow_runs", 4),
        event("a", "ai_tokens", 3),
        { "id": "a", "meter": "workflow_runs", "quantity": 3, "dims": { "region": "eu" } },
        at(now - TimeDelta::seconds(1)),
        event("timed", "workflow_runs", 1),
        event("a", "workflow_runs", 3),
        at(now),
    ]);
    let reply = post(&app, &owner, others).await;
    let expected = ["conflict", "conflict", "conflict", "conflict", "conflict", "duplicate", "duplicate"];
    assert_eq!(statuses(&reply), expected);
    assert!(reply.json()["results"][0]["detail"].as_str().unwrap().starts_with("id: "), "{reply:?}");
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 4);
}

#[tokio::test]
async fn a_batch_is_answered_event_by_event() {
    let (app, owner) = world().await;
    post(&app, &owner, json!([event("known", "workflow_runs", 1)])).await;
    let events = json!([
        event("new", "workflow_runs", 10),
        event("known", "workflow_runs", 1),
        event("no-meter", "nothing", 1),
        event("no-name", "No Meter", 1),
        event("negative", "workflow_runs", -1),
        event("huge", "workflow_runs", i64::MAX),
        event("new", "workflow_runs", 10),
        event("new", "workflow_runs", 11),
    ]);
    let reply = post(&app, &owner, events).await;
    let expected = ["accepted", "duplicate", "rejected", "rejected", "rejected", "rejected", "duplicate", "conflict"];
    assert_eq!(statuses(&reply), expected);
    for (place, field) in [(2, "meter: "), (3, "meter: "), (4, "quantity: "), (5, "quantity: ")] {
        let detail = reply.json()["results"][place]["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(field), "{detail}");
    }
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 11);
    // What was refused may come again, put right.
    let reply = post(&app, &owner, json!([event("negative", "workflow_runs", 1)])).await;
    assert_eq!(statuses(&reply), ["accepted"]);
}

#[tokio::test]
async fn the_same_batch_from_many_at_once_is_counted_once() {
    let (app, owner) = world().await;
    let batch: Value = (0..100).map(|n| event(&format!("e{n}"), "workflow_runs", n)).collect();
    // In another order, so that whoever locks in the order of arrival runs into a deadlock.
    let backwards: Value = (0..100).rev().map(|n| event(&format!("e{n}"), "workflow_runs", n)).collect();
    let posts = (0..12).map(|n| post(&app, &owner, if n % 2 == 0 { batch.clone() } else { backwards.clone() }));
    let all: Vec<String> = join_all(posts).await.iter().flat_map(statuses).collect();
    let n = |status: &str| all.iter().filter(|found| *found == status).count();
    assert_eq!((n("accepted"), n("duplicate")), (100, 1_100));
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 4_950);
}

#[tokio::test]
async fn a_thousand_events_fit_and_one_more_does_not() {
    let (app, owner) = world().await;
    let many = |n: usize| -> Value {
        let dims = json!({ "workflow": "w".repeat(200), "user": "u".repeat(200) });
        let one = |n| {
            json!({ "id": format!("{n:036}"), "meter": "workflow_runs", "quantity": 1, "dims": dims,
                              "occurred_at": clock::now() })
        };
        (0..n).map(one).collect()
    };
    let reply = post(&app, &owner, many(1_000)).await;
    assert!(statuses(&reply).iter().all(|status| status == "accepted"), "{reply:?}");
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 1_000);
    assert_eq!(post(&app, &owner, many(1_001)).await.pointers(), ["/events"]);
    assert_eq!(post(&app, &owner, json!([])).await.pointers(), ["/events"]);
    let large = "x".repeat(2 << 20);
    let reply = post(&app, &owner, json!([event(&large, "workflow_runs", 1)])).await;
    reply.problem(413, "payload-too-large");
}

#[tokio::test]
async fn events_that_cannot_be_named_are_refused_together() {
    let (app, owner) = world().await;
    let pointers = async |events: Value| post(&app, &owner, events).await.pointers();
    assert_eq!(
        pointers(json!([event("", "workflow_runs", 1), event("good", "workflow_runs", 1), event("a\u{0}", "x", 1)]))
            .await,
        ["/events/0/id", "/events/2/id"]
    );
    assert_eq!(
        pointers(json!([{ "id": 5, "meter": "ai_tokens", "quantity": 1 }, 7])).await,
        ["/events/0/id", "/events/1"]
    );
    assert_eq!(app.count("SELECT count(*) FROM billing.usage_dedup").await, 0);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_holds_up_no_other() {
    let (app, owner) = world().await;
    let poison = |id: &str, more: Value| {
        let mut event = event(id, "ai_tokens", 1);
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let bad = [
        (poison("a", json!({ "quantity": "1" })), "quantity: "),
        (poison("b", json!({ "quantity": 1.5 })), "quantity: "),
        (poison("c", json!({ "occurred_at": "today" })), "occurred_at: "),
        (poison("d", json!({ "tenant": "globex" })), "tenant: unknown field"),
        (poison("e", json!({ "dims": { "x": 1 } })), "dims.x: "),
        (poison("h", json!({ "source": null })), "source: unknown field"),
        (poison("f", json!({ "dims": { "a": "\u{0}" } })), ""),
        (json!({ "id": "g", "meter": "ai_tokens" }), "missing field `quantity`"),
    ];
    let mut events: Vec<Value> = bad.iter().map(|(event, _)| event.clone()).collect();
    events.push(event("good", "ai_tokens", 1));
    let reply = post(&app, &owner, json!(events)).await;
    let mut expected = vec!["rejected"; bad.len()];
    expected.push("accepted");
    assert_eq!(statuses(&reply), expected, "{reply:?}");
    for (place, (event, why)) in bad.iter().enumerate() {
        let result = &reply.json()["results"][place];
        assert_eq!(result["id"], event["id"]);
        assert!(result["detail"].as_str().unwrap().starts_with(why), "{result}");
    }
    assert_eq!(app.count("SELECT count(*) FROM billing.usage_dedup").await, 1);
}

#[tokio::test]
async fn late_usage_goes_where_it_belongs_and_what_is_too_old_or_in_the_future_nowhere() {
    let (app, owner) = world().await;
    let now = clock::now();
    let at = |id: &str, days: i64| json!({ "id": id, "meter": "workflow_runs", "quantity": 1, "occurred_at": now - TimeDelta::days(days) });
    let soon =
        json!({ "id": "soon", "meter": "workflow_runs", "quantity": 1, "occurred_at": now + TimeDelta::minutes(4) });
    let later =
        json!({ "id": "later", "meter": "workflow_runs", "quantity": 1, "occurred_at": now + TimeDelta::hours(1) });
    let events = json!([at("today", 0), at("closed", 40), at("ancient", 70), soon, later]);
    let reply = post(&app, &owner, events.clone()).await;
    assert_eq!(statuses(&reply), ["accepted", "accepted", "rejected", "accepted", "rejected"]);
    for place in [2, 4] {
        let detail = reply.json()["results"][place]["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("occurred_at: "), "{detail}");
    }
    // Forty days ago is a month that was closed at least five days ago, or the one before that.
    let period = (now - TimeDelta::days(40)).format("%Y-%m").to_string();
    let closed = used(&app, &owner, "workflow_runs", &period).await;
    assert_eq!((&closed["used"], &closed["late"]), (&json!(0), &json!(1)), "{closed}");
    assert_eq!(app.count("SELECT count(*) FROM billing.usage_events WHERE is_late").await, 1);
    assert_eq!(statuses(&post(&app, &owner, events).await)[1], "duplicate");
}

#[tokio::test]
async fn whoever_knew_an_event_knows_it_still_when_it_is_too_old() {
    let a = spawn_app(|_| {}).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.gateway.public_port = a.port;
        settings.metering.max_age_days = 1;
    })
    .await;
    let (_, owner) = a.tenant_with_owner("acme").await;
    let occurred_at = clock::now() - TimeDelta::days(3);
    let old = |id: &str, quantity: i64| json!([{ "id": id, "meter": "workflow_runs", "quantity": quantity, "occurred_at": occurred_at }]);
    let posted = async |app: &App, events| statuses(&post(app, &owner, events).await).remove(0);
    assert_eq!(posted(&a, old("known", 1)).await, "accepted");
    assert_eq!(posted(&b, old("unknown", 1)).await, "rejected", "it is too old there");
    assert_eq!(posted(&b, old("known", 1)).await, "duplicate");
    assert_eq!(posted(&b, old("known", 2)).await, "rejected", "another event is looked at as one");
    assert_eq!(posted(&a, old("known", 2)).await, "conflict");
    let counted = a.count("SELECT count(*) FROM billing.usage_events").await;
    assert_eq!(counted, 1);
}

#[tokio::test]
async fn admins_and_keys_for_it_report_usage_and_nobody_else() {
    let (app, owner) = world().await;
    let admin = app.stepped_up("acme", &owner).await;
    let (_, reporter) = make_key("acme", &app, &admin, &["usage:write"]).await;
    let (_, caller) = make_key("acme", &app, &admin, &["gateway:*"]).await;
    let member = app.user("acme", "member").await;
    let as_session = |key: String| Session { access: key, refresh: String::new() };
    let events = json!([event("a", "workflow_runs", 1)]);
    assert_eq!(statuses(&post(&app, &as_session(reporter), events.clone()).await), ["accepted"]);
    assert_eq!(statuses(&post(&app, &admin, events.clone()).await), ["duplicate"], "whoever reports it");
    post(&app, &member, events.clone()).await.problem(403, "forbidden");
    post(&app, &as_session(caller), events).await.problem(403, "insufficient-scope");
    assert_eq!(used(&app, &member, "workflow_runs", "").await["used"], 1, "everybody sees it");
}

#[tokio::test]
async fn tenants_have_their_events_to_themselves() {
    let (app, owner) = world().await;
    let (_, other) = app.tenant_with_owner("globex").await;
    let events = json!([event("a", "workflow_runs", 5)]);
    assert_eq!(statuses(&post(&app, &owner, events.clone()).await), ["accepted"]);
    let there = app.post("globex", "/billing/usage/events");
    let reply = there.token(&other).json(&json!({ "events": events })).await;
    assert_eq!(statuses(&reply), ["accepted"], "the same id in another tenant is another event");
    post(&app, &other, events).await.problem(403, "tenant-mismatch");
    app.get("acme", "/billing/usage").token(&other).await.problem(403, "tenant-mismatch");
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 5);
}

#[tokio::test]
async fn cloud_events_are_taken_in_under_their_source() {
    let (app, owner) = world().await;
    let cloud = |source: &str, kind: &str, data: Value| {
        json!({ "specversion": "1.0", "id": "1", "source": source, "type": kind, "data": data,
                "datacontenttype": "application/json", "traceparent": "00-x" })
    };
    let send = async |events: Value| {
        let request = app.post("acme", "/billing/usage/events").token(&owner);
        request.header("content-type", "application/cloudevents-batch+json").body(events.to_string()).await
    };
    let events = json!([
        cloud("/flows", "workflow_runs", json!({ "quantity": 2 })),
        cloud("/flows/2", "com.acme.used", json!({ "quantity": 3, "meter": "workflow_runs" })),
        cloud("/flows", "workflow_runs", json!({ "quantity": 2 })),
    ]);
    assert_eq!(statuses(&send(events).await), ["accepted", "accepted", "duplicate"]);
    let native = post(&app, &owner, json!([event("1", "workflow_runs", 2)])).await;
    assert_eq!(statuses(&native), ["accepted"], "another source");
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 7);
    let gateway = send(json!([cloud("gateway", "workflow_runs", json!({ "quantity": 1 }))])).await;
    assert_eq!(statuses(&gateway), ["accepted"]);
    assert_eq!(app.count("SELECT count(*) FROM billing.usage_events WHERE source = 'gateway'").await, 0);
    let mut old = cloud("/flows", "workflow_runs", json!({ "quantity": 2 }));
    old["specversion"] = json!("0.3");
    old["id"] = json!("2");
    let half = cloud("/flows/3", "workflow_runs", json!({ "quantity": 0.5 }));
    let reply = send(json!([old, half])).await;
    assert_eq!(statuses(&reply), ["rejected", "rejected"]);
    let details = [0, 1].map(|place| reply.json()["results"][place]["detail"].as_str().unwrap().to_owned());
    assert!(details[0].starts_with("specversion: ") && details[1].starts_with("data.quantity: "), "{details:?}");
    assert_eq!(send(json!([cloud("", "workflow_runs", json!({ "quantity": 2 }))])).await.pointers(), ["/0/source"]);
    assert_eq!(send(json!([])).await.pointers(), [""]);
}

#[tokio::test]
async fn a_tenant_reports_as_many_events_a_minute_as_its_plan_allows() {
    let app = spawn_app(|settings| {
        settings.plans.get_mut("free").unwrap().events_per_minute = None;
        settings.metering.events_per_minute = 1_000;
        settings.plans.get_mut("pro").unwrap().events_per_minute = Some(100_000);
    })
    .await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let batch = |name: &str| -> Value { (0..600).map(|n| event(&format!("{name}/{n}"), "workflow_runs", 1)).collect() };
    assert_eq!(statuses(&post(&app, &owner, batch("a")).await).len(), 600);
    let reply = post(&app, &owner, batch("b")).await;
    reply.problem(429, "rate-limited");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 600, "all or none");
    assert_eq!(statuses(&post(&app, &owner, json!([event("c", "workflow_runs", 1)])).await), ["accepted"]);
    let (operator, path) = (app.operator().await, format!("/operator/tenants/{}/plan", tenant.id));
    let reply = app.post("platform", &path).token(&operator).json(&json!({ "plan": "pro" })).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(statuses(&post(&app, &owner, batch("b")).await).len(), 600, "another plan has its own");
}
