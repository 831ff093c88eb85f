//! What is made of usage events: figures by aggregation, period and day.

use businessos::clock;
use std::collections::BTreeMap;

use businessos::config::{MeterSettings, Settings};
use businessos::domain::meter::{Aggregation, MeterName};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::helpers::spawn_app;
use crate::support::away_from_midnight;
use crate::usage::{event, post, statuses, used};

/// Meters of every aggregation.
fn meters(settings: &mut Settings) {
    let meter =
        |aggregation, unique_by: Option<&str>| MeterSettings { aggregation, unique_by: unique_by.map(str::to_owned) };
    settings.meters = BTreeMap::from(
        [
            ("calls", meter(Aggregation::Count, None)),
            ("peak", meter(Aggregation::Max, None)),
            ("people", meter(Aggregation::Unique, Some("user"))),
            ("size", meter(Aggregation::Latest, None)),
            ("tokens", meter(Aggregation::Sum, None)),
        ]
        .map(|(name, meter)| (MeterName::parse(name).unwrap(), meter)),
    );
}

#[tokio::test]
async fn each_meter_makes_its_own_figure_of_the_same_events() {
    away_from_midnight();
    let app = spawn_app(meters).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    // The second one occurred last.
    for (n, (quantity, seconds_ago, user)) in [(5, 3, "ann"), (2, 1, "bob"), (9, 2, "ann")].into_iter().enumerate() {
        let at = clock::now() - TimeDelta::seconds(seconds_ago);
        let one = |meter: &str| {
            json!({ "id": format!("{meter}{n}"), "meter": meter, "quantity": quantity, "occurred_at": at,
                    "dims": { "user": user } })
        };
        let events: Value = ["calls", "peak", "people", "size", "tokens"].map(one).into_iter().collect();
        assert_eq!(statuses(&post(&app, &owner, events).await), ["accepted"; 5]);
    }
    let reply = app.get("acme", "/billing/usage?by=day").token(&owner).await.json();
    for (meter, figure) in [("calls", 3), ("peak", 9), ("people", 2), ("size", 2), ("tokens", 16)] {
        let found = reply["meters"].as_array().unwrap().iter().find(|found| found["meter"] == meter).unwrap();
        assert_eq!(found["used"], figure, "{found}");
        let last = found["days"].as_array().unwrap().last().unwrap();
        assert_eq!(last["quantity"], figure, "{found}");
    }
    let without = post(&app, &owner, json!([event("x", "people", 1)])).await;
    assert_eq!(statuses(&without), ["rejected"], "a meter of different values needs one");
}

#[tokio::test]
async fn usage_shows_every_meter_with_the_plans_limits() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let reply = app.get("acme", "/billing/usage").token(&owner).await.json();
    assert_eq!(reply["period"], clock::now().format("%Y-%m").to_string());
    let names: Vec<_> = reply["meters"].as_array().unwrap().iter().map(|meter| meter["meter"].clone()).collect();
    assert_eq!(names, ["ai_tokens", "connector_calls", "workflow_runs"]);
    let nothing = json!({
        "meter": "ai_tokens", "used": 0, "reserved": 0, "late": 0, "included": 10_000, "soft_limit": 10_000,
        "hard_limit": null, "state": "ok", "overage_minor": null,
    });
    assert_eq!(reply["meters"][0], nothing);
    for (quantity, state) in [(7_999, "ok"), (1, "warn"), (2_000, "paused")] {
        post(&app, &owner, json!([event(&format!("e{quantity}"), "ai_tokens", quantity)])).await;
        assert_eq!(used(&app, &owner, "ai_tokens", "").await["state"], state);
    }
    let past = app.get("acme", "/billing/usage?period=2001-02").token(&owner).await.json();
    assert_eq!((&past["start"], &past["meters"][0]), (&json!("2001-02-01T00:00:00Z"), &nothing));
    for (query, field) in [("period=2001", "/period"), ("period=2001-13", "/period"), ("by=hour", "/by")] {
        let reply = app.get("acme", &format!("/billing/usage?{query}")).token(&owner).await;
        assert_eq!(reply.pointers(), [field]);
    }
}

#[tokio::test]
async fn a_figure_that_is_full_rejects_and_does_not_fail() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    assert_eq!(statuses(&post(&app, &owner, json!([event("a", "ai_tokens", 1)])).await), ["accepted"]);
    app.db.as_admin(&format!("UPDATE billing.usage_counters SET used = {}", i64::MAX / 4 - 10)).await;
    let events = json!([
        event("b", "ai_tokens", 9),
        event("c", "ai_tokens", 9),
        event("a", "ai_tokens", 1),
        event("d", "workflow_runs", 9)
    ]);
    let reply = post(&app, &owner, events).await;
    assert_eq!(statuses(&reply), ["accepted", "rejected", "duplicate", "accepted"]);
    assert!(reply.json()["results"][1]["detail"].as_str().unwrap().starts_with("quantity: "), "{reply:?}");
}

#[tokio::test]
async fn the_gateways_view_learns_of_counted_usage() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    post(&app, &owner, json!([event("a", "ai_tokens", 1)])).await;
    let told = app.admin("/metrics").await.body;
    let line = told.lines().find(|line| line.contains("usage_counted") && line.contains("told")).unwrap_or_default();
    assert!(line.ends_with(" 1"), "{line}\n{told}");
    let counted = told.lines().find(|line| line.starts_with("usage_events_total")).unwrap_or_default();
    assert!(counted.contains("accepted") && counted.ends_with(" 1"), "{counted}");
}
