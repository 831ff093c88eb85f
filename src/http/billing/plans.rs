//! The plans that there are.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{PlanSettings, Settings};
use crate::domain::meter::MeterName;
use crate::domain::quota::OnExceed;
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
    /// Price of each unit beyond that, a decimal number of the currency's smallest unit; none = more is not billed.
    #[schema(example = "0.002")]
    overage_unit_price: Option<String>,
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
    /// What people call it.
    title: String,
    /// Version of its figures, which new subscribers get.
    version: u32,
    /// Price of a month, in the currency's smallest unit; 0 = free.
    price_minor: i64,
    /// Days for which somebody who paid nothing before pays nothing, once.
    trial_days: u32,
    /// Requests a minute.
    requests_per_minute: u32,
    /// Modules included.
    modules: Vec<String>,
    /// Limits and prices; a meter that is not in the list is counted, not limited and not billed.
    meters: Vec<PlanMeterResponse>,
}

impl PlanResponse {
    fn of(settings: &Settings, name: &str, plan: &PlanSettings) -> Self {
        let figures = plan.figures(&settings.billing.currency);
        let meters = figures.meters.into_iter().map(|(meter, figures)| PlanMeterResponse {
            meter,
            included: figures.included,
            overage_unit_price: figures.overage_unit_price,
            soft_limit: figures.soft_limit,
            hard_limit: figures.hard_limit,
            thresholds: figures.thresholds,
            on_exceed: figures.on_exceed,
            throttle_per_minute: figures.throttle_per_minute,
        });
        Self {
            name: name.to_owned(),
            title: plan.title.clone().unwrap_or_else(|| name.to_owned()),
            version: plan.version,
            price_minor: figures.price_minor,
            trial_days: figures.trial_days,
            requests_per_minute: figures.requests_per_minute.unwrap_or(settings.limits.tenant_per_minute),
            modules: figures.modules,
            meters: meters.collect(),
        }
    }
}

/// A module that is sold beside plans which do not include it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ModuleResponse {
    /// Its name.
    name: String,
    /// What people call it.
    title: String,
    /// Price of a month, in the currency's smallest unit.
    price_minor: i64,
}

/// What is sold, in the order of names.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PlansResponse {
    /// The plans.
    plans: Vec<PlanResponse>,
    /// Modules beside them.
    modules: Vec<ModuleResponse>,
    /// Currency of all prices (ISO 4217).
    #[schema(example = "USD")]
    currency: String,
    /// Tax that is added, in percent.
    #[schema(example = "0")]
    tax_rate_percent: String,
    /// Name of the tenant's own plan.
    current: String,
}

/// The plans and modules that there are, with prices without tax.
#[utoipa::path(get, path = "/billing/plans", tag = "billing", operation_id = "billing.plans.list", security(("bearer" = [])),
    responses((status = 200, description = "All plans", body = PlansResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn list_plans(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let settings = &state.settings;
    let modules = settings.modules.iter().map(|(name, module)| ModuleResponse {
        name: name.clone(),
        title: module.title.clone(),
        price_minor: module.price_minor,
    });
    Ok(HttpResponse::Ok().json(PlansResponse {
        plans: settings.plans.iter().map(|(name, plan)| PlanResponse::of(settings, name, plan)).collect(),
        modules: modules.collect(),
        currency: settings.billing.currency.clone(),
        tax_rate_percent: settings.billing.tax_rate_percent.clone(),
        current: user.scope.view.plan.name.clone(),
    }))
}
