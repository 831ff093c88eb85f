//! What is known of a request while it is answered: made by the edge middleware, read by everything inside it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::RequestHead;
use actix_web::http::header::HeaderName;
use actix_web::{HttpMessage, HttpRequest};

use super::metrics::Place;
use crate::actors::tenant::{InFlight, TenantHandle};
use crate::clock;
use crate::domain::audit::AuditSource;
use crate::domain::ids::{ApiKeyId, ScimTokenId, UserId};
use crate::domain::rate_limit::{Decision, RatePolicy};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Label of requests that matched no route.
pub const NO_ROUTE: &str = "none";

/// The places of a request among those in flight. Whoever holds a copy holds them: work that goes on without its client takes up as
/// much as before.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Among all requests, for `server.max_in_flight`.
    pub server: Option<Rc<Place>>,
    /// Among its tenant's, for `limits.tenant_in_flight`.
    pub tenant: Option<Rc<InFlight>>,
}

/// One request.
#[derive(Debug)]
pub struct RequestContext {
    /// Its id: the client's if it is well formed, else new.
    pub request_id: String,
    /// Its place in a trace (W3C Trace Context): the client's trace, a span of ours.
    pub traceparent: String,
    /// The client's address.
    pub client_ip: Option<IpAddr>,
    /// The host that was asked for.
    pub host: Option<String>,
    /// Whether the client reached the platform by TLS.
    pub is_secure: bool,
    /// When it began.
    pub started_ns: u64,
    /// The tenant, once it is resolved.
    pub tenant: OnceCell<Arc<TenantHandle>>,
    /// The user, once one is authenticated.
    pub user: Cell<Option<UserId>>,
    /// The API key, once one is authenticated.
    pub key: Cell<Option<ApiKeyId>>,
    /// The identity provider's token, once one is authenticated.
    pub scim_token: Cell<Option<ScimTokenId>>,
    /// Template of the route, for metrics.
    pub route: RefCell<Arc<str>>,
    /// Two letters that say why a request ended as it did.
    pub flag: Cell<&'static str>,
    /// What the tenant's limit decided.
    pub rate: Cell<Option<(RatePolicy, Decision)>>,
    /// Time until the service's answer began.
    pub upstream: Cell<Option<Duration>>,
    /// Its places among the requests in flight; held until the body is sent.
    pub places: RefCell<Places>,
}

impl RequestContext {
    /// Reads a request's head.
    #[must_use]
    pub fn new(head: &RequestHead, client_ip: Option<IpAddr>, host: Option<String>, is_secure: bool) -> Self {
        Self {
            request_id: request_id(head),
            traceparent: traceparent(head),
            client_ip,
            host,
            is_secure,
            started_ns: clock::monotonic_ns(),
            tenant: OnceCell::new(),
            user: Cell::new(None),
            key: Cell::new(None),
            scim_token: Cell::new(None),
            route: RefCell::new(no_route()),
            flag: Cell::new(""),
            rate: Cell::new(None),
            upstream: Cell::new(None),
            places: RefCell::default(),
        }
    }

    /// The context of a request. There always is one, because the edge wraps everything.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        request.extensions().get::<Rc<Self>>().map(Rc::clone)
    }

    /// Where the request came from, for the audit log.
    #[must_use]
    pub fn audit_source(&self, head: &RequestHead) -> AuditSource {
        let user_agent = head.headers().get(actix_web::http::header::USER_AGENT);
        AuditSource {
            ip: self.client_ip,
            user_agent: user_agent.and_then(|value| value.to_str().ok()).map(|text| text.chars().take(256).collect()),
            request_id: Some(self.request_id.clone()),
        }
    }
}

fn no_route() -> Arc<str> {
    thread_local! {
        static LABEL: Arc<str> = Arc::from(NO_ROUTE);
    }
    LABEL.with(Arc::clone)
}

fn request_id(head: &RequestHead) -> String {
    let given = head.headers().get(&X_REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_well_formed = |text: &&str| {
        (8..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    given.filter(is_well_formed).map_or_else(|| clock::new_id::<uuid::Uuid>().to_string(), str::to_owned)
}

fn traceparent(head: &RequestHead) -> String {
    let given = head.headers().get(&TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(trace_id);
    let fresh = uuid::Uuid::new_v4();
    let (span, _) = fresh.as_u64_pair();
    // Whether to record is ours to decide, so a client's "sampled" flag is not passed on.
    match given {
        Some(trace) => format!("00-{trace}-{span:016x}-00"),
        None => format!("00-{}-{span:016x}-00", clock::new_id::<uuid::Uuid>().simple()),
    }
}

/// The trace id of a well-formed `traceparent` of version 00.
fn trace_id(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, n: usize| {
        part.len() == n && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let ok = version == "00"
        && parts.next().is_none()
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && trace.bytes().any(|b| b != b'0')
        && span.bytes().any(|b| b != b'0');
    ok.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_traces_are_continued() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(good), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(trace_id(bad), None, "{bad}");
        }
    }
}
