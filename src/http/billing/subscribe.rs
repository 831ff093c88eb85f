//! Subscribing, changing and ending a subscription.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::subscription::{SubscriptionResponse, pending};
use crate::actors::stripe::Pages;
use crate::actors::subscriptions::{self, By, ChangeWish, Outcome};
use crate::clock;
use crate::http::extract::{AdminOfTenant, Json, OptionalJson, SteppedUp, TenantScope, Then};
use crate::http::problem::{FieldError, Problem};
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// Most modules of one wish.
const MAX_MODULES: usize = 50;
/// Longest name, code or URL.
const MAX_TEXT: usize = 2_048;

/// What a tenant wants to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SubscribeRequest {
    /// Name of the plan.
    #[schema(example = "basic")]
    plan: String,
    /// Exactly these modules beside the plan's own; left out: those that there are, as far as the plan does not include them.
    #[schema(max_items = 50)]
    modules: Option<Vec<String>>,
    /// Code of a coupon; each is good once.
    coupon: Option<String>,
    /// Where the browser goes after it was paid online: a path on the tenant's host, or a URL.
    success_url: Option<String>,
    /// Where it goes if it was not.
    cancel_url: Option<String>,
}

impl SubscribeRequest {
    /// Every mistake that can be seen without the catalogue.
    fn mistakes(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, detail: &str| {
            errors.push(FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() });
        };
        if self.modules.as_ref().is_some_and(|modules| modules.len() > MAX_MODULES) {
            wrong("/modules", "must have at most 50 entries");
        }
        for (pointer, url) in [("/success_url", &self.success_url), ("/cancel_url", &self.cancel_url)] {
            if url.as_deref().is_some_and(|url| !is_page(url)) {
                wrong(pointer, "must be a path such as /paid, or a URL");
            }
        }
        errors
    }
}

/// A path on the tenant's own host, or a URL. `//host` is neither.
pub(super) fn is_page(url: &str) -> bool {
    let is_start = url.starts_with("https://") || url.starts_with("http://") || url.starts_with('/');
    let is_plain = !url.starts_with("//") && !url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\');
    is_start && is_plain && url.len() <= MAX_TEXT
}

/// What came of it: one of the two.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SubscribeResponse {
    /// The subscription as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<SubscriptionResponse>,
    /// Where to pay; the subscription is changed once that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkout_url: Option<String>,
}

/// When a subscription is to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CancelRequest {
    /// With what is paid for; else at once, and then nothing is given back.
    #[serde(default = "yes")]
    #[schema(default = true)]
    at_period_end: bool,
}

fn yes() -> bool {
    true
}

/// The subscription after a cancellation.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CancelResponse {
    /// As it is now.
    subscription: SubscriptionResponse,
}

/// Subscribe to a plan, with modules beside it, or change what is subscribed to. What costs as much or more holds at once: what is left
/// of the month's old price is given back and the rest of the new one is due, by the second, with the next invoice. What costs less
/// holds from the month's end. Usage is not counted anew. Sending the same again changes nothing, and asking for what is there takes
/// back what was to come: a smaller plan, or the end.
#[utoipa::path(post, path = "/billing/subscribe", tag = "billing", operation_id = "billing.subscribe", security(("bearer" = [])),
    request_body = SubscribeRequest,
    responses((status = 200, description = "The subscription, or where to pay", body = SubscribeResponse),
              (status = 402, description = "`payment-required`: invoices are overdue", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SwitchProblems, openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn subscribe(
    Then(admin, Json(body)): Then<SteppedUp<AdminOfTenant>, Json<SubscribeRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mistakes = body.mistakes();
    if !mistakes.is_empty() {
        return Err(Problem::invalid_fields(mistakes));
    }
    let SubscribeRequest { plan, modules, coupon, success_url, cancel_url } = body;
    let (scope, actor, source) = (&admin.scope, admin.audit_actor(), admin.scope.caller.source.clone());
    let wish = ChangeWish { plan, modules, coupon, by: By::Tenant { seen: scope.view.subscription.revision } };
    let preview = subscriptions::preview(&state.settings, &scope.view.subscription, &wish, clock::now())?;
    if let Some(desk) = &state.stripe
        && preview.asks_for_payment()
        && let Some(url) = desk.take_order(&scope.view, &preview, Pages { success_url, cancel_url }).await?
    {
        let response = SubscribeResponse { subscription: None, checkout_url: Some(url) };
        return Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(response));
    }
    let outcome = subscriptions::change(&state.db, &state.settings, scope.tenant.id(), &wish, actor, source).await?;
    let subscription = Some(shown(&state, scope, &outcome).await?);
    let response = SubscribeResponse { subscription, checkout_url: None };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(response))
}

/// End the subscription: with what is paid for, or at once, and then nothing is given back; the month's usage is billed at its prices
/// all the same. What is left is the platform's default plan, if that is free of charge. Sending the same again changes nothing;
/// subscribing again takes it back.
#[utoipa::path(post, path = "/billing/cancel", tag = "billing", operation_id = "billing.cancel", security(("bearer" = [])),
    request_body = Option<CancelRequest>,
    responses((status = 200, description = "The subscription", body = CancelResponse),
              openapi::SwitchProblems, openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn cancel(
    Then(admin, OptionalJson(body)): Then<SteppedUp<AdminOfTenant>, OptionalJson<CancelRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let at_period_end = body.is_none_or(|body| body.at_period_end);
    let scope = &admin.scope;
    let (seen, source) = (scope.view.subscription.revision, scope.caller.source.clone());
    let tenant = scope.tenant.id();
    let (db, settings, actor) = (&state.db, &state.settings, admin.audit_actor());
    let outcome = subscriptions::cancel(db, settings, tenant, at_period_end, clock::now(), seen, actor, source).await?;
    let subscription = shown(&state, scope, &outcome).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(CancelResponse { subscription }))
}

/// The subscription as every call shows it from now on.
async fn shown(state: &AppState, scope: &TenantScope, outcome: &Outcome) -> Result<SubscriptionResponse, Problem> {
    if let Some(version) = outcome.config_version {
        tenancy::ensure_version(&scope.tenant, version).await?;
    }
    let view = scope.tenant.view_full();
    Ok(SubscriptionResponse::new(&view, pending(&state.db, &view).await?))
}
