//! The tenant's subscription.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::{Db, TenantTx, pending_items};
use crate::domain::catalogue::{AddOn, Discount};
use crate::domain::period::Period;
use crate::domain::subscription::{HeldCoupon, Scheduled, Subscription, SubscriptionStatus};
use crate::domain::tenant::TenantState;
use crate::http::extract::AnyUser;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// A billing period, `[start, end)`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PeriodResponse {
    /// Its name, such as `2026-11`.
    name: String,
    /// Its first instant.
    start: DateTime<Utc>,
    /// The first instant after it.
    end: DateTime<Utc>,
}

/// What will hold later.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ScheduledResponse {
    /// From when.
    at: DateTime<Utc>,
    /// Name of the plan then.
    plan: String,
    /// Version of its figures.
    version: u32,
    /// Modules beside the plan's own.
    add_ons: Vec<AddOn>,
    /// What a month costs then, without tax.
    monthly_minor: i64,
    /// The subscription ends then.
    is_end: bool,
}

impl From<&Scheduled> for ScheduledResponse {
    fn from(scheduled: &Scheduled) -> Self {
        let Scheduled { at, terms, is_end } = scheduled;
        Self {
            at: *at,
            plan: terms.plan.clone(),
            version: terms.version,
            add_ons: terms.add_ons.clone(),
            monthly_minor: terms.monthly_minor(),
            is_end: *is_end,
        }
    }
}

/// A coupon that invoices are cheaper by.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CouponResponse {
    /// Its code.
    code: String,
    /// So many percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent_off: Option<u8>,
    /// So much, in the currency's smallest unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_off_minor: Option<i64>,
    /// Periods that begin from here on are without it.
    ends_at: DateTime<Utc>,
}

impl From<&HeldCoupon> for CouponResponse {
    fn from(coupon: &HeldCoupon) -> Self {
        let (percent_off, amount_off_minor) = match coupon.discount {
            Discount::PercentOff(percent) => (Some(percent), None),
            Discount::AmountOffMinor(amount) => (None, Some(amount)),
        };
        Self { code: coupon.code.clone(), percent_off, amount_off_minor, ends_at: coupon.ends_at }
    }
}

/// What the tenant has.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SubscriptionResponse {
    /// Name of its plan.
    plan: String,
    /// Version of the plan's figures; none: nobody knows the plan.
    version: Option<u32>,
    /// Where the tenant is in its life.
    state: TenantState,
    /// Where the subscription stands: `trialing`, `active`, `past_due` (an invoice is overdue), `restricted` (routes with a module or a
    /// meter answer 402), `suspended` (only signing in and paying work) or `canceled`.
    #[schema(value_type = String, example = "active")]
    status: SubscriptionStatus,
    /// Modules: the plan's own, and those beside it.
    modules: Vec<String>,
    /// Modules beside the plan's own, with the prices that were agreed.
    add_ons: Vec<AddOn>,
    /// Price of the plan for a month, in the currency's smallest unit, without tax.
    price_minor: i64,
    /// The same with the modules beside it.
    monthly_minor: i64,
    /// Currency of the prices (ISO 4217).
    currency: String,
    /// What the next invoice has besides prices and usage: what is left of a changed price, and so on.
    pending_minor: i64,
    /// When the tenant got its first plan.
    started_at: DateTime<Utc>,
    /// When the trial ends or ended; none = there was none.
    trial_end: Option<DateTime<Utc>>,
    /// It ends with what is paid for.
    cancel_at_period_end: bool,
    /// When it was ended.
    canceled_at: Option<DateTime<Utc>>,
    /// What comes next.
    scheduled: Option<ScheduledResponse>,
    /// The coupon that holds in the present period.
    coupon: Option<CouponResponse>,
    /// No tax is added.
    is_tax_exempt: bool,
    /// Grows with each change.
    revision: i64,
    /// The present period, for which usage is counted.
    period: PeriodResponse,
}

impl SubscriptionResponse {
    pub(super) fn new(view: &TenantView, pending_minor: i64) -> Self {
        let Subscription { terms, figures, status, started_at, trial_end, scheduled, canceled_at, .. } =
            &*view.subscription;
        let period = Period::containing(clock::now());
        Self {
            plan: terms.plan.clone(),
            version: Some(terms.version).filter(|version| *version > 0),
            state: view.tenant.state,
            status: *status,
            modules: view.plan.modules.clone(),
            add_ons: terms.add_ons.clone(),
            price_minor: terms.price_minor,
            monthly_minor: terms.monthly_minor(),
            currency: figures.currency.clone(),
            pending_minor,
            started_at: *started_at,
            trial_end: *trial_end,
            cancel_at_period_end: scheduled.as_ref().is_some_and(|scheduled| scheduled.is_end),
            canceled_at: *canceled_at,
            scheduled: scheduled.as_ref().map(ScheduledResponse::from),
            coupon: view.subscription.coupon_at(period.start).map(CouponResponse::from),
            is_tax_exempt: view.subscription.is_tax_exempt,
            revision: view.subscription.revision,
            period: PeriodResponse { name: period.name(), start: period.start, end: period.end },
        }
    }
}

/// What waits for the next invoice, in the currency's smallest unit.
pub(super) async fn pending(db: &Db, view: &TenantView) -> Result<i64, Problem> {
    let mut tx = TenantTx::begin_read(db, view.tenant.id).await?;
    let sum = pending_items::sum_unbilled(&mut tx).await?;
    tx.finish();
    Ok(sum)
}

/// The tenant's plan, what it has agreed to pay, where it stands with that, and its present period, which is the calendar month in UTC.
#[utoipa::path(get, path = "/billing/subscription", tag = "billing", operation_id = "billing.subscription.get", security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = SubscriptionResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn subscription(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let view = &user.scope.view;
    let pending = pending(&state.db, view).await?;
    let response = SubscriptionResponse::new(view, pending);
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(response))
}
