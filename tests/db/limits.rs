//! Thresholds and pauses: what is announced of counted usage, and that it is announced once.

use businessos::actors::billing_meter::limits;
use businessos::actors::subscriptions::{By, ChangeWish, change};
use businessos::actors::tenant::TenantView;
use businessos::db::usage_counters::{self, CounterChange};
use businessos::db::{Db, DbError, TenantTx};
use businessos::domain::audit::{AuditActor, AuditSource};
use businessos::domain::period::Period;
use futures_util::future::join_all;
use serde_json::json;

use crate::metered::{Metered, ai_tokens, present};

/// Counts, and announces as ingest does: with the counter's row locked.
async fn count(metered: &Metered, db: &Db, view: &TenantView, quantity: i64) {
    let (before, _) = metered.add(present(), quantity).await;
    announce(metered, db, view, before, present()).await.unwrap();
}

async fn announce(metered: &Metered, db: &Db, view: &TenantView, before: i64, period: Period) -> Result<(), DbError> {
    let mut tx = TenantTx::begin(db, metered.tenant).await?;
    let now = usage_counters::lock(&mut tx, &ai_tokens(), period).await?;
    let change = CounterChange { meter: ai_tokens(), before, now };
    limits::announce(&mut tx, view, &[change]).await?;
    tx.commit().await
}

#[tokio::test]
async fn each_threshold_is_announced_once_however_many_count_at_once_and_where() {
    let metered = Metered::new(None).await;
    metered.user("owner@acme.test", "owner", "active", true).await;
    let (one, other, view) = (metered.pool(), metered.pool(), metered.view("free").await);
    let counts = (0..130).map(|n| count(&metered, if n % 2 == 0 { &one } else { &other }, &view, 1));
    join_all(counts).await;
    let mut told = metered.told().await;
    assert!(told.contains(&"workflow.paused".to_owned()), "{told:?}");
    told.retain(|kind| kind != "workflow.paused");
    assert_eq!(told, ["50 %", "80 %", "100 %", "120 %"]);
    let count = async |sql: &str| metered.number(sql).await;
    assert_eq!(count("SELECT count(*) FROM billing.usage_alerts").await, 4);
    assert_eq!(count("SELECT count(*) FROM platform.audit_log WHERE action = 'usage.pause'").await, 1);
    // One mail and one row for each transaction that announced any, told together or one by one.
    let rows = "SELECT count(*) FROM platform.audit_log WHERE action = 'usage.threshold'";
    assert_eq!(count(rows).await, i64::try_from(metered.mails().await.len()).unwrap());
    let told_of = "SELECT count(*) FROM platform.audit_log, jsonb_array_elements(detail -> 'thresholds')
                   WHERE action = 'usage.threshold'";
    assert_eq!(count(told_of).await, 4);
    let to_nodes = count("SELECT count(*) FROM platform.config_log WHERE kind = 'usage'").await;
    assert!((1..=2).contains(&to_nodes), "ok, warn, paused: {to_nodes}");
}

#[tokio::test]
async fn one_mail_to_those_who_run_the_tenant_tells_of_the_highest_threshold() {
    let metered = Metered::new(None).await;
    metered.user("owner@acme.test", "owner", "active", true).await;
    metered.user("admin@acme.test", "admin", "active", true).await;
    metered.user("unproven@acme.test", "admin", "active", false).await;
    metered.user("off@acme.test", "owner", "suspended", true).await;
    metered.user("member@acme.test", "member", "active", true).await;
    let (db, view) = (metered.pool(), metered.view("free").await);
    count(&metered, &db, &view, 85).await;
    let both = |threshold| [("admin@acme.test".to_owned(), threshold), ("owner@acme.test".to_owned(), threshold)];
    assert_eq!(metered.mails().await, both(80));
    count(&metered, &db, &view, 200).await;
    assert_eq!(metered.mails().await[2..], both(120));
    count(&metered, &db, &view, 1_000).await;
    assert_eq!(metered.mails().await.len(), 4, "nothing is left to announce");
    let stream = metered.stream().await;
    let (kind, payload) = &stream[1];
    let period = present();
    let told = json!({
        "meter": "ai_tokens", "period": period.name(), "until": period.end, "threshold": 80, "used": 85, "limit": 100,
        "hard_limit": null, "limit_version": "free@1", "state": "warn", "upgrade_url": view.upgrade_url,
    });
    assert_eq!((kind.as_str(), payload), ("threshold.crossed", &told));
    assert!(view.upgrade_url.starts_with("http"), "a whole URL: {}", view.upgrade_url);
    assert_eq!(metered.told().await, ["50 %", "80 %", "100 %", "120 %", "workflow.paused"]);
}

#[tokio::test]
async fn a_process_asks_the_database_nothing_while_there_is_nothing_to_announce() {
    let metered = Metered::new(None).await;
    let (db, view) = (metered.pool(), metered.view("free").await);
    count(&metered, &db, &view, 60).await;
    // Whatever is asked of a connection whose session is gone fails.
    for (quantity, is_silent) in [(10, true), (10, false)] {
        let (before, _) = metered.add(present(), quantity).await;
        let mut tx = TenantTx::begin(&db, metered.tenant).await.unwrap();
        let now = usage_counters::lock(&mut tx, &ai_tokens(), present()).await.unwrap();
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE usename = 'app_rw' AND datname = current_database()";
        assert!(metered.number(end).await >= 1);
        let changes = [CounterChange { meter: ai_tokens(), before, now }];
        assert_eq!(limits::announce(&mut tx, &view, &changes).await.is_ok(), is_silent, "{quantity} after {before}");
    }
}

#[tokio::test]
async fn usage_of_a_month_that_is_over_announces_nothing() {
    let metered = Metered::new(None).await;
    let (db, view) = (metered.pool(), metered.view("free").await);
    let past = present().previous();
    let (before, _) = metered.add(past, 1_000).await;
    announce(&metered, &db, &view, before, past).await.unwrap();
    assert_eq!(metered.told().await, Vec::<String>::new());
    assert_eq!(metered.number("SELECT count(*) FROM billing.usage_alerts").await, 0);
}

/// The next start has other figures for the plan.
fn raise(metered: &mut Metered, version: u32, soft: i64) {
    let free = metered.settings.plans.get_mut("free").unwrap();
    free.version = version;
    free.meters.get_mut("ai_tokens").unwrap().soft_limit = Some(soft);
}

#[tokio::test]
async fn new_figures_of_a_plan_are_judged_with_the_next_event_and_the_older_process_keeps_silent() {
    let mut metered = Metered::new(None).await;
    let db = metered.pool();
    let old = metered.view("free").await;
    count(&metered, &db, &old, 60).await;
    assert_eq!(metered.told().await, ["50 %"]);
    raise(&mut metered, 2, 50);
    let tighter = metered.view("free").await;
    count(&metered, &db, &tighter, 1).await;
    let told = ["50 %", "50 %", "80 %", "100 %", "120 %", "workflow.paused"];
    assert_eq!(metered.told().await, told, "all that is passed under the new version");
    count(&metered, &db, &old, 30).await;
    assert_eq!(metered.told().await, told, "the older process is no authority any more");
    raise(&mut metered, 3, 1_000);
    let wider = metered.view("free").await;
    count(&metered, &db, &wider, 1).await;
    assert_eq!(metered.told().await[6..], ["workflow.resumed"]);
}

async fn change_plan(metered: &Metered, db: &Db, to: &str) -> Option<i64> {
    metered.record_plans().await;
    let wish = ChangeWish { plan: to.to_owned(), modules: None, coupon: None, by: By::Platform };
    let (actor, source) = (AuditActor::System, AuditSource::default());
    change(db, &metered.settings, metered.tenant, &wish, actor, source).await.unwrap().config_version
}

#[tokio::test]
async fn another_plan_judges_the_usage_at_once() {
    let mut metered = Metered::new(None).await;
    metered.user("owner@acme.test", "owner", "active", true).await;
    let mut small = metered.settings.plans["free"].clone();
    small.meters.get_mut("ai_tokens").unwrap().soft_limit = Some(10);
    metered.settings.plans.insert("small".to_owned(), small);
    let (db, free) = (metered.pool(), metered.view("free").await);
    count(&metered, &db, &free, 100).await;
    assert_eq!(metered.told().await, ["50 %", "80 %", "100 %", "workflow.paused"]);
    assert!(change_plan(&metered, &db, "basic").await.is_some());
    assert_eq!(metered.told().await[4..], ["plan.changed", "workflow.resumed"]);
    assert_eq!(change_plan(&metered, &db, "basic").await, None, "it is on that plan");
    // Back again: nothing is announced twice under the same figures, but it pauses.
    assert!(change_plan(&metered, &db, "free").await.is_some());
    assert_eq!(metered.told().await[6..], ["plan.changed", "workflow.paused"]);
    let n_mails = metered.mails().await.len();
    assert!(change_plan(&metered, &db, "small").await.is_some());
    assert_eq!(metered.told().await[8..], ["plan.changed", "50 %", "80 %", "100 %", "120 %"], "paused it stays");
    assert_eq!(metered.mails().await[n_mails..], [("owner@acme.test".to_owned(), 120)]);
    let (_, payload) = metered.stream().await[8].clone();
    assert_eq!(payload, json!({ "from": "free", "to": "small" }));
    // A plan without limits for the meter.
    let pro = metered.settings.plans.get_mut("pro").unwrap();
    (pro.version, pro.meters) = (2, std::collections::BTreeMap::new());
    assert!(change_plan(&metered, &db, "pro").await.is_some());
    assert_eq!(metered.told().await[13..], ["plan.changed", "workflow.resumed"]);
}

#[tokio::test]
async fn who_has_not_heard_of_the_new_plan_does_not_speak_for_it() {
    let mut metered = Metered::new(None).await;
    metered.settings.plans.get_mut("basic").unwrap().meters.get_mut("ai_tokens").unwrap().soft_limit = Some(200);
    let (db, free, basic) = (metered.pool(), metered.view("free").await, metered.view("basic").await);
    count(&metered, &db, &free, 70).await;
    change_plan(&metered, &db, "basic").await;
    let told = metered.told().await;
    // Under the old plan this pauses; under the new one it crosses a threshold, which the next event has to find.
    count(&metered, &db, &free, 40).await;
    assert_eq!(metered.told().await, told);
    count(&metered, &db, &basic, 1).await;
    assert_eq!(metered.told().await[told.len()..], ["50 %"]);
    assert_eq!(metered.number("SELECT count(*) FROM billing.usage_alerts WHERE limit_version = 'basic@1'").await, 1);
}
