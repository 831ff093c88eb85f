//! What admins do about limits.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::billing_meter::resume::{self as pauses, ResumeError};
use crate::domain::meter::MeterName;
use crate::domain::quota::{QuotaState, standing};
use crate::http::extract::{AdminOfTenant, SteppedUp};
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// How a meter stands after its pause was lifted.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ResumedResponse {
    /// The meter.
    #[schema(value_type = String)]
    meter: MeterName,
    /// The period for which the pause is lifted, such as `2026-11`.
    period: String,
    /// Used in it so far.
    used: i64,
    /// Set aside for calls under way.
    reserved: i64,
    /// `soft`: at or past the soft limit, and not paused for it.
    #[schema(value_type = String)]
    state: QuotaState,
}

impl From<ResumeError> for Problem {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::NotPaused { state: QuotaState::Hard } => {
                Self::new(&kinds::CONFLICT, "the hard limit is reached, which only another plan lifts")
            }
            ResumeError::NotPaused { .. } => Self::new(&kinds::CONFLICT, "the meter is not paused"),
            ResumeError::PlanChanged => Self::new(&kinds::CONFLICT, "the plan was changed just now; look again"),
            ResumeError::Db(error) => error.into(),
        }
    }
}

/// Let calls that a meter's soft limit has paused go on. It holds until the period ends or the limits change, and on every node
/// within a second. A hard limit is not lifted so.
#[utoipa::path(post, path = "/billing/usage/{meter}/resume", tag = "billing", operation_id = "billing.usage.resume",
    security(("bearer" = [])), params(("meter" = String, Path, description = "The meter's name, such as `ai_tokens`")),
    responses((status = 200, description = "Not paused any more", body = ResumedResponse), openapi::SwitchProblems, openapi::ThingProblems))]
pub(in crate::http) async fn resume(
    admin: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    meter: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let meter = state.settings.meters.get_key_value(meter.as_str()).map(|(meter, _)| meter);
    let meter = meter.ok_or_else(|| Problem::new(&kinds::NOT_FOUND, "there is no such meter"))?;
    let scope = &admin.scope;
    let source = scope.caller.source.clone();
    let status = pauses::resume(&state.db, &scope.view, meter, admin.audit_actor(), source).await?;
    tenancy::reload(&scope.tenant, None).await?;
    let stands = standing(scope.view.plan.meters.get(meter), Some(&status), status.period.start);
    Ok(HttpResponse::Ok().json(ResumedResponse {
        meter: meter.clone(),
        period: stands.period.name(),
        used: stands.used,
        reserved: stands.reserved,
        state: stands.state,
    }))
}
