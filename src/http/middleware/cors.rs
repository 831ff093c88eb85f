//! CORS (Fetch standard §3.2): pages of the origins that a tenant lists may call its host, with credentials.
//!
//! Of our own rather than a library's: the answer depends on the tenant, which may have to be loaded first, and a request without
//! `Origin` should pay nothing.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use crate::http::context::RequestContext;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// Headers of answers that pages may read.
const EXPOSED: &str = "x-request-id, etag, location, retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit, \
                       x-ratelimit-remaining, x-ratelimit-reset, www-authenticate, link, x-upgrade-url, x-quota-meter, \
                       x-quota-limit, x-quota-used, x-quota-remaining, x-quota-state, x-quota-reset, x-billing-state";
/// Methods that pages may use.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// Seconds for which a browser may remember a preflight's answer.
const MAX_AGE: &str = "600";
const VARY_ON: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

/// The middleware, for `actix_web::middleware::from_fn`. It stands behind the limit for each address, because it may have to load a
/// tenant.
///
/// # Errors
/// None of its own: every refusal is an answer.
pub async fn cors(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (Some(state), Some(context)) =
        (request.app_data::<web::Data<AppState>>().cloned(), RequestContext::of(request.request()))
    else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let cors = Cors::of(&request, &state, &context).await;
    let mut response = match cors.preflight(&request) {
        Some(answer) => request.into_response(answer.unwrap_or_else(|problem| problem.response())),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    cors.finish(response.headers_mut());
    Ok(response)
}

/// What is known of a request with an `Origin`.
enum Cors {
    /// No page of another origin: nothing to do.
    Absent,
    /// From an origin that the tenant lists.
    Allowed(HeaderValue),
    /// From another origin: answered without the headers, so that the browser keeps the answer from the page.
    NotAllowed,
}

impl Cors {
    /// Looks at a request.
    async fn of(request: &ServiceRequest, state: &AppState, context: &RequestContext) -> Self {
        let Some(origin) = request.headers().get(ORIGIN).cloned() else { return Self::Absent };
        // Whatever is wrong with the tenant, the request itself is answered with it.
        let Ok(tenant) = tenancy::tenant_of(request.request(), state, context).await else { return Self::NotAllowed };
        let view = tenant.view();
        let is_listed = view.tenant.config.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        if is_listed { Self::Allowed(origin) } else { Self::NotAllowed }
    }

    /// The answer to a preflight; `None` if the request is none.
    fn preflight(&self, request: &ServiceRequest) -> Option<Result<HttpResponse, Problem>> {
        let is_preflight =
            *request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        match self {
            _ if !is_preflight => None,
            Self::Absent => None,
            Self::NotAllowed => {
                Some(Err(Problem::new(&kinds::ORIGIN_NOT_ALLOWED, "the tenant does not list this origin")))
            }
            Self::Allowed(_) => {
                let mut answer = HttpResponse::NoContent();
                answer
                    .insert_header((ACCESS_CONTROL_ALLOW_METHODS, METHODS))
                    .insert_header((ACCESS_CONTROL_MAX_AGE, MAX_AGE));
                if let Some(headers) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
                    answer.insert_header((ACCESS_CONTROL_ALLOW_HEADERS, headers.clone()));
                }
                Some(Ok(answer.finish()))
            }
        }
    }

    /// Adds what the browser needs to hand the answer to the page. A service's own headers of this kind are replaced: the
    /// tenant decides who may read.
    fn finish(&self, headers: &mut HeaderMap) {
        match self {
            Self::Absent => return,
            Self::NotAllowed => {
                headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
                headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
            }
            Self::Allowed(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            }
        }
        headers.append(VARY, HeaderValue::from_static(VARY_ON));
    }
}
