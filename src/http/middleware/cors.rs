//! CORS: pages of the origins that a tenant lists may call its host, with credentials.

use actix_cors::{Cors, CorsError};
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderName, HeaderValue, ORIGIN};

use crate::http::context::RequestContext;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// Headers of answers that pages may read.
const EXPOSED: [&str; 8] = [
    "x-request-id",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "etag",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// Set by the edge on requests whose `Origin` the tenant lists; what a client sends under this name is dropped first. The library
/// asks about an origin with nothing but the request's head in hand, and cannot wait for a tenant to be loaded.
static ALLOWED: HeaderName = HeaderName::from_static("x-internal-cors-allowed");

/// The middleware.
#[must_use]
pub fn cors() -> Cors {
    Cors::default()
        .allowed_origin_fn(|_origin, head| head.headers().contains_key(&ALLOWED))
        .allow_any_method()
        .allow_any_header()
        .expose_headers(EXPOSED)
        .supports_credentials()
        .max_age(600)
}

/// Marks a request as from a page of an origin that its tenant lists.
pub(super) async fn mark(request: &mut ServiceRequest, state: &AppState, context: &RequestContext) {
    request.headers_mut().remove(&ALLOWED);
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return;
    };
    // Whatever is wrong with the tenant, the request itself is answered with it.
    let Ok(tenant) = tenancy::tenant_of(request.request(), state, context).await else {
        return;
    };
    let view = tenant.view();
    if view.tenant.config.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
        request.headers_mut().insert(ALLOWED.clone(), HeaderValue::from_static("1"));
    }
}

/// The problem that stands for the library's own refusal of a preflight.
pub(super) fn refusal(error: &actix_web::Error) -> Option<Problem> {
    error.as_error::<CorsError>()?;
    Some(Problem::new(
        &kinds::ORIGIN_NOT_ALLOWED,
        "the tenant does not list this origin, or the preflight is malformed",
    ))
}
