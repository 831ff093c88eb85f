//! Periods are closed and invoices issued once, whoever closes at once and wherever a close is cut off; and what is issued stays.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use businessos::actors::billing::close::close_period;
use businessos::actors::billing::credit::{Credited, credit};
use businessos::actors::billing::dunning::judge_overdue;
use businessos::actors::billing::payment::{By, SettleError, mark_paid};
use businessos::actors::subscriptions::due::change_due_of;
use businessos::actors::subscriptions::{By as ChangedBy, ChangeWish, cancel, change};
use businessos::clock;
use businessos::db::invoices::{self, InvoiceRow};
use businessos::db::{Db, TenantTx, subscriptions};
use businessos::domain::audit::{AuditActor, AuditSource};
use businessos::domain::crediting::{CreditError, Part};
use businessos::domain::ids::TenantId;
use businessos::domain::invoice::Line;
use businessos::domain::period::Period;
use businessos::domain::subscription::SubscriptionStatus;
use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::json;

use crate::metered::{Metered, present};

/// A tenant that has been on this plan since the month began, so that nothing of it is a part.
pub async fn subscribed(plan: &str) -> (Metered, Db) {
    let metered = Metered::new(None).await;
    metered.record_plans().await;
    let db = metered.pool();
    agree(&metered, &db, plan).await;
    metered.database.as_admin("UPDATE billing.pending_items SET invoice_id = gen_random_uuid()").await;
    (metered, db)
}

fn by() -> By {
    By { actor: AuditActor::System, source: AuditSource::default() }
}

pub async fn issued(metered: &Metered, db: &Db) -> Vec<(InvoiceRow, Vec<Line>)> {
    let mut tx = TenantTx::begin_read(db, metered.tenant).await.unwrap();
    let mut found = Vec::new();
    for row in invoices::list(&mut tx, None, 100).await.unwrap() {
        let lines = invoices::list_lines(&mut tx, row.invoice_id()).await.unwrap();
        let taxes = invoices::list_taxes(&mut tx, row.invoice_id()).await.unwrap();
        assert_eq!(taxes.iter().map(|tax| tax.amount_minor).sum::<i64>(), row.tax_minor);
        assert_eq!(lines.iter().map(|line| line.amount_minor).sum::<i64>(), row.subtotal_minor);
        found.push((row, lines));
    }
    tx.finish();
    found.reverse();
    found
}

pub fn keys(lines: &[Line]) -> Vec<(&str, i64)> {
    lines.iter().map(|line| (line.key.as_str(), line.amount_minor)).collect()
}

pub fn next() -> Period {
    Period::containing(present().end)
}

#[tokio::test]
async fn a_month_of_pro_is_billed_once_with_its_usage_and_what_is_said_of_it() {
    let (mut metered, db) = subscribed("pro").await;
    metered.settings.billing.tax_rate_percent = "19".to_owned();
    metered.user("owner@acme.example", "owner", "active", true).await;
    let figures = metered.settings.plans["pro"].meters.values().next().unwrap().clone();
    let price: f64 = figures.overage_unit_price.as_deref().unwrap().parse().unwrap();
    metered.add(present(), figures.included + 1_000_000).await;
    let closed = close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    assert_eq!(close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap(), None);
    let [(invoice, lines)] = &issued(&metered, &db).await[..] else { panic!("one invoice") };
    assert_eq!(closed.invoice, Some(invoice.invoice_id()));
    let overage = (price * 1_000_000.0).round() as i64;
    assert_eq!(keys(lines), [("plan:pro", 19_900), ("usage:ai_tokens", overage)]);
    assert_eq!(invoice.tax_minor, ((19_900 + overage) as f64 * 0.19).round() as i64);
    assert_eq!((invoice.status.as_str(), invoice.kind.as_str()), ("open", "cycle"));
    assert!(invoice.number.starts_with("INV-") && invoice.number.ends_with("-000001"), "{}", invoice.number);
    assert_eq!(metered.told().await, ["plan.changed", "invoice.created"]);
    let mails = "SELECT count(*) FROM platform.mail_outbox WHERE kind = 'invoice' AND recipient = 'owner@acme.example'";
    assert_eq!(metered.number(mails).await, 1);
    assert_eq!(metered.number("SELECT count(*) FROM platform.audit_log WHERE action = 'invoice.issued'").await, 1);
}

#[tokio::test]
async fn a_free_month_is_closed_without_an_invoice() {
    let (metered, db) = subscribed("free").await;
    metered.add(present(), 50_000).await;
    let closed = close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    assert_eq!(closed.invoice, None);
    assert_eq!(metered.number("SELECT billed FROM billing.period_usage").await, 50_000);
    assert_eq!(metered.number("SELECT count(*) FROM billing.invoices").await, 0);
}

#[tokio::test]
async fn closers_at_once_issue_one_invoice_for_each_tenant_and_leave_no_gap() {
    let (metered, one) = subscribed("pro").await;
    let other = metered.pool();
    let mut tenants = vec![metered.tenant];
    for n in 1..4 {
        let tenant: TenantId = clock::new_id();
        let sql = format!(
            "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan)
             VALUES ('{tenant}', 'other-{n}', 'Other', 'global', 'free')"
        );
        metered.database.as_admin(&sql).await;
        let wish = ChangeWish { plan: "basic".to_owned(), modules: None, coupon: None, by: ChangedBy::Platform };
        change(&one, &metered.settings, tenant, &wish, AuditActor::System, AuditSource::default()).await.unwrap();
        tenants.push(tenant);
    }
    let closers = (0..16).map(|n| {
        let (db, tenant) = (if n % 2 == 0 { &one } else { &other }, tenants[n / 4]);
        close_period(db, &metered.settings, tenant, present())
    });
    let outcomes = join_all(closers).await;
    let n_issued = outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_some()).count();
    assert_eq!(n_issued, tenants.len());
    assert_eq!(metered.number("SELECT count(*) FROM billing.invoices").await, 4);
    assert_eq!(metered.number("SELECT count(DISTINCT number) FROM billing.invoices").await, 4);
    assert_eq!(metered.number("SELECT last_number FROM billing.invoice_series").await, 4);
}

/// Lets a future run for so many polls, and drops it: what it had not committed then is lost, as if its process had been killed.
async fn cut_off<T>(work: impl Future<Output = T>, n_polls: usize) -> Option<T> {
    let (mut work, mut left) = (pin!(work), n_polls);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_close_that_is_cut_off_anywhere_leaves_nothing_or_all() {
    let (metered, db) = subscribed("pro").await;
    metered.add(present(), 90_000_000).await;
    let mut n_cut = 0;
    for n_polls in 1.. {
        let work = close_period(&db, &metered.settings, metered.tenant, present());
        let done = cut_off(work, n_polls).await;
        let n_periods = metered.number("SELECT count(*) FROM billing.billing_periods").await;
        let n_invoices = metered.number("SELECT count(*) FROM billing.invoices").await;
        assert_eq!(n_periods, n_invoices, "after {n_polls} polls");
        if done.is_some() {
            assert_eq!(n_invoices, 1);
            break;
        }
        n_cut += 1;
        // It may have been committed without its caller hearing of it.
        if n_periods == 1 {
            break;
        }
    }
    assert!(n_cut > 5, "cut off {n_cut} times");
    assert_eq!(
        metered.number("SELECT last_number FROM billing.invoice_series").await,
        1,
        "a number given back is used again"
    );
}

#[tokio::test]
async fn usage_that_comes_after_the_close_is_on_the_next_invoice() {
    let (metered, db) = subscribed("pro").await;
    let figures = metered.settings.plans["pro"].meters.values().next().unwrap().clone();
    metered.add(present(), figures.included).await;
    close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    // One event in time that was counted late, and late ones.
    metered.add(present(), 400_000).await;
    metered.database.as_admin("UPDATE billing.usage_counters SET late = 600000").await;
    close_period(&db, &metered.settings, metered.tenant, next()).await.unwrap().unwrap();
    let all = issued(&metered, &db).await;
    let late = format!("late_usage:ai_tokens:{}", present().name());
    let line = all[1].1.iter().find(|line| line.key == late).unwrap();
    assert_eq!(line.quantity, 1_000_000);
    assert_eq!(Ok(line.amount_minor), line.unit_price.of(1_000_000));
    assert_eq!(metered.number("SELECT billed FROM billing.period_usage").await, figures.included + 1_000_000);
}

pub async fn agree(metered: &Metered, db: &Db, plan: &str) {
    let wish = ChangeWish { plan: plan.to_owned(), modules: None, coupon: None, by: ChangedBy::Platform };
    change(db, &metered.settings, metered.tenant, &wish, AuditActor::System, AuditSource::default()).await.unwrap();
}

#[tokio::test]
async fn the_last_day_of_a_subscription_that_was_ended_is_billed_and_the_time_after_is_not() {
    let (metered, db) = subscribed("pro").await;
    let (actor, source) = (AuditActor::System, AuditSource::default());
    cancel(&db, &metered.settings, metered.tenant, true, businessos::clock::now(), 2, actor, source).await.unwrap();
    let included = metered.settings.plans["pro"].meters.values().next().unwrap().included;
    metered.add(present(), included + 1_000_000).await;
    // The end is written down only days after the month is over, and the month is closed after that.
    let late = present().end + TimeDelta::days(3);
    assert_eq!(change_due_of(&db, &metered.settings, metered.tenant, late).await.unwrap(), 1);
    let close = async |period| {
        close_period(&db, &metered.settings, metered.tenant, period).await.unwrap().unwrap().invoice.is_some()
    };
    assert!(close(present()).await);
    // What was used on the last day and reported late is billed at the price of that day, though nothing is agreed any more.
    metered.add(present(), 1_000_000).await;
    assert!(close(next()).await);
    assert!(!close(Period::containing(next().end)).await);
    let all = issued(&metered, &db).await;
    assert_eq!(keys(&all[0].1), [("usage:ai_tokens", 1_500)]);
    assert_eq!(keys(&all[1].1), [(format!("late_usage:ai_tokens:{}", present().name()).as_str(), 1_500)]);
}

#[tokio::test]
async fn usage_before_and_after_a_change_of_plan_is_one_figure_and_billed_once() {
    let (metered, db) = subscribed("basic").await;
    let included = metered.settings.plans["pro"].meters.values().next().unwrap().included;
    let before = 2_000_000;
    assert!(before > metered.settings.plans["basic"].meters.values().next().unwrap().included);
    metered.add(present(), before).await;
    agree(&metered, &db, "pro").await;
    assert_eq!(metered.number("SELECT used FROM billing.usage_counters").await, before, "nothing begins anew");
    metered.add(present(), included).await;
    close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    let [(_, lines)] = &issued(&metered, &db).await[..] else { panic!("one invoice") };
    let usage: Vec<_> = lines.iter().filter(|line| line.key.starts_with("usage:")).collect();
    // By the plan of the month's end: what was beyond the smaller plan is within the larger one.
    assert_eq!(usage.iter().map(|line| line.quantity).collect::<Vec<_>>(), [before]);
    let prorations: Vec<i64> =
        lines.iter().filter(|line| line.key.starts_with("pending:")).map(|line| line.amount_minor).collect();
    assert!(matches!(prorations[..], [credit, charge] if credit < 0 && charge > 0), "{prorations:?}");
    assert_eq!(
        keys(lines).iter().filter(|(key, _)| key.starts_with("plan:")).collect::<Vec<_>>(),
        [&("plan:pro", 19_900)]
    );
}

#[tokio::test]
async fn a_tenant_that_has_not_said_who_it_is_gets_its_invoice_as_a_buyer_in_the_sellers_country() {
    let (mut metered, db) = subscribed("basic").await;
    metered.settings.billing.tax_rate_percent = "23".to_owned();
    metered.user("owner@acme.example", "owner", "active", true).await;
    close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    let [(invoice, lines)] = &issued(&metered, &db).await[..] else { panic!("one invoice") };
    let expected = json!({
        "legal_name": "Acme Ltd", "address_lines": [], "city": "", "postcode": "", "country": "IE", "tax_id": null, "emails": [],
    });
    assert_eq!(invoice.buyer, expected);
    assert_eq!((keys(lines), invoice.tax_minor), (vec![("plan:basic", 4_900)], 1_127));
    let mails = "SELECT count(*) FROM platform.mail_outbox WHERE kind = 'invoice' AND recipient = 'owner@acme.example'";
    assert_eq!(metered.number(mails).await, 1);
}

#[tokio::test]
async fn what_is_issued_is_not_changed_by_anybody() {
    let (metered, db) = subscribed("basic").await;
    close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    for sql in [
        "UPDATE billing.invoices SET total_minor = 1, subtotal_minor = 1",
        "UPDATE billing.invoices SET number = 'x'",
        "DELETE FROM billing.invoice_lines",
        "UPDATE billing.invoice_lines SET amount_minor = 1",
        "DELETE FROM billing.invoices",
        "UPDATE billing.invoice_taxes SET amount_minor = 1",
    ] {
        let mut admin = metered.database.connect("postgres").await;
        let refused = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap_err();
        assert!(refused.to_string().contains("not changed"), "{sql}: {refused}");
    }
}

async fn standing(metered: &Metered, db: &Db) -> SubscriptionStatus {
    let mut tx = TenantTx::begin_read(db, metered.tenant).await.unwrap();
    let status = subscriptions::find(&mut tx).await.unwrap().unwrap().status;
    tx.finish();
    status
}

#[tokio::test]
async fn an_invoice_that_is_not_paid_closes_the_gateway_step_by_step_and_a_payment_opens_it() {
    let (mut metered, db) = subscribed("basic").await;
    metered.settings.billing.payment_days = 0;
    let closed = close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    let id = closed.invoice.unwrap();
    for (days, status) in [(0, "past_due"), (13, "past_due"), (14, "restricted"), (30, "suspended")] {
        // The invoice's day is what it is; the policy is moved instead.
        let mut settings = metered.settings.clone();
        let dunning = &mut settings.billing.dunning;
        for limit in [&mut dunning.warn_days, &mut dunning.restrict_days, &mut dunning.suspend_days] {
            *limit = limit.saturating_sub(days);
        }
        judge_overdue(&db, &settings).await.unwrap();
        assert_eq!(standing(&metered, &db).await.as_str(), status, "after {days} days");
    }
    let settings = &metered.settings;
    let paid = mark_paid(&db, settings, metered.tenant, id, clock::now(), Some("TRX 7"), by()).await.unwrap();
    assert_eq!((paid.status.as_str(), paid.payment_reference.as_deref()), ("paid", Some("TRX 7")));
    assert_eq!(standing(&metered, &db).await, SubscriptionStatus::Active);
    let again = mark_paid(&db, settings, metered.tenant, id, clock::now(), None, by()).await.unwrap_err();
    assert!(matches!(again, SettleError::NotOpen), "{again}");
    let unknown =
        mark_paid(&db, settings, metered.tenant, clock::new_id(), clock::now(), None, by()).await.unwrap_err();
    assert!(matches!(unknown, SettleError::Unknown), "{unknown}");
}

#[tokio::test]
async fn a_credit_note_takes_back_the_whole_invoice_once() {
    let (metered, db) = subscribed("basic").await;
    let closed = close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    let id = closed.invoice.unwrap();
    let note =
        credit(&db, &metered.settings, metered.tenant, id, (None, None), "billed by mistake", by()).await.unwrap();
    let Credited { note, refund_minor: 0, transfer_minor: 0 } = note else { panic!("nothing was paid: {note:?}") };
    let [(invoice, lines), (again, credited)] = &issued(&metered, &db).await[..] else { panic!("two documents") };
    assert_eq!((invoice.status.as_str(), again.id), ("credited", note.id));
    assert_eq!((again.total_minor, again.credits_id), (invoice.total_minor, Some(invoice.id)));
    assert_eq!(lines, credited);
    assert!(note.number.starts_with("CN-") && note.number.ends_with("-000001"), "{}", note.number);
    let twice = credit(&db, &metered.settings, metered.tenant, id, (None, None), "again", by()).await.unwrap_err();
    assert!(matches!(twice, SettleError::Credit(CreditError::NothingLeft)), "{twice}");
}

#[tokio::test]
async fn credit_notes_take_an_invoice_back_in_parts_and_end_with_it() {
    let (metered, db) = subscribed("basic").await;
    let settings = &metered.settings;
    let closed = close_period(&db, settings, metered.tenant, present()).await.unwrap().unwrap();
    let id = closed.invoice.unwrap();
    let part = |amount_minor| vec![Part { key: "plan:basic".to_owned(), amount_minor }];
    let first = credit(&db, settings, metered.tenant, id, (Some(&part(1_000)), Some(0)), "late", by()).await.unwrap();
    assert_eq!((first.note.subtotal_minor, first.refund_minor, first.transfer_minor), (1_000, 0, 0));
    let invoice = &issued(&metered, &db).await[0].0;
    assert_eq!((invoice.status.as_str(), invoice.credited_minor), ("open", first.note.total_minor));
    assert_eq!(invoice.due_minor(), invoice.total_minor - first.note.total_minor);
    let again =
        credit(&db, settings, metered.tenant, id, (Some(&part(1_000)), Some(0)), "late", by()).await.unwrap_err();
    assert!(matches!(again, SettleError::Changed { credited_minor: 1_000 }), "sent twice: {again}");
    let seen = Some(first.note.total_minor);
    let much = credit(&db, settings, metered.tenant, id, (Some(&part(3_901)), seen), "late", by()).await.unwrap_err();
    let left = CreditError::TooMuch { position: 0, left_minor: 3_900 };
    assert!(matches!(&much, SettleError::Credit(error) if *error == left), "{much}");
    // What is left is paid by transfer, and of that a part goes back the same way.
    mark_paid(&db, settings, metered.tenant, id, clock::now(), Some("TRX 7"), by()).await.unwrap();
    let second = credit(&db, settings, metered.tenant, id, (Some(&part(500)), seen), "later", by()).await.unwrap();
    assert_eq!((second.refund_minor, second.transfer_minor), (0, second.note.total_minor));
    let rest = credit(&db, settings, metered.tenant, id, (None, None), "all of it", by()).await.unwrap();
    let invoice = &issued(&metered, &db).await[0].0;
    assert_eq!((invoice.status.as_str(), invoice.credited_minor), ("paid", invoice.total_minor));
    assert_eq!(rest.note.number.rsplit('-').next(), Some("000003"));
    let note = credit(&db, settings, metered.tenant, rest.note.id.into(), (None, None), "no", by()).await.unwrap_err();
    assert!(matches!(note, SettleError::NotOpen), "a credit note is not taken back: {note}");
}

#[tokio::test]
async fn the_database_takes_no_more_back_than_was_asked_for() {
    let (metered, db) = subscribed("basic").await;
    let closed = close_period(&db, &metered.settings, metered.tenant, present()).await.unwrap().unwrap();
    let id = closed.invoice.unwrap();
    credit(&db, &metered.settings, metered.tenant, id, (None, None), "all of it", by()).await.unwrap();
    let mut conn = metered.database.connect("postgres").await;
    let more = "INSERT INTO billing.invoices SELECT (jsonb_populate_record(n, jsonb_build_object(
                    'id', gen_random_uuid(), 'number', 'CN-more', 'subtotal_minor', 1, 'discount_minor', 0,
                    'tax_minor', 0, 'total_minor', 1))).* FROM billing.invoices n WHERE n.kind = 'credit_note'";
    let refused = sqlx::query(more).execute(&mut conn).await.unwrap_err().to_string();
    assert!(refused.contains("more would be taken back"), "{refused}");
}
