//! Where the tenant changes its card.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::subscribe::is_page;
use crate::http::extract::{AdminOfTenant, OptionalJson, SteppedUp, Then};
use crate::http::openapi;
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;

/// Where the browser comes back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PortalRequest {
    /// A path on the tenant's host, or a URL; left out: the platform's page about plans.
    return_url: Option<String>,
}

/// Where to go.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PortalResponse {
    /// The page; it works for minutes.
    url: String,
}

/// A page of Stripe's on which the tenant changes its card and addresses, and sees what was collected. Ending the subscription there
/// ends it here.
#[utoipa::path(post, path = "/billing/portal", tag = "billing", operation_id = "billing.portal", security(("bearer" = [])),
    request_body = Option<PortalRequest>,
    responses((status = 200, description = "The page", body = PortalResponse),
              (status = 404, description = "`not-found`: payments are not taken online, invoices are paid by bank transfer", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 409, description = "`conflict`: the payment provider refused", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn portal(
    Then(admin, OptionalJson(body)): Then<SteppedUp<AdminOfTenant>, OptionalJson<PortalRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let return_url = body.and_then(|body: PortalRequest| body.return_url);
    if return_url.as_deref().is_some_and(|url| !is_page(url)) {
        let detail = "must be a path such as /billing, or a URL".to_owned();
        return Err(Problem::invalid_fields(vec![FieldError { pointer: "/return_url".to_owned(), detail }]));
    }
    let desk =
        state.stripe.as_ref().ok_or_else(|| Problem::new(&kinds::NOT_FOUND, "payments are not taken online here"))?;
    let url =
        desk.open_portal(&admin.scope.view, return_url, admin.audit_actor(), admin.scope.caller.source.clone()).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(PortalResponse { url }))
}
