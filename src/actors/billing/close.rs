//! The close of billing periods, each in one transaction: the period, what of its usage is billed, and the invoice are there together or
//! not at all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};

use super::issue::{Issue, issue};
use crate::actors::subscriptions::due;
use crate::actors::tenants_in_turn::{ChoreError, note};
use crate::clock;
use crate::config::Settings;
use crate::db::billing_periods::{self, ToClose};
use crate::db::invoices::InvoiceKind;
use crate::db::pending_items::{self, NewPendingItem, PendingItem, PendingKind};
use crate::db::subscriptions::{self, AgreedTerms};
use crate::db::{Db, DbError, SystemReason, SystemTx, TenantTx, tenants};
use crate::domain::closing::{Ahead, Closed, Closing, MeterPrices, ModuleTerms, Pending, Used};
use crate::domain::ids::{InvoiceId, TenantId};
use crate::domain::invoice::{Discount, LineKind};
use crate::domain::money::{Currency, MoneyError};
use crate::domain::period::Period;
use crate::domain::subscription::{HeldCoupon, Subscription, Terms};
use crate::domain::tax::{TaxRate, Taxation};

/// Tenants that are looked up at once.
const PAGE: i64 = 500;
/// Tenants that are closed at once: while one waits for the disk, others are read and worked out. Their commits follow each other,
/// because numbers have no gaps, so more of them gain little.
const AT_ONCE: usize = 4;
/// After the end of the grace for late events, so long is waited until an event that came in time is surely counted. One that is not
/// is billed with the next period: nothing is lost by a wait that is too short.
const SETTLE: TimeDelta = TimeDelta::minutes(10);

/// Why a period was not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The database did not do it.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A sum does not fit, or the configuration has no currency or tax rate that can be read.
    #[error("the period's sums cannot be worked out")]
    Money(#[from] MoneyError),
}

/// Closes what is due of all tenants; returns how many periods. A tenant that fails is left to the next run.
///
/// # Errors
/// [`ChoreError`].
pub async fn close_due(db: &Db, settings: &Settings) -> Result<u64, ChoreError> {
    let until = due_until(settings, clock::now());
    let system = SystemTx::new(db, SystemReason::CloseBilling);
    let (mut after, mut n_closed, mut n_failed) = (None, 0, 0);
    loop {
        let page = billing_periods::list_to_close(&system, until, after, PAGE).await?;
        let closing = page.iter().map(async |to_close| {
            let ToClose { tenant, created_at, closed_until } = *to_close;
            let first = Period::containing(closed_until.unwrap_or(created_at));
            (tenant, close_from(db, settings, tenant, first, until, clock::now()).await)
        });
        let mut closing = stream::iter(closing).buffer_unordered(AT_ONCE);
        while let Some((tenant, closed)) = closing.next().await {
            match closed {
                Ok(n) => n_closed += n,
                Err(CloseError::Db(error)) => {
                    note(tenant, error)?;
                    n_failed += 1;
                }
                Err(error @ CloseError::Money(_)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(tenant.id = %tenant, error, "a period was not closed");
                    n_failed += 1;
                }
            }
        }
        match page.last() {
            Some(last) => after = Some(last.tenant),
            None => return ChoreError::unless_none(n_failed, n_closed),
        }
    }
}

/// Up to where periods are to be closed at `now`: late events may come for some time after their end.
fn due_until(settings: &Settings, now: DateTime<Utc>) -> DateTime<Utc> {
    let grace = TimeDelta::hours(i64::from(settings.metering.late_grace_h));
    Period::containing(now - grace - SETTLE).start
}

/// Closes what is not closed of one tenant up to `until`, without waiting for late events; returns how many periods. `now` is the time
/// by which changes that were agreed for later hold.
///
/// # Errors
/// [`CloseError`].
pub async fn close_until(
    db: &Db,
    settings: &Settings,
    tenant: TenantId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, CloseError> {
    let mut tx = TenantTx::begin_read(db, tenant).await?;
    let closed_until = billing_periods::find_closed_until(&mut tx).await?;
    let created_at = tenants::find(&mut tx).await?.map(|tenant| tenant.created_at);
    tx.finish();
    let Some(since) = closed_until.or(created_at) else { return Ok(0) };
    close_from(db, settings, tenant, Period::containing(since), until, now).await
}

async fn close_from(
    db: &Db,
    settings: &Settings,
    tenant: TenantId,
    first: Period,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, CloseError> {
    // What was agreed for a moment before now is written down first: the bill goes by it.
    due::change_due_of(db, settings, tenant, now).await?;
    let (mut period, mut n_closed) = (first, 0);
    while period.end <= until {
        if close_period(db, settings, tenant, period).await?.is_some() {
            n_closed += 1;
        }
        period = Period::containing(period.end);
    }
    Ok(n_closed)
}

/// What a close did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReport {
    /// The invoice, if there was anything to invoice.
    pub invoice: Option<InvoiceId>,
}

/// Closes one period of a tenant, which has ended; `None` if it is closed already.
///
/// # Errors
/// [`CloseError`].
pub async fn close_period(
    db: &Db,
    settings: &Settings,
    tenant: TenantId,
    period: Period,
) -> Result<Option<CloseReport>, CloseError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    let subscription = subscriptions::lock(&mut tx).await?;
    let ended = subscriptions::find_terms_at(&mut tx, period.end - TimeDelta::microseconds(1)).await?;
    let (plan, version) = ended.as_ref().map_or(("", 0), |ended| (ended.terms.plan.as_str(), ended.terms.version));
    if !billing_periods::insert(&mut tx, period, plan, version).await? {
        tx.finish();
        return Ok(None);
    }
    let (closed, items) = work_out(&mut tx, settings, period, subscription).await?;
    for (used, price) in &closed.billed {
        billing_periods::set_billed(&mut tx, used, *price).await?;
    }
    let invoice = match closed.lines.as_slice() {
        [] => None,
        _ => {
            let (kind, key) = (InvoiceKind::Cycle, period.name());
            let ids: Vec<_> = items.iter().map(|item| item.id).collect();
            Some(issue(&mut tx, settings, &Issue { kind, key, period, closed: &closed, items: &ids }).await?)
        }
    };
    tx.commit().await?;
    Ok(Some(CloseReport { invoice }))
}

/// What the close of a period would come to as things are; nothing is written.
///
/// # Errors
/// [`CloseError`].
pub async fn preview(db: &Db, settings: &Settings, tenant: TenantId, period: Period) -> Result<Closed, CloseError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    let subscription = subscriptions::lock(&mut tx).await?;
    let worked_out = work_out(&mut tx, settings, period, subscription).await;
    tx.finish();
    worked_out.map(|(closed, _)| closed)
}

async fn work_out(
    tx: &mut TenantTx,
    settings: &Settings,
    period: Period,
    subscription: Option<Subscription>,
) -> Result<(Closed, Vec<PendingItem>), CloseError> {
    let scheduled = subscription.as_ref().and_then(|subscription| subscription.scheduled.as_ref());
    let ahead = match scheduled.filter(|scheduled| scheduled.at <= period.end) {
        // Before its time has come, in a preview: what is agreed for then is not what holds.
        Some(scheduled) if scheduled.is_end => None,
        Some(scheduled) => Some(ahead_of(settings, &scheduled.terms)),
        None => {
            let terms = subscriptions::find_terms_at(tx, period.end).await?.filter(|terms| terms.is_billed);
            terms.map(|agreed| ahead_of(settings, &agreed.terms))
        }
    };
    let mut used = billing_periods::lock_unbilled(tx, period).await?;
    let prices = find_prices(tx, period, &mut used).await?;
    let items = pending_items::lock_unbilled(tx).await?;
    let pending: Vec<Pending> = items.iter().map(pending_of).collect();
    let coupon = subscription.as_ref().and_then(|subscription| subscription.coupon_at(period.end));
    let own_coupon = subscription.as_ref().and_then(|subscription| subscription.coupon_at(period.start));
    let is_exempt = subscription.as_ref().is_some_and(|subscription| subscription.is_tax_exempt);
    let closing = Closing {
        period,
        currency: Currency::parse(&settings.billing.currency)?,
        prices: &prices,
        ahead: ahead.as_ref(),
        used: &used,
        pending: &pending,
        discount: coupon.map(|coupon| coupon.discount.into()),
        proration_discount: proration_discount(tx, period, own_coupon, &pending).await?,
        proration_discount_from: own_coupon.and_then(|coupon| coupon.taken_at).unwrap_or(period.start),
        taxation: taxation(settings, is_exempt)?,
    };
    Ok((closing.work_out()?, items))
}

/// Prices of the period's usage. What was used in an earlier one, and first reported after its close, gets the prices of its own: it
/// is billed as all that comes late.
async fn find_prices(tx: &mut TenantTx, period: Period, used: &mut [Used]) -> Result<MeterPrices, DbError> {
    let mut found: BTreeMap<DateTime<Utc>, MeterPrices> = BTreeMap::new();
    for used in used.iter_mut().filter(|used| used.billed.is_none()) {
        let prices = match found.entry(used.period.start) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let agreed = subscriptions::find_usage_terms_of(tx, used.period).await?;
                unknown.insert(agreed.map(prices_of).unwrap_or_default())
            }
        };
        if used.period.start != period.start {
            used.billed = Some((0, prices.get(&used.meter).copied().unwrap_or_default()));
        }
    }
    Ok(found.remove(&period.start).unwrap_or_default())
}

/// What the coupon of a period takes off its prorations. An amount is taken off once for each period: what an invoice has had of it
/// is gone.
async fn proration_discount(
    tx: &mut TenantTx,
    period: Period,
    coupon: Option<&HeldCoupon>,
    pending: &[Pending],
) -> Result<Option<Discount>, DbError> {
    let Some(coupon) = coupon.filter(|_| pending.iter().any(|item| item.kind == LineKind::Proration)) else {
        return Ok(None);
    };
    Ok(Some(match coupon.discount.into() {
        share @ Discount::Share(_) => share,
        Discount::Amount(amount) => {
            Discount::Amount(amount.saturating_sub(billing_periods::sum_discounts_of(tx, period).await?))
        }
    }))
}

fn ahead_of(settings: &Settings, terms: &Terms) -> Ahead {
    let title = |name: &String| settings.modules.get(name).map_or_else(|| name.clone(), |module| module.title.clone());
    let modules = terms.add_ons.iter().map(|add_on| ModuleTerms {
        name: add_on.name.clone(),
        title: title(&add_on.name),
        price_minor: add_on.price_minor,
    });
    Ahead { plan: terms.plan.clone(), price_minor: terms.price_minor, modules: modules.collect() }
}

/// What usage costs under agreed terms. A trial has its plan's prices too: what is included is included, and more is more.
fn prices_of(agreed: AgreedTerms) -> MeterPrices {
    agreed.figures.meters.into_iter().map(|(meter, figures)| (meter, figures.price())).collect()
}

fn pending_of(item: &PendingItem) -> Pending {
    let NewPendingItem { key, kind, description, amount_minor, currency: _, period } = &item.item;
    let kind = match kind {
        PendingKind::ProrationCredit | PendingKind::ProrationCharge => LineKind::Proration,
        PendingKind::OneOff => LineKind::OneOff,
        PendingKind::LateUsage => LineKind::LateUsage,
    };
    Pending { key: key.clone(), kind, description: description.clone(), amount_minor: *amount_minor, period: *period }
}

fn taxation(settings: &Settings, is_exempt: bool) -> Result<Taxation, MoneyError> {
    if is_exempt {
        return Ok(Taxation::EXEMPT);
    }
    Ok(Taxation::at(TaxRate::parse(&settings.billing.tax_rate_percent)?))
}
