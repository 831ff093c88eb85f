//! Usage is priced by the terms of its own month, whenever it is reported and however they ended.

use businessos::actors::billing::close::{close_period, preview};
use businessos::actors::subscriptions::due::change_due_of;
use businessos::actors::subscriptions::{By, ChangeWish, cancel, change};
use businessos::clock;
use businessos::db::Db;
use businessos::domain::audit::{AuditActor, AuditSource};
use businessos::domain::period::Period;
use chrono::TimeDelta;

use crate::closing::{agree, issued, keys, next, subscribed};
use crate::metered::{Metered, present};

async fn close(metered: &Metered, db: &Db, period: Period) -> bool {
    let closed = close_period(db, &metered.settings, metered.tenant, period).await.unwrap();
    closed.unwrap().invoice.is_some()
}

async fn wish(metered: &Metered, db: &Db, plan: &str, seen: i64) {
    let wish = ChangeWish { plan: plan.to_owned(), modules: None, coupon: None, by: By::Tenant { seen } };
    change(db, &metered.settings, metered.tenant, &wish, AuditActor::System, AuditSource::default()).await.unwrap();
}

async fn stop(metered: &Metered, db: &Db, at_period_end: bool, seen: i64) {
    let (actor, source) = (AuditActor::System, AuditSource::default());
    cancel(db, &metered.settings, metered.tenant, at_period_end, clock::now(), seen, actor, source).await.unwrap();
}

/// What was agreed for the month's end is done, days after it.
async fn begin_next(metered: &Metered, db: &Db) {
    let late = present().end + TimeDelta::days(3);
    assert_eq!(change_due_of(db, &metered.settings, metered.tenant, late).await.unwrap(), 1);
}

fn included(metered: &Metered, plan: &str) -> i64 {
    metered.settings.plans.get(plan).unwrap().meters.values().next().unwrap().included
}

fn late_key() -> String {
    format!("late_usage:ai_tokens:{}", present().name())
}

#[tokio::test]
async fn first_usage_of_a_closed_month_has_the_price_of_that_month_and_stands_beside_the_next_ones() {
    let (metered, db) = subscribed("pro").await;
    wish(&metered, &db, "basic", 2).await;
    begin_next(&metered, &db).await;
    assert!(close(&metered, &db, present()).await);
    assert_eq!(metered.number("SELECT count(*) FROM billing.period_usage").await, 0, "nothing was used by then");
    metered.add(present(), included(&metered, "pro") + 1_000_000).await;
    metered.add(next(), included(&metered, "basic") + 1_000_000).await;
    let late = late_key();
    let expected = [("plan:basic", 4_900), (late.as_str(), 1_500), ("usage:ai_tokens", 2_000)];
    let upcoming = preview(&db, &metered.settings, metered.tenant, next()).await.unwrap();
    assert_eq!(keys(&upcoming.lines), expected);
    assert!(close(&metered, &db, next()).await);
    assert_eq!(keys(&issued(&metered, &db).await[1].1), expected);
    // More of it costs what the first of it did, and closes go on.
    metered.add(present(), 1_000_000).await;
    assert!(close(&metered, &db, Period::containing(next().end)).await);
    assert_eq!(keys(&issued(&metered, &db).await[2].1), [("plan:basic", 4_900), (late.as_str(), 1_500)]);
}

#[tokio::test]
async fn first_usage_that_is_reported_after_the_end_of_a_subscription_is_billed() {
    let (metered, db) = subscribed("pro").await;
    stop(&metered, &db, true, 2).await;
    begin_next(&metered, &db).await;
    assert!(!close(&metered, &db, present()).await);
    metered.add(present(), included(&metered, "pro") + 1_000_000).await;
    assert!(close(&metered, &db, next()).await);
    assert_eq!(keys(&issued(&metered, &db).await[0].1), [(late_key().as_str(), 1_500)]);
    assert!(!close(&metered, &db, Period::containing(next().end)).await, "once");
}

#[tokio::test]
async fn an_end_at_once_lets_nobody_off_what_was_used() {
    // Ended; ended and on what is free of charge by a wish; ended and begun anew with less.
    for after in [None, Some("free"), Some("basic")] {
        let (metered, db) = subscribed("pro").await;
        metered.add(present(), included(&metered, "pro") + 1_000_000).await;
        stop(&metered, &db, false, 2).await;
        if let Some(plan) = after {
            wish(&metered, &db, plan, 3).await;
        }
        assert!(close(&metered, &db, present()).await, "{after:?}");
        let all = issued(&metered, &db).await;
        let usage: Vec<_> = keys(&all[0].1).into_iter().filter(|(key, _)| key.starts_with("usage:")).collect();
        assert_eq!(usage, [("usage:ai_tokens", 1_500)], "{after:?}");
        // What is reported after the close, too.
        metered.add(present(), 1_000_000).await;
        assert!(close(&metered, &db, next()).await, "{after:?}");
        let all = issued(&metered, &db).await;
        assert!(keys(&all[1].1).contains(&(late_key().as_str(), 1_500)), "{after:?}: {all:?}");
    }
}

#[tokio::test]
async fn first_usage_reported_after_an_end_at_once_and_the_close_is_billed() {
    let (metered, db) = subscribed("pro").await;
    stop(&metered, &db, false, 2).await;
    assert!(!close(&metered, &db, present()).await);
    metered.add(present(), included(&metered, "pro") + 1_000_000).await;
    // What is used after the month of the end is used on the plan that is left.
    metered.add(next(), 50_000_000).await;
    assert!(close(&metered, &db, next()).await);
    assert_eq!(keys(&issued(&metered, &db).await[0].1), [(late_key().as_str(), 1_500)]);
}

#[tokio::test]
async fn the_platform_may_put_a_tenant_on_a_plan_without_a_price_of_usage() {
    let (metered, db) = subscribed("pro").await;
    metered.add(present(), included(&metered, "pro") + 1_000_000).await;
    agree(&metered, &db, "free").await;
    metered.database.as_admin("UPDATE billing.pending_items SET invoice_id = gen_random_uuid()").await;
    assert!(!close(&metered, &db, present()).await);
}
