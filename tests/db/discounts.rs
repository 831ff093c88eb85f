//! A coupon is taken off what is due in its months, whichever invoice has it; and credit waits until there is something to take it off.

use businessos::actors::billing::close::{close_period, preview};
use businessos::actors::subscriptions::{By, ChangeWish, cancel, change};
use businessos::clock;
use businessos::db::invoices::{self, InvoiceKind, InvoiceRow, NewInvoice};
use businessos::db::{Db, TenantTx};
use businessos::domain::audit::{AuditActor, AuditSource};
use businessos::domain::catalogue::Discount;
use businessos::domain::order::{Order, OrderItem};
use businessos::domain::period::Period;
use businessos::domain::subscription::Terms;
use serde_json::json;

use crate::closing::{agree, issued, keys, next, subscribed};
use crate::metered::{Metered, present};

/// So dear that something is due of the rest of the month even in its last minutes.
const BASIC: i64 = 100_000_000;

/// A tenant that takes `basic` with this coupon now, to be paid with the month's invoice.
async fn with_coupon(coupon: &str) -> (Metered, Db) {
    let mut metered = Metered::new(None).await;
    metered.settings.plans.get_mut("basic").unwrap().price_minor = BASIC;
    metered.settings.plans.get_mut("pro").unwrap().price_minor = 2 * BASIC;
    metered.settings.billing.tax_rate_percent = "19".to_owned();
    metered.settings.coupons = toml::from_str(&format!("LAUNCH = {{ {coupon} }}")).unwrap();
    metered.record_plans().await;
    let db = metered.pool();
    wish(&metered, &db, "basic", Some("LAUNCH"), 1).await;
    (metered, db)
}

async fn wish(metered: &Metered, db: &Db, plan: &str, coupon: Option<&str>, seen: i64) {
    let coupon = coupon.map(str::to_owned);
    let wish = ChangeWish { plan: plan.to_owned(), modules: None, coupon, by: By::Tenant { seen } };
    change(db, &metered.settings, metered.tenant, &wish, AuditActor::System, AuditSource::default()).await.unwrap();
}

/// The invoice that closes a period, and what it has besides the next month's price.
async fn closed(metered: &Metered, db: &Db, period: Period) -> (InvoiceRow, i64) {
    let upcoming = preview(db, &metered.settings, metered.tenant, period).await.unwrap();
    close_period(db, &metered.settings, metered.tenant, period).await.unwrap().unwrap();
    let (row, lines) = issued(metered, db).await.pop().unwrap();
    assert_eq!((&upcoming.lines, upcoming.totals.discount_minor), (&lines, row.discount_minor), "as it was announced");
    assert_eq!(row.tax_minor, percent(row.subtotal_minor - row.discount_minor, 19));
    let rest = lines.iter().filter(|line| line.key.starts_with("pending:")).map(|line| line.amount_minor).sum();
    (row, rest)
}

/// A part of a sum, rounded as all money is.
fn percent(sum: i64, percent: i64) -> i64 {
    (sum * percent + 50) / 100
}

#[tokio::test]
async fn a_coupon_of_one_month_is_taken_off_the_rest_of_it() {
    let (metered, db) = with_coupon("percent_off = 20, months = 1").await;
    let (first, rest) = closed(&metered, &db, present()).await;
    assert!(rest > 0);
    assert_eq!((first.subtotal_minor, first.discount_minor), (rest + BASIC, percent(rest, 20)));
    let (second, rest) = closed(&metered, &db, next()).await;
    assert_eq!((second.subtotal_minor, second.discount_minor, rest), (BASIC, 0, 0));
}

#[tokio::test]
async fn a_coupon_is_not_for_what_was_due_before_it_was_taken() {
    let (mut metered, db) = with_coupon("percent_off = 20, months = 1").await;
    metered.settings.coupons = toml::from_str("LATE = { percent_off = 100, months = 1 }").unwrap();
    wish(&metered, &db, "pro", Some("LATE"), 2).await;
    let (row, rest) = closed(&metered, &db, present()).await;
    let (_, lines) = issued(&metered, &db).await.pop().unwrap();
    let of_basic = lines.iter().find(|line| line.key == "pending:change:2:proration_charge").unwrap().amount_minor;
    assert!(of_basic > 0 && rest > of_basic);
    assert_eq!(row.discount_minor, rest - of_basic);
}

#[tokio::test]
async fn what_an_amount_took_off_one_month_is_not_missing_in_the_next() {
    let (metered, db) = with_coupon("amount_off_minor = 500, months = 2").await;
    let (actor, source) = (AuditActor::System, AuditSource::default());
    // So nothing is to be paid ahead.
    cancel(&db, &metered.settings, metered.tenant, true, clock::now(), 2, actor, source).await.unwrap();
    assert_eq!(closed(&metered, &db, present()).await.0.discount_minor, 500);
    let of_next = format!(
        "INSERT INTO billing.pending_items
             (tenant_id, id, key, kind, description, amount_minor, currency, period_start, period_end)
         SELECT tenant_id, gen_random_uuid(), 'more', 'proration_charge', 'More', 9000, 'USD', '{}', '{}' FROM billing.subscriptions",
        next().start, next().end
    );
    metered.database.as_admin(&of_next).await;
    assert_eq!(closed(&metered, &db, next()).await.0.discount_minor, 500);
}

#[tokio::test]
async fn a_coupon_of_more_months_is_taken_off_the_rest_of_the_present_one_once() {
    let (metered, db) = with_coupon("percent_off = 20, months = 2").await;
    let (first, rest) = closed(&metered, &db, present()).await;
    assert_eq!(first.discount_minor, percent(rest + BASIC, 20));
    assert_eq!(closed(&metered, &db, next()).await.0.discount_minor, 0);
}

#[tokio::test]
async fn an_amount_is_taken_off_once_for_each_month() {
    for (months, off) in [(1, [500, 0]), (2, [1_000, 0]), (3, [1_000, 500])] {
        let (metered, db) = with_coupon(&format!("amount_off_minor = 500, months = {months}")).await;
        // What is changed later in the month is of the same month.
        wish(&metered, &db, "pro", None, 2).await;
        let first = closed(&metered, &db, present()).await.0.discount_minor;
        let second = closed(&metered, &db, next()).await.0.discount_minor;
        assert_eq!([first, second], off, "{months} months");
    }
}

#[tokio::test]
async fn an_amount_that_a_checkout_has_taken_off_is_not_taken_off_again() {
    let (metered, db) = with_coupon("amount_off_minor = 500, months = 1").await;
    let order = Order {
        at: clock::now(),
        terms: Terms { plan: "basic".to_owned(), version: 1, price_minor: BASIC, add_ons: Vec::new() },
        coupon: None,
        currency: "USD".to_owned(),
        items: vec![OrderItem { key: "rest".to_owned(), description: "Rest".to_owned(), amount_minor: 10_000 }],
        discount: Some(Discount::AmountOffMinor(300)),
        tax_millionths: None,
    };
    let at_once = order.invoice().unwrap();
    let mut tx = TenantTx::begin(&db, metered.tenant).await.unwrap();
    let interim = NewInvoice {
        id: clock::new_id(),
        prefix: "INV",
        kind: InvoiceKind::Interim,
        period: order.period(),
        lines: &at_once.lines,
        totals: &at_once.totals,
        issued_at: clock::now(),
        due_at: clock::now(),
        seller: json!({}),
        buyer: json!({}),
        credits: None,
    };
    invoices::insert(&mut tx, &interim).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(closed(&metered, &db, present()).await.0.discount_minor, 200);
}

#[tokio::test]
async fn credit_that_nothing_uses_up_waits_without_an_invoice_each_month() {
    let (metered, db) = subscribed("pro").await;
    // A part of a month that is surely more than nothing.
    let credit = "INSERT INTO billing.pending_items
                      (tenant_id, id, key, kind, description, amount_minor, currency, period_start, period_end)
                  SELECT tenant_id, gen_random_uuid(), 'credit', 'proration_credit', 'Pro: unused time', -700, 'USD', now(), now()
                  FROM billing.subscriptions";
    agree(&metered, &db, "free").await;
    metered.database.as_admin("DELETE FROM billing.pending_items WHERE invoice_id IS NULL").await;
    metered.database.as_admin(credit).await;
    let after = Period::containing(next().end);
    for period in [present(), next()] {
        let upcoming = preview(&db, &metered.settings, metered.tenant, period).await.unwrap();
        assert_eq!((upcoming.lines, upcoming.totals.total_minor), (Vec::new(), 0));
        let closed = close_period(&db, &metered.settings, metered.tenant, period).await.unwrap().unwrap();
        assert_eq!(closed.invoice, None, "{}", period.name());
    }
    assert_eq!(metered.number("SELECT count(*) FROM platform.mail_outbox WHERE kind = 'invoice'").await, 0);
    // It is still there for what comes.
    agree(&metered, &db, "basic").await;
    metered.database.as_admin("DELETE FROM billing.pending_items WHERE key <> 'credit' AND invoice_id IS NULL").await;
    close_period(&db, &metered.settings, metered.tenant, after).await.unwrap().unwrap();
    let [(invoice, lines)] = &issued(&metered, &db).await[..] else { panic!("one invoice") };
    assert_eq!(keys(lines), [("pending:credit", -700), ("plan:basic", 4_900)]);
    assert_eq!(invoice.total_minor, 4_200);
}
