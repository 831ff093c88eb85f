//! A tenant's plan is changed.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::target;
use crate::actors::subscriptions::{self, By, ChangeWish};
use crate::domain::ids::TenantId;
use crate::http::extract::{Json, Operator, Then};
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// The plan that a tenant is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PlanRequest {
    /// Name of the plan.
    plan: String,
}

/// A tenant's plan.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TenantPlanResponse {
    /// Id of the tenant.
    id: TenantId,
    /// Name of its plan now.
    plan: String,
    /// Version of the tenant's configuration.
    config_version: i64,
}

/// Put a tenant on another plan from now on, or on the newest version of its plan. What is left of the month's old price is given back
/// and the rest of the new one is due with the next invoice. Its usage of the present period is judged by the new plan at once: thresholds that are
/// passed under it are announced, and what was paused goes on if the new plan allows it.
#[utoipa::path(post, path = "/operator/tenants/{id}/plan", tag = "operator", operation_id = "operator.tenants.change_plan",
    security(("bearer" = [])), params(("id" = String, Path, description = "The tenant's id")), request_body = PlanRequest,
    responses((status = 200, description = "On the other plan", body = TenantPlanResponse),
              openapi::SwitchProblems, openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn change_plan(
    Then(operator, Json(body)): Then<Operator, Json<PlanRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &id).await?;
    let PlanRequest { plan } = body;
    if !state.settings.plans.contains_key(&plan) {
        let names: Vec<_> = state.settings.plans.keys().map(String::as_str).collect();
        return Err(Problem::invalid_field("/plan", format!("must be one of {}", names.join(", "))));
    }
    let (actor, source) = (operator.audit_actor(), operator.scope.caller.source.clone());
    let wish = ChangeWish { plan, modules: None, coupon: None, by: By::Platform };
    let outcome = subscriptions::change(&state.db, &state.settings, tenant.id(), &wish, actor, source).await?;
    let version =
        outcome.config_version.ok_or_else(|| Problem::new(&kinds::CONFLICT, "the tenant is on this plan already"))?;
    tenancy::ensure_version(&tenant, version).await?;
    let now = tenant.view().tenant.clone();
    Ok(HttpResponse::Ok().json(TenantPlanResponse { id: now.id, plan: now.plan, config_version: now.config_version }))
}
