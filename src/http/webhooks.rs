//! What other services tell us.

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Caller, RawBody, Then, read_body};
use super::openapi;
use super::problem::{Problem, kinds};
use super::state::AppState;
use crate::clock;
use crate::domain::stripe::signature;

/// Largest event that is read, in bytes. Stripe's are far smaller.
const MAX_EVENT: usize = 1 << 20;

/// An event is here, now or before.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventReceived {
    /// Always true.
    received: bool,
}

/// Stripe tells of an event. It is stored as it came and answered at once; what it is about is looked up afterwards. The same event
/// may come any number of times.
#[utoipa::path(post, path = "/webhooks/stripe", tag = "webhooks", operation_id = "stripe_event.receive",
    params(("Stripe-Signature" = String, Header, description = "`t=` seconds since 1970 and one `v1=` or more: HMAC-SHA-256 over time, dot and body")),
    request_body(content = String, description = "The event, as Stripe wrote and signed it", content_type = "application/json"),
    responses((status = 200, description = "The event is stored", body = EventReceived),
              (status = 404, description = "`not-found`: there is no Stripe account", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 408, description = "`request-timeout`: the body did not arrive in time", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 413, description = "`payload-too-large`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::CommonProblems))]
pub(super) async fn stripe(
    Then(_caller, RawBody(body)): Then<Caller, RawBody>,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let desk = state.stripe.as_ref().ok_or_else(|| Problem::new(&kinds::NOT_FOUND, "there is no Stripe account"))?;
    let header = request.headers().get("stripe-signature").and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(|| Problem::new(&kinds::MALFORMED_REQUEST, "the Stripe-Signature is missing"))?;
    let body = read_body(body, MAX_EVENT).await?;
    let settings = &state.settings.stripe;
    let secrets: Vec<&[u8]> = [&settings.webhook_secret, &settings.webhook_secret_previous]
        .into_iter()
        .flatten()
        .map(|secret| secret.expose_secret().as_bytes())
        .collect();
    signature::verify(header, &body, &secrets, clock::now_s())
        .map_err(|error| Problem::new(&kinds::MALFORMED_REQUEST, error.to_string()))?;
    desk.take_in(&body).await?;
    Ok(HttpResponse::Ok().json(EventReceived { received: true }))
}
