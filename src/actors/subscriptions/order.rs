//! Subscribing by way of a checkout: what is bought is an order, and once it is paid the subscription is what was ordered.

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::json;

use super::write::{Doer, Locked, after_last_change, announce, in_short, lock, note, owed, titles, write, write_terms};
use super::{Preview, SubscribeError};
use crate::config::Settings;
use crate::db::pending_items::{self, NewPendingItem, PendingKind};
use crate::db::subscriptions::ChangeKind;
use crate::db::{DbError, TenantTx, plan_versions};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::money::MoneyError;
use crate::domain::order::{Order, OrderItem};
use crate::domain::period::Period;
use crate::domain::subscription::{Subscription, Terms};
use crate::domain::subscription_change::change_now;
use crate::domain::tax::TaxRate;

/// The order that a wish for paid terms is: with what is due for the rest of the period, by the second.
///
/// # Errors
/// [`SubscribeError::Money`].
pub fn order(
    settings: &Settings,
    before: &Subscription,
    preview: &Preview,
    at: DateTime<Utc>,
) -> Result<Order, SubscribeError> {
    let at = at.trunc_subsecs(6);
    let change = change_now(before, preview.terms.clone(), preview.figures.clone(), at)?;
    let items = owed(settings, before, &change, at).into_iter().map(|item| OrderItem {
        key: item.kind.as_str().to_owned(),
        description: item.description,
        amount_minor: item.amount_minor,
    });
    let coupon = preview.coupon.as_ref().or(before.coupon_at(Period::containing(at).start));
    let rate = TaxRate::parse(&settings.billing.tax_rate_percent)?;
    Ok(Order {
        at,
        terms: preview.terms.clone(),
        coupon: preview.coupon.clone(),
        currency: preview.figures.currency.clone(),
        items: items.collect(),
        discount: coupon.map(|coupon| coupon.discount),
        tax_millionths: (!before.is_tax_exempt).then(|| rate.millionths()),
    })
}

/// What an order's terms are called, such as `Basic with CRM`.
#[must_use]
pub fn title(settings: &Settings, terms: &Terms) -> String {
    titles(settings, terms)
}

/// Makes the subscription what was ordered, as a part of the transaction that notes the payment. `is_charged`: what was due for the
/// rest of the period is paid and on an invoice of its own; otherwise it waits for the next one.
///
/// # Errors
/// [`DbError`].
pub async fn fulfil(
    tx: &mut TenantTx,
    settings: &Settings,
    order: &Order,
    is_charged: bool,
    at: DateTime<Utc>,
) -> Result<(), DbError> {
    let Locked { tenant, subscription: before } = lock(tx, settings).await?;
    let at = after_last_change(tx, at.trunc_subsecs(6)).await?;
    let figures = plan_versions::find(tx, &order.terms.plan, order.terms.version).await?;
    let figures = figures.ok_or(DbError::Corrupt("stripe_checkouts.bought"))?;
    let change_at = |at| {
        change_now(&before, order.terms.clone(), figures.clone(), at)
            .map_err(|_sum: MoneyError| DbError::Corrupt("plan_versions.price_minor"))
    };
    let mut change = change_at(at)?;
    let is_same_period = Period::containing(at) == Period::containing(order.at);
    if is_charged && is_same_period {
        (change.credit_minor, change.charge_minor) = (0, 0);
    }
    if let Some(coupon) = order.coupon.clone() {
        if !change.after.used_coupons.contains(&coupon.code) {
            change.after.used_coupons.push(coupon.code.clone());
        }
        change.after.coupon = Some(coupon);
    }
    let (after, _version) = write(tx, &before, change.after).await?;
    change.after = after;
    write_terms(tx, settings, ChangeKind::Change, &before, &change, at).await?;
    if is_charged {
        let due = change_at(order.at)?;
        // What was paid for a period that is over was paid for nothing.
        let due_minor = if is_same_period { due.charge_minor - due.credit_minor } else { 0 };
        correct(tx, order, due_minor, change.after.revision).await?;
    }
    let doer = Doer { actor: AuditActor::System, source: AuditSource::default() };
    let detail = json!({
        "from": in_short(&before.terms), "to": in_short(&order.terms), "holds_from": at, "ordered_at": order.at,
        "is_charged": is_charged, "coupon": order.coupon.as_ref().map(|coupon| &coupon.code),
    });
    note(tx, &doer, "subscription.change", &change.after, detail).await?;
    announce(tx, settings, &tenant, &before, &change.after).await
}

/// If the subscription was changed between order and payment, or the period is another one by now, something else was due than was paid:
/// the difference waits for the next invoice. Sums without tax.
async fn correct(tx: &mut TenantTx, order: &Order, due_minor: i64, revision: i64) -> Result<(), DbError> {
    let paid: i64 = order.items.iter().map(|item| item.amount_minor).sum();
    let difference = due_minor - paid;
    if difference != 0 {
        let item = NewPendingItem {
            key: format!("order:{revision}"),
            // What is due for the rest of the period, so a coupon of the period is for it, too.
            kind: if difference < 0 { PendingKind::ProrationCredit } else { PendingKind::ProrationCharge },
            description: "Difference to what was paid when subscribing".to_owned(),
            amount_minor: difference,
            currency: order.currency.clone(),
            period: order.period(),
        };
        pending_items::insert(tx, &item).await?;
    }
    Ok(())
}
