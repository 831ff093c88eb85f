//! Subscriptions: what is agreed, since when, and what it costs, whoever asks at once and however late the clock is looked at.

use businessos::actors::subscriptions::due::change_due_of;
use businessos::actors::subscriptions::{By, ChangeWish, Outcome, SubscribeError, cancel, change};
use businessos::clock;
use businessos::db::subscriptions::{self, AgreedTerms};
use businessos::db::{Db, SystemReason, SystemTx, TenantTx, payment_state, pending_items, plan_versions};
use businessos::domain::audit::{AuditActor, AuditSource};
use businessos::domain::proration::rest_of;
use businessos::domain::subscription::{DunningPolicy, Subscription, SubscriptionStatus};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use crate::metered::{Metered, present};

const POLICY: DunningPolicy = DunningPolicy { warn_days: 0, restrict_days: 14, suspend_days: 30 };

fn wish(plan: &str, seen: i64) -> ChangeWish {
    ChangeWish { plan: plan.to_owned(), modules: None, coupon: None, by: By::Tenant { seen } }
}

async fn make(metered: &Metered, db: &Db, wish: &ChangeWish) -> Result<Outcome, SubscribeError> {
    change(db, &metered.settings, metered.tenant, wish, AuditActor::System, AuditSource::default()).await
}

async fn stop(metered: &Metered, db: &Db, at_period_end: bool, seen: i64) -> Result<Outcome, SubscribeError> {
    let (actor, source) = (AuditActor::System, AuditSource::default());
    cancel(db, &metered.settings, metered.tenant, at_period_end, businessos::clock::now(), seen, actor, source).await
}

async fn stored(metered: &Metered, db: &Db) -> Subscription {
    let mut tx = TenantTx::begin_read(db, metered.tenant).await.unwrap();
    let subscription = subscriptions::find(&mut tx).await.unwrap().unwrap();
    tx.finish();
    subscription
}

async fn held_at(metered: &Metered, db: &Db, at: DateTime<Utc>) -> Option<AgreedTerms> {
    let mut tx = TenantTx::begin_read(db, metered.tenant).await.unwrap();
    let terms = subscriptions::find_terms_at(&mut tx, at).await.unwrap();
    tx.finish();
    terms
}

/// What waits for the next invoice: kind, amount, and whether it is what the rest of the month costs at this price.
async fn pending(metered: &Metered, db: &Db, prices: &[i64]) -> Vec<i64> {
    let mut tx = TenantTx::begin(db, metered.tenant).await.unwrap();
    let items = pending_items::lock_unbilled(&mut tx).await.unwrap();
    // What rounds to nothing, in a month's last minutes, is no item.
    let is_due = |price: &&i64| rest_of(present(), clock::now(), price.abs()).unwrap() != 0;
    let prices: Vec<i64> = prices.iter().filter(is_due).copied().collect();
    assert_eq!(items.len(), prices.len(), "{items:?}");
    for (item, price) in items.iter().zip(prices) {
        let rest = rest_of(present(), item.item.period.start, price.abs()).unwrap();
        assert_eq!(item.item.amount_minor, rest * price.signum(), "{item:?}");
        assert_eq!((item.item.period.end, item.item.currency.as_str()), (present().end, "USD"));
    }
    items.iter().map(|item| item.item.amount_minor).collect()
}

async fn subscribed(plan: &str) -> (Metered, Db) {
    let metered = Metered::new(None).await;
    metered.record_plans().await;
    let db = metered.pool();
    let began = make(&metered, &db, &wish(plan, 1)).await.unwrap();
    assert!(began.config_version.is_some());
    (metered, db)
}

#[tokio::test]
async fn a_larger_plan_holds_at_once_and_is_paid_by_the_second() {
    let (metered, db) = subscribed("basic").await;
    let basic = stored(&metered, &db).await;
    assert_eq!((basic.terms.plan.as_str(), basic.revision), ("basic", 2));
    pending(&metered, &db, &[4_900]).await;
    // The same again is the same.
    let again = make(&metered, &db, &wish("basic", 2)).await.unwrap();
    assert_eq!((again.config_version, &again.subscription), (None, &basic));
    make(&metered, &db, &wish("pro", 2)).await.unwrap();
    pending(&metered, &db, &[4_900, -4_900, 19_900]).await;
    assert_eq!(metered.told().await, ["plan.changed", "plan.changed"]);
    assert_eq!(metered.number("SELECT count(*) FROM platform.tenants WHERE plan = 'pro'").await, 1);
    let now = held_at(&metered, &db, clock::now()).await.unwrap();
    assert_eq!((now.terms.plan.as_str(), now.is_billed), ("pro", true));
}

#[tokio::test]
async fn of_different_wishes_at_once_one_is_granted_and_of_the_same_one_is_done() {
    let metered = Metered::new(None).await;
    metered.record_plans().await;
    let (one, other) = (metered.pool(), metered.pool());
    let wishes: Vec<_> = (0..8).map(|n| wish(if n % 2 == 0 { "basic" } else { "pro" }, 1)).collect();
    let both = wishes.iter().enumerate().map(|(n, wish)| make(&metered, if n < 4 { &one } else { &other }, wish));
    let outcomes = join_all(both).await;
    let changed = outcomes.iter().filter(|outcome| matches!(outcome, Ok(outcome) if outcome.config_version.is_some()));
    assert_eq!(changed.count(), 1, "{outcomes:?}");
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(SubscribeError::Changed)));
    assert_eq!(refused.count(), 4, "those with the other wish: {outcomes:?}");
    let price = stored(&metered, &one).await.terms.price_minor;
    pending(&metered, &one, &[price]).await;
}

#[tokio::test]
async fn what_was_agreed_last_holds_although_the_change_before_is_dated_later() {
    let (metered, db) = subscribed("basic").await;
    // By a node whose clock is ahead.
    let ahead =
        "UPDATE billing.subscription_changes SET effective_at = effective_at + interval '1 minute' WHERE revision = 2";
    metered.database.as_admin(ahead).await;
    let soon = clock::now() + TimeDelta::minutes(2);
    make(&metered, &db, &wish("pro", 2)).await.unwrap();
    assert_eq!(held_at(&metered, &db, soon).await.unwrap().terms.plan, "pro");
    stop(&metered, &db, false, 3).await.unwrap();
    let left = held_at(&metered, &db, soon).await.unwrap();
    assert_eq!((left.terms.plan.as_str(), left.is_billed), ("free", false));
}

#[tokio::test]
async fn a_smaller_plan_begins_with_the_period_and_can_be_taken_back() {
    let (metered, db) = subscribed("pro").await;
    let outcome = make(&metered, &db, &wish("basic", 2)).await.unwrap();
    assert_eq!(outcome.subscription.terms.plan, "pro", "it is paid for");
    assert_eq!(outcome.subscription.scheduled.as_ref().unwrap().at, present().end);
    assert_eq!(make(&metered, &db, &wish("basic", 3)).await.unwrap().config_version, None);
    let kept = make(&metered, &db, &wish("pro", 3)).await.unwrap();
    assert_eq!((kept.subscription.scheduled, kept.config_version.is_some()), (None, true));
    make(&metered, &db, &wish("basic", 4)).await.unwrap();
    // Nothing happens a moment too early, and nothing twice.
    let due = async |at| change_due_of(&db, &metered.settings, metered.tenant, at).await.unwrap();
    assert_eq!(due(present().end - TimeDelta::microseconds(1)).await, 0);
    assert_eq!((due(present().end + TimeDelta::days(3)).await, due(present().end + TimeDelta::days(3)).await), (1, 0));
    assert_eq!(stored(&metered, &db).await.terms.plan, "basic");
    pending(&metered, &db, &[19_900]).await;
    let before = held_at(&metered, &db, present().end - TimeDelta::microseconds(1)).await.unwrap();
    let after = held_at(&metered, &db, present().end).await.unwrap();
    assert_eq!((before.terms.plan.as_str(), after.terms.plan.as_str()), ("pro", "basic"), "however late it was done");
    assert_eq!(held_at(&metered, &db, DateTime::UNIX_EPOCH).await, None);
}

#[tokio::test]
async fn an_end_comes_with_what_is_paid_for_or_at_once() {
    let (metered, db) = subscribed("basic").await;
    let outcome = stop(&metered, &db, true, 2).await.unwrap();
    assert!(outcome.subscription.scheduled.as_ref().is_some_and(|scheduled| scheduled.is_end));
    assert_eq!(stop(&metered, &db, true, 3).await.unwrap().config_version, None, "twice is once");
    let back = make(&metered, &db, &wish("basic", 3)).await.unwrap();
    assert_eq!(back.subscription.scheduled, None);
    stop(&metered, &db, true, 4).await.unwrap();
    assert_eq!(change_due_of(&db, &metered.settings, metered.tenant, present().end).await.unwrap(), 1);
    let ended = stored(&metered, &db).await;
    assert_eq!((ended.terms.plan.as_str(), ended.status), ("free", SubscriptionStatus::Canceled));
    assert_eq!(ended.canceled_at, Some(present().end));
    assert!(!held_at(&metered, &db, present().end).await.unwrap().is_billed);
    pending(&metered, &db, &[4_900]).await;

    let (metered, db) = subscribed("basic").await;
    let stale = stop(&metered, &db, false, 1).await;
    assert!(matches!(stale, Err(SubscribeError::Changed)), "{stale:?}");
    let ended = stop(&metered, &db, false, 2).await.unwrap().subscription;
    assert_eq!((ended.terms.plan.as_str(), ended.status), ("free", SubscriptionStatus::Canceled));
    pending(&metered, &db, &[4_900]).await;
    assert_eq!(stop(&metered, &db, false, 3).await.unwrap().config_version, None);
    assert_eq!(metered.told().await.last().unwrap(), "plan.changed");
}

#[tokio::test]
async fn a_trial_is_paid_from_its_end_on() {
    let mut metered = Metered::new(None).await;
    metered.settings.plans.get_mut("basic").unwrap().trial_days = 14;
    metered.record_plans().await;
    let db = metered.pool();
    let begun = make(&metered, &db, &wish("basic", 1)).await.unwrap().subscription;
    assert_eq!(begun.status, SubscriptionStatus::Trialing);
    pending(&metered, &db, &[]).await;
    assert!(!held_at(&metered, &db, clock::now()).await.unwrap().is_billed);
    let trial_end = begun.trial_end.unwrap();
    let late = trial_end + TimeDelta::days(2);
    assert_eq!(change_due_of(&db, &metered.settings, metered.tenant, late).await.unwrap(), 1);
    assert_eq!(stored(&metered, &db).await.status, SubscriptionStatus::Active);
    let mut tx = TenantTx::begin(&db, metered.tenant).await.unwrap();
    let items = pending_items::lock_unbilled(&mut tx).await.unwrap();
    let period = businessos::domain::period::Period::containing(trial_end);
    assert_eq!(items.len(), 1, "{items:?}");
    assert_eq!(items[0].item.amount_minor, rest_of(period, trial_end, 4_900).unwrap());
    assert_eq!(items[0].item.period.start, trial_end, "not from when it was looked at");
}

#[tokio::test]
async fn a_coupon_is_taken_once() {
    let mut metered = Metered::new(None).await;
    let coupons = "LAUNCH = { percent_off = 20, months = 3 }";
    metered.settings.coupons = toml::from_str(coupons).unwrap();
    metered.record_plans().await;
    let db = metered.pool();
    let with = |code: &str, seen| ChangeWish { coupon: Some(code.to_owned()), ..wish("basic", seen) };
    let unknown = make(&metered, &db, &with("launch", 1)).await;
    assert!(matches!(unknown, Err(SubscribeError::UnknownCoupon)), "{unknown:?}");
    let held = make(&metered, &db, &with("LAUNCH", 1)).await.unwrap().subscription.coupon.unwrap();
    let third = present().end.checked_add_months(chrono::Months::new(2)).unwrap();
    assert_eq!((held.starts_at, held.ends_at), (present().start, third));
    assert_eq!(make(&metered, &db, &with("LAUNCH", 2)).await.unwrap().config_version, None, "the same wish");
    metered.database.as_admin("UPDATE billing.subscriptions SET coupon = NULL").await;
    let again = make(&metered, &db, &with("LAUNCH", 2)).await;
    assert!(matches!(again, Err(SubscribeError::UsedCoupon)), "{again:?}");
}

#[tokio::test]
async fn modules_beside_a_plan_keep_their_price() {
    let mut metered = Metered::new(None).await;
    metered.settings.plans.get_mut("basic").unwrap().modules.clear();
    metered.record_plans().await;
    let db = metered.pool();
    let with = |names: &[&str], seen| ChangeWish {
        modules: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..wish("basic", seen)
    };
    for (names, place) in [(&["crm", "crm"][..], 1), (&["x"][..], 0)] {
        let refused = make(&metered, &db, &with(names, 1)).await.unwrap_err();
        assert!(
            matches!(refused, SubscribeError::NeedlessModule(at) | SubscribeError::UnknownModule(at) if at == place),
            "{refused}"
        );
    }
    make(&metered, &db, &with(&["crm"], 1)).await.unwrap();
    pending(&metered, &db, &[6_800]).await;
    metered.settings.modules.get_mut("crm").unwrap().price_minor = 9_900;
    for same in [with(&["crm"], 2), wish("basic", 2)] {
        assert_eq!(make(&metered, &db, &same).await.unwrap().config_version, None);
    }
    // A plan that has it takes it in.
    let pro = make(&metered, &db, &wish("pro", 2)).await.unwrap().subscription;
    assert_eq!(pro.terms.add_ons, []);
    pending(&metered, &db, &[6_800, -6_800, 19_900]).await;
}

#[tokio::test]
async fn who_has_a_version_keeps_it_and_nobody_changes_what_was_sold() {
    let mut metered = Metered::new(None).await;
    // The first start of this release, which gives all tenants a subscription to what they have.
    metered.record_plans().await;
    let db = metered.pool();
    let first = stored(&metered, &db).await;
    assert_eq!((first.terms.plan.as_str(), first.terms.version, first.revision), ("free", 1, 1));
    // A process of an earlier release makes another one.
    let late = "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan)
                VALUES ('00000000-0000-7000-8000-000000000001', 'late', 'Late', 'global', 'free')";
    metered.database.as_admin(late).await;
    let free = metered.settings.plans.get_mut("free").unwrap();
    (free.version, free.requests_per_minute) = (2, Some(7));
    metered.record_plans().await;
    assert_eq!(stored(&metered, &db).await.figures, first.figures);
    let pinned = "SELECT count(*) FROM billing.subscriptions WHERE plan = 'free' AND plan_version = 1";
    assert_eq!(metered.number(pinned).await, 2, "the late one, too, before there was another version");
    assert_eq!(metered.number("SELECT count(*) FROM billing.subscription_changes").await, 2);
    // Other figures under a known number are not taken, and the right ones are told.
    let system = SystemTx::new(&db, SystemReason::KeepCatalogue);
    let mut other = metered.settings.plans["free"].figures("USD");
    other.price_minor = 1;
    let on_record = plan_versions::record(&system, "free", 2, &other).await.unwrap();
    assert_eq!((on_record.price_minor, on_record.requests_per_minute), (0, Some(7)));
    for change in ["UPDATE billing.plan_versions SET price_minor = 1", "DELETE FROM billing.plan_versions"] {
        // As the owner of the table, who may do everything else with it.
        let mut owner = metered.database.connect("postgres").await;
        sqlx::raw_sql("SET ROLE app_owner").execute(&mut owner).await.unwrap();
        let refused = sqlx::raw_sql(change).execute(&mut owner).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("stays what it was")), "{change}");
    }
    // The platform may put a tenant on the newest one.
    let to_newest = ChangeWish { by: By::Platform, ..wish("free", 0) };
    assert!(make(&metered, &db, &to_newest).await.unwrap().config_version.is_some());
    assert_eq!(stored(&metered, &db).await.terms.version, 2);
    assert_eq!(make(&metered, &db, &to_newest).await.unwrap().config_version, None);
}

#[tokio::test]
async fn a_debt_leads_down_step_by_step_and_a_payment_back() {
    let (metered, db) = subscribed("basic").await;
    let stand = async |days: Option<u32>| {
        let mut tx = TenantTx::begin(&db, metered.tenant).await.unwrap();
        let change = payment_state::set_payment_state(&mut tx, &POLICY, days, "a test").await.unwrap();
        tx.commit().await.unwrap();
        change.map(|change| change.to)
    };
    assert_eq!(stand(None).await, None);
    for (days, to) in [
        (Some(0), Some(SubscriptionStatus::PastDue)),
        (Some(13), None),
        (Some(14), Some(SubscriptionStatus::Restricted)),
        (Some(40), Some(SubscriptionStatus::Suspended)),
    ] {
        assert_eq!(stand(days).await, to, "{days:?}");
    }
    // Nobody gets more, and an end does not end it.
    let refused = make(&metered, &db, &wish("pro", 5)).await;
    assert!(matches!(refused, Err(SubscribeError::Unpaid)), "{refused:?}");
    stop(&metered, &db, false, 5).await.unwrap();
    assert_eq!(stored(&metered, &db).await.status, SubscriptionStatus::Suspended);
    assert_eq!(stand(None).await, Some(SubscriptionStatus::Canceled));
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'subscription.status'";
    assert_eq!(metered.number(audited).await, 4);
}
