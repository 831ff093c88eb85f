//! The edge: the outermost layer. It gives the request its id, refuses what is no proper request, and finishes every answer:
//! problem bodies, security headers, rate-limit headers, metrics, access log.

use std::rc::Rc;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};
use serde_json::json;

use super::measured::{Measure, Measured};
use super::security_headers::{self, Reached};
use crate::clock;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome};
use crate::domain::rate_limit::{Decision, RatePolicy};
use crate::domain::scim;
use crate::http::context::RequestContext;
use crate::http::gateway::hygiene::{self, HeadLimits, HygieneError};
use crate::http::problem::{Kind, PROBLEM_JSON, Problem, kinds};
use crate::http::state::AppState;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
static X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The middleware, for `actix_web::middleware::from_fn`.
///
/// # Errors
/// None of its own: every refusal is an answer.
pub async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Measured<BoxBody>>, Error> {
    // Always there: the server registers it.
    let state =
        request.app_data::<web::Data<AppState>>().cloned().ok_or_else(|| Problem::new(&kinds::INTERNAL, "no state"))?;
    let context = Rc::new(make_context(&state, &request));
    request.extensions_mut().insert(Rc::clone(&context));
    let measure = Measure {
        method: request.method().clone(),
        path: request.path().to_owned(),
        context: Rc::clone(&context),
        // Unless an answer is made, the client went away first.
        status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        bytes: 0,
        is_complete: false,
        switched: None,
        state: state.clone(),
    };
    let (n_in_flight, place) = state.metrics.enter();
    context.places.borrow_mut().server = Some(Rc::new(place));
    let response = match refuse(&state, &request, n_in_flight) {
        Some(problem) => {
            let mut response = problem.response();
            response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
            request.into_response(response)
        }
        None => next.call(request).await?.map_into_boxed_body(),
    };
    let mut response = finish(&context, response, measure);
    if state.drain.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.response_mut().head_mut().set_connection_type(actix_http::ConnectionType::Close);
    }
    Ok(response)
}

fn make_context(state: &AppState, request: &ServiceRequest) -> RequestContext {
    let head = request.head();
    let networks = &state.networks;
    let host = networks.host(head).map(std::borrow::Cow::into_owned);
    let is_secure = networks.is_secure(head, state.settings.server.tls_cert.is_some());
    RequestContext::new(head, networks.client_ip(head), host, is_secure)
}

fn refuse(state: &AppState, request: &ServiceRequest, n_in_flight: u64) -> Option<Problem> {
    let gateway = &state.settings.gateway;
    let limits = HeadLimits { max_header_bytes: gateway.max_header_bytes, max_url_bytes: gateway.max_url_bytes };
    if let Err(error) = hygiene::check_request(request.request(), &limits) {
        return Some(problem_of(error));
    }
    let is_health = matches!(request.path(), "/healthz" | "/readyz");
    if n_in_flight > state.settings.server.max_in_flight as u64 && !is_health {
        return Some(Problem::new(&kinds::OVERLOADED, "too many requests are being answered").retry_after(1));
    }
    None
}

fn problem_of(error: HygieneError) -> Problem {
    match error {
        HygieneError::HeaderName => {
            Problem::new(&kinds::MALFORMED_REQUEST, "a header name has a character outside A-Z, a-z, 0-9 and '-'")
        }
        HygieneError::HeadersTooLarge => Problem::new(&kinds::HEADERS_TOO_LARGE, "send fewer or shorter header fields"),
        HygieneError::UrlTooLong => Problem::new(&kinds::URI_TOO_LONG, "send a shorter path and query"),
        HygieneError::Method => Problem::new(&kinds::METHOD_NOT_ALLOWED, "TRACE and CONNECT are not served"),
        HygieneError::Target => {
            Problem::new(&kinds::MALFORMED_REQUEST, "the request target is neither a path nor a URL")
        }
        HygieneError::HostMismatch => {
            Problem::new(&kinds::MALFORMED_REQUEST, "the request target and Host name different hosts")
        }
        HygieneError::UpgradeWithBody => Problem::new(&kinds::MALFORMED_REQUEST, "an upgrade request has no body"),
        HygieneError::Expectation => Problem::new(&kinds::EXPECTATION_FAILED, "only 100-continue can be expected"),
    }
}

fn finish(
    context: &RequestContext,
    response: ServiceResponse<BoxBody>,
    mut measure: Measure,
) -> ServiceResponse<Measured<BoxBody>> {
    let is_head = *response.request().method() == Method::HEAD;
    let problem = response.response().extensions().get::<Problem>().cloned();
    let mut response = match problem {
        None => response,
        Some(problem) => {
            if context.flag.get().is_empty() {
                context.flag.set(problem.kind().flag);
            }
            if problem.kind() == &kinds::INTERNAL {
                // The cause was logged where it was met; this line ties it to what the client was told.
                tracing::error!(request.id = context.request_id, "answered 500");
            }
            if problem.is_security_event() {
                note_refusal(&measure.state, context, response.request(), problem.kind());
            }
            write_problem(response, &problem, &context.request_id)
        }
    };
    let status = response.status();
    let headers = response.headers_mut();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        security_headers::add(headers, reached(&measure.state, context));
    }
    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        headers.insert(X_REQUEST_ID.clone(), id);
    }
    if let Some((policy, decision)) = context.rate.get() {
        add_rate_limit(headers, policy, decision);
    }
    measure.status = status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        measure.switch();
    }
    let is_empty = matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0));
    measure.is_complete = is_head || is_empty;
    response.map_body(|_, body| Measured::new(body, measure))
}

/// Notes for the tenant's audit log who was refused what. What has no tenant has no log to be in.
fn note_refusal(state: &AppState, context: &RequestContext, request: &HttpRequest, kind: &'static Kind) {
    let Some(tenant) = context.tenant.get() else { return };
    state.notes.denials.note(tenant.id(), clock::now_s(), || AuditEvent {
        actor: match (context.user.get(), context.key.get(), context.scim_token.get()) {
            (Some(user), _, _) => AuditActor::User(user),
            (None, Some(key), _) => AuditActor::Key(key),
            (None, None, Some(token)) => AuditActor::Scim(token),
            (None, None, None) => AuditActor::Anonymous,
        },
        action: "request.deny",
        target_kind: "route",
        target_id: Some(context.route.borrow().to_string()),
        outcome: AuditOutcome::Denied,
        code: Some(kind.code),
        source: context.audit_source(request.head()),
        detail: json!({
            "method": request.method().as_str().chars().take(16).collect::<String>(),
            "path": request.path().chars().take(256).collect::<String>(),
        }),
    });
}

fn reached(state: &AppState, context: &RequestContext) -> Reached {
    let base_domain = state.settings.gateway.base_domain.as_str();
    let is_ours = context.host.as_deref().is_some_and(|host| {
        host.strip_suffix(base_domain).is_some_and(|label| label.is_empty() || label.ends_with('.'))
    });
    match (context.is_secure, is_ours) {
        (false, _) => Reached::Plain,
        (true, true) => Reached::Secure,
        (true, false) => Reached::SecureElsewhere,
    }
}

fn write_problem(response: ServiceResponse<BoxBody>, problem: &Problem, request_id: &str) -> ServiceResponse<BoxBody> {
    // Who speaks SCIM is answered in SCIM, whatever is wrong and wherever it is found out (RFC 7644 §3.12).
    let (media_type, body) = match response.request().path().starts_with("/scim/v2/") {
        true => (scim::MEDIA_TYPE, problem.scim_body()),
        false => (PROBLEM_JSON, problem.body(request_id)),
    };
    let mut response = response.map_body(|_, _| BoxBody::new(body));
    *response.response_mut().status_mut() = problem.status_code();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The fields of draft-ietf-httpapi-ratelimit-headers-10, and the ones that everybody had before.
fn add_rate_limit(headers: &mut HeaderMap, policy: RatePolicy, decision: Decision) {
    let (remaining, reset) = match decision {
        Decision::Allowed { remaining, reset, .. } => (remaining, reset),
        Decision::Refused { retry_after } => (0, retry_after),
    };
    let reset_s = ceil_s(reset);
    let limit = policy.limit();
    let text = |text: String| HeaderValue::from_str(&text).ok();
    if let Some(value) = text(format!("\"tenant\";q={limit};w={}", policy.period().as_secs())) {
        headers.insert(RATELIMIT_POLICY.clone(), value);
    }
    if let Some(value) = text(format!("\"tenant\";r={remaining};t={reset_s}")) {
        headers.insert(RATELIMIT.clone(), value);
    }
    headers.insert(X_RATELIMIT_LIMIT.clone(), HeaderValue::from(limit));
    headers.insert(X_RATELIMIT_REMAINING.clone(), HeaderValue::from(remaining));
    headers.insert(X_RATELIMIT_RESET.clone(), HeaderValue::from(reset_s));
}

/// Seconds, rounded up: a client that waits so long is not too early.
#[must_use]
pub fn ceil_s(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
