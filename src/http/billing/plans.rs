//! The plans that there are, and the tenant's own.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::config::{PlanSettings, Settings};
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::OnExceed;
use crate::domain::tenant::TenantState;
use crate::http::extract::AnyUser;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// A plan's figures for one meter, in the meter's unit.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PlanMeterResponse {
    /// The meter.
    #[schema(value_type = String)]
    meter: MeterName,
    /// What the plan's price includes.
    included: i64,
    /// Where `on_exceed` begins; none = nowhere.
    soft_limit: Option<i64>,
    /// What is never passed; none = no such limit.
    hard_limit: Option<i64>,
    /// Percentages of the soft limit, else of the hard one, that are announced.
    thresholds: Vec<u16>,
    /// What happens at the soft limit: `notify`, `throttle` or `pause`.
    #[schema(value_type = String)]
    on_exceed: OnExceed,
    /// Calls a minute while throttled.
    throttle_per_minute: u32,
}

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PlanResponse {
    /// Its name.
    name: String,
    /// Version of its figures.
    version: u32,
    /// Requests a minute.
    requests_per_minute: u32,
    /// Modules included.
    modules: Vec<String>,
    /// Limits; a meter that is not in the list is counted and not limited.
    meters: Vec<PlanMeterResponse>,
}

impl PlanResponse {
    fn of(settings: &Settings, name: &str, plan: &PlanSettings) -> Self {
        let version = format!("{name}@{}", plan.version).into();
        let meters = plan.meters.iter().map(|(meter, figures)| {
            let limits = figures.resolve(&version);
            PlanMeterResponse {
                meter: meter.clone(),
                included: limits.included,
                soft_limit: limits.soft,
                hard_limit: limits.hard,
                thresholds: limits.thresholds,
                on_exceed: limits.on_exceed,
                throttle_per_minute: limits.throttle_per_minute,
            }
        });
        Self {
            name: name.to_owned(),
            version: plan.version,
            requests_per_minute: plan.requests_per_minute.unwrap_or(settings.limits.tenant_per_minute),
            modules: plan.modules.clone(),
            meters: meters.collect(),
        }
    }
}

/// The plans, in the order of their names.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PlansResponse {
    /// The plans.
    plans: Vec<PlanResponse>,
    /// Name of the tenant's own.
    current: String,
}

/// The plans that there are.
#[utoipa::path(get, path = "/billing/plans", tag = "billing", operation_id = "billing.plans.list", security(("bearer" = [])),
    responses((status = 200, description = "All plans", body = PlansResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn list_plans(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let settings = &state.settings;
    let plans = settings.plans.iter().map(|(name, plan)| PlanResponse::of(settings, name, plan)).collect();
    Ok(HttpResponse::Ok().json(PlansResponse { plans, current: user.scope.view.plan.name.clone() }))
}

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

/// What the tenant has.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SubscriptionResponse {
    /// Name of its plan.
    plan: String,
    /// Version of the plan's figures; none: the configuration has no such plan any more.
    version: Option<u32>,
    /// Where the tenant is in its life.
    state: TenantState,
    /// Modules included.
    modules: Vec<String>,
    /// The present period, for which usage is counted.
    period: PeriodResponse,
}

/// The tenant's plan and its present period, which is the calendar month in UTC. An operator changes the plan; prices, payment and
/// changes by the tenant itself come with billing and extend this answer.
#[utoipa::path(get, path = "/billing/subscription", tag = "billing", operation_id = "billing.subscription.get", security(("bearer" = [])),
    responses((status = 200, description = "The subscription", body = SubscriptionResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn subscription(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let view = &user.scope.view;
    let period = Period::containing(clock::now());
    Ok(HttpResponse::Ok().json(SubscriptionResponse {
        plan: view.plan.name.clone(),
        version: state.settings.plans.get(&view.plan.name).map(|plan| plan.version),
        state: view.tenant.state,
        modules: view.plan.modules.clone(),
        period: PeriodResponse { name: period.name(), start: period.start, end: period.end },
    }))
}
