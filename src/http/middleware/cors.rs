//! CORS: pages of the origins that a tenant lists may call its host, with credentials.

use std::rc::Rc;

use actix_cors::Cors;
use actix_web::dev::RequestHead;
use actix_web::http::header::HeaderValue;

use crate::http::context::RequestContext;

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

/// The middleware. The edge has resolved the tenant of every request with an `Origin`.
#[must_use]
pub fn cors() -> Cors {
    Cors::default()
        .allowed_origin_fn(is_allowed)
        .allow_any_method()
        .allow_any_header()
        .expose_headers(EXPOSED)
        .supports_credentials()
        .max_age(600)
}

fn is_allowed(origin: &HeaderValue, head: &RequestHead) -> bool {
    let extensions = head.extensions();
    let tenant = extensions.get::<Rc<RequestContext>>().and_then(|context| context.tenant.get());
    tenant.is_some_and(|tenant| {
        let view = tenant.view();
        view.tenant.config.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    })
}
