//! One exchange with a service: choose an endpoint, send, wait for the head, hand over the body.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::{ConnectionType, Version, header as old};
use actix_web::{HttpRequest, HttpResponse, rt};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body::Body;
use hyper::body::Incoming;

use super::balance::{self, Endpoint, InFlight};
use super::body::{self, DeclaredLength, Framing, RequestBody, ResponseBody, Upload};
use super::pool::{self, Lease, PoolSettings};
use super::routes::Route;
use super::{convert, hygiene, retry};
use crate::config::GatewaySettings;

/// What an exchange counts as when it failed after the connection was made: an endpoint must not look quick by failing.
const FAILURE_COST: Duration = Duration::from_secs(1);

/// Settings that hold for all routes.
#[derive(Debug, Clone, Copy)]
pub struct ForwardSettings {
    /// Idle connections.
    pub pool: PoolSettings,
    /// Retries may add at most this share of requests in percent, and ten a second for each worker.
    pub retry_budget_percent: u32,
}

impl From<&GatewaySettings> for ForwardSettings {
    fn from(settings: &GatewaySettings) -> Self {
        Self {
            pool: PoolSettings {
                max_idle_per_endpoint: settings.pool_idle_per_endpoint,
                idle_timeout: Duration::from_millis(settings.pool_idle_timeout_ms),
            },
            retry_budget_percent: settings.retry_budget_percent,
        }
    }
}

/// Why a request got no answer, or not all of it. Neither address nor cause: this text may reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// No endpoint took a connection.
    #[error("service cannot be reached")]
    ConnectFailed,
    /// No head of an answer in time, although the request was sent or could have been.
    #[error("service did not answer in time")]
    FirstByteTimeout,
    /// The answer's body stopped for too long.
    #[error("service stopped answering")]
    IdleTimeout,
    /// The service closed the connection before the end of its answer.
    #[error("service closed the connection")]
    UpstreamReset,
    /// The service's answer is not HTTP/1, or switches protocols unasked.
    #[error("service sent an invalid answer")]
    UpstreamProtocol,
    /// The request body is above the route's limit.
    #[error("request body too large")]
    BodyTooLarge,
    /// The request body's framing is broken.
    #[error("malformed request body")]
    MalformedBody,
    /// The target cannot be sent as it is.
    #[error("malformed request target")]
    MalformedTarget,
    /// The client closed the connection before the end of its request.
    #[error("client closed the connection")]
    ClientGone,
    /// The client stopped sending its request body.
    #[error("client stopped sending")]
    ClientStalled,
}

impl ForwardError {
    /// Two letters for the access log.
    pub fn response_flag(self) -> &'static str {
        match self {
            Self::ConnectFailed => "UF",
            Self::FirstByteTimeout | Self::IdleTimeout => "UT",
            Self::UpstreamReset => "UR",
            Self::UpstreamProtocol | Self::BodyTooLarge | Self::MalformedBody | Self::MalformedTarget => "PE",
            Self::ClientGone | Self::ClientStalled => "DC",
        }
    }
}

/// What goes to the service as the request's body.
pub enum ClientBody {
    /// The client's, as it comes.
    Streamed(Payload),
    /// One that was read before, and perhaps changed.
    Whole(Bytes),
}

impl From<Payload> for ClientBody {
    fn from(payload: Payload) -> Self {
        Self::Streamed(payload)
    }
}

/// A service's answer.
#[derive(Debug)]
pub struct Forwarded {
    /// The answer, its body still to be streamed.
    pub response: HttpResponse,
    /// Time from sending to the answer's head, of the try that succeeded.
    pub upstream_latency: Duration,
    /// Who answered.
    pub endpoint: Arc<Endpoint>,
    /// Tries before the one that succeeded, without resends on a connection that had been closed while idle.
    pub retries: u32,
    /// Lines of the answer's `X-Usage`, which is not for the client.
    pub usage: Vec<HeaderValue>,
}

/// Sends a request to one of the route's endpoints and returns the answer as soon as its head is there.
///
/// Both bodies are streamed as they come, at the same time, each as fast as its reader. `headers` makes the headers for
/// the service ([`hygiene::upstream_headers`]); it is called again for a retry. Dropping the future, or the answer
/// before its end, closes the connection to the service.
///
/// A request is sent again if it provably was not sent, or if it is a `GET`, `HEAD` or `OPTIONS` without body that got
/// no answer; RFC 9110 §9.2.2 lets a proxy repeat those. Closed idle connections are replaced without counting;
/// everything else counts against `retries` of the route and the budget, and goes to another endpoint if there is one.
///
/// # Errors
///
/// [`ForwardError`]; the body of an answer may fail with one as well, which closes the client's connection.
pub async fn forward(
    request: &HttpRequest,
    body: impl Into<ClientBody>,
    route: &Route,
    headers: impl Fn() -> HeaderMap,
    settings: &ForwardSettings,
) -> Result<Forwarded, ForwardError> {
    let mut exchange = Exchange::new(request, body.into(), route, headers, settings)?;
    retry::deposit(settings.retry_budget_percent);
    let mut endpoint = balance::pick(route.endpoints(), None).ok_or(ForwardError::ConnectFailed)?;
    let mut fresh = false;
    let mut retries = 0;
    loop {
        let failure = match exchange.attempt(endpoint, fresh).await {
            Ok(Answered { response, usage, upstream_latency }) => {
                let endpoint = Arc::clone(endpoint);
                return Ok(Forwarded { response, upstream_latency, endpoint, retries, usage });
            }
            Err(failure) => failure,
        };
        if !exchange.may_repeat(&failure) {
            return Err(failure.error);
        }
        if failure.reused {
            fresh = true;
            continue;
        }
        if retries >= route.settings().retries || !retry::withdraw() {
            return Err(failure.error);
        }
        retries += 1;
        let next = balance::pick(route.endpoints(), Some(endpoint.id())).unwrap_or(endpoint);
        fresh = next.id() == endpoint.id();
        if fresh {
            rt::time::sleep(retry::backoff()).await;
        }
        endpoint = next;
    }
}

/// What is needed to send a request, and to send it again.
struct Exchange<'a, H> {
    request: &'a HttpRequest,
    route: &'a Route,
    settings: &'a ForwardSettings,
    headers: H,
    method: Method,
    uri: http::Uri,
    framing: Framing,
    /// Progress of the request body, if there is one.
    upload: Option<Rc<Upload>>,
    /// The request while it has not been sent.
    unsent: Option<http::Request<RequestBody>>,
}

/// A try that brought an answer.
struct Answered {
    response: HttpResponse,
    usage: Vec<HeaderValue>,
    upstream_latency: Duration,
}

/// A try that came to nothing. The request is unsent if [`Exchange::unsent`] has it again.
struct Failure {
    error: ForwardError,
    /// The connection had been used before.
    reused: bool,
}

impl<'a, H: Fn() -> HeaderMap> Exchange<'a, H> {
    fn new(
        request: &'a HttpRequest,
        body: ClientBody,
        route: &'a Route,
        headers: H,
        settings: &'a ForwardSettings,
    ) -> Result<Self, ForwardError> {
        let (payload, framing, limit) = match body {
            ClientBody::Streamed(payload) => (payload, framing(request.headers())?, route.body_limit()),
            // Whoever read it has kept to the limit.
            ClientBody::Whole(bytes) => {
                let length = Framing::Length(bytes.len() as u64);
                (Payload::from(bytes), length, None)
            }
        };
        if let (Framing::Length(length), Some(limit)) = (framing, limit)
            && length > limit
        {
            return Err(ForwardError::BodyTooLarge);
        }
        let raw = request.uri();
        let raw = raw.path_and_query().map_or(raw.path(), |target| target.as_str());
        let target = route.upstream_target(raw).ok_or(ForwardError::MalformedTarget)?;
        let method = convert::method_to_hyper(request.method()).ok_or(ForwardError::MalformedTarget)?;
        let body = RequestBody::new(payload, framing, limit);
        let mut exchange = Self {
            request,
            route,
            settings,
            headers,
            method,
            uri: http::Uri::from(target),
            framing,
            upload: body.upload().cloned(),
            unsent: None,
        };
        exchange.unsent = Some(exchange.message(body));
        Ok(exchange)
    }

    fn message(&self, body: RequestBody) -> http::Request<RequestBody> {
        let mut message = http::Request::new(body);
        *message.method_mut() = self.method.clone();
        *message.uri_mut() = self.uri.clone();
        let mut headers = (self.headers)();
        match self.framing {
            // hyper writes the length of a body that has one.
            Framing::Absent | Framing::Length(1..) => {}
            Framing::Length(0) => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            // Without it hyper would send no body with a GET.
            Framing::Chunked => {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
        *message.headers_mut() = headers;
        message
    }

    fn may_repeat(&self, failure: &Failure) -> bool {
        match failure.error {
            ForwardError::ConnectFailed | ForwardError::UpstreamReset => {
                self.unsent.is_some()
                    || (self.upload.is_none() && matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS))
            }
            ForwardError::FirstByteTimeout
            | ForwardError::IdleTimeout
            | ForwardError::UpstreamProtocol
            | ForwardError::BodyTooLarge
            | ForwardError::MalformedBody
            | ForwardError::MalformedTarget
            | ForwardError::ClientGone
            | ForwardError::ClientStalled => false,
        }
    }

    async fn attempt(&mut self, endpoint: &Arc<Endpoint>, fresh: bool) -> Result<Answered, Failure> {
        let in_flight = endpoint.begin();
        let connected = pool::lease(endpoint, fresh, self.route.connect_timeout(), self.settings.pool).await;
        let mut lease = match connected {
            Ok(lease) => lease,
            Err(_cause) => {
                endpoint.record_connect_failure();
                return Err(Failure { error: ForwardError::ConnectFailed, reused: false });
            }
        };
        let reused = lease.is_reused();
        if !reused {
            endpoint.record_contact();
        }
        let started = Instant::now();
        match self.send(&mut lease, endpoint).await {
            Ok(response) => {
                let upstream_latency = started.elapsed();
                endpoint.record_contact();
                endpoint.record_latency(self.waited_since(started).elapsed());
                let usage = response.headers().get_all(hygiene::X_USAGE).into_iter().cloned().collect();
                self.answer(response, lease, in_flight)
                    .map(|response| Answered { response, usage, upstream_latency })
                    .map_err(|error| Failure { error, reused: false })
            }
            Err(error) => {
                match error {
                    ForwardError::FirstByteTimeout | ForwardError::UpstreamProtocol => {
                        endpoint.record_latency(started.elapsed().max(FAILURE_COST));
                    }
                    ForwardError::UpstreamReset if !reused => {
                        endpoint.record_latency(started.elapsed().max(FAILURE_COST));
                    }
                    ForwardError::UpstreamReset
                    | ForwardError::ConnectFailed
                    | ForwardError::IdleTimeout
                    | ForwardError::BodyTooLarge
                    | ForwardError::MalformedBody
                    | ForwardError::MalformedTarget
                    | ForwardError::ClientGone
                    | ForwardError::ClientStalled => {}
                }
                Err(Failure { error, reused })
            }
        }
    }

    /// Sends the request and waits for the head of the answer; interim answers (1xx) are skipped by hyper.
    async fn send(&mut self, lease: &mut Lease, endpoint: &Endpoint) -> Result<http::Response<Incoming>, ForwardError> {
        let mut message = self.unsent.take().unwrap_or_else(|| self.message(RequestBody::empty()));
        if !message.headers().contains_key(header::HOST) {
            message.headers_mut().insert(header::HOST, endpoint.authority().clone());
        }
        let mut sent = pin!(lease.sender().try_send_request(message));
        let mut patience = self.route.first_byte_timeout();
        let started = Instant::now();
        loop {
            match rt::time::timeout(patience, sent.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut failed)) => {
                    self.unsent = failed.take_message();
                    let failure = self.upload.as_ref().and_then(|upload| upload.failure());
                    return Err(failure.unwrap_or_else(|| classify(failed.error())));
                }
                Err(_elapsed) => patience = self.more_patience(started)?,
            }
        }
    }

    /// The time for the first byte runs from the last progress of the request body: a long upload is not a slow
    /// service. While the client is the one that is waited for, its silence is measured by the idle timeout.
    fn more_patience(&self, started: Instant) -> Result<Duration, ForwardError> {
        let Some(upload) = &self.upload else {
            return Err(ForwardError::FirstByteTimeout);
        };
        let (limit, error) = if upload.is_starved() && !upload.is_done() {
            (self.route.idle_timeout(), ForwardError::ClientStalled)
        } else {
            (self.route.first_byte_timeout(), ForwardError::FirstByteTimeout)
        };
        let quiet = self.waited_since(started).elapsed();
        limit.checked_sub(quiet).filter(|left| !left.is_zero()).ok_or(error)
    }

    /// Since when nothing but the service was waited for: the start, or the last progress of the request body.
    fn waited_since(&self, started: Instant) -> Instant {
        self.upload.as_ref().map_or(started, |upload| upload.last_progress().max(started))
    }

    fn answer(
        &self,
        response: http::Response<Incoming>,
        lease: Lease,
        in_flight: InFlight,
    ) -> Result<HttpResponse, ForwardError> {
        let (head, incoming) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ForwardError::UpstreamProtocol);
        }
        let status = convert::status_to_actix(head.status).ok_or(ForwardError::UpstreamProtocol)?;
        let declared = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_streamed = incoming.size_hint().exact().is_none();
        let is_bodyless =
            self.method == Method::HEAD || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if is_bodyless || incoming.is_end_stream() {
            body::release(lease, self.upload.as_deref());
            match declared {
                Some(length) if self.method == Method::HEAD => BoxBody::new(DeclaredLength(length)),
                _ if is_bodyless => BoxBody::new(actix_web::body::None::new()),
                _ => BoxBody::new(()),
            }
        } else {
            let idle_timeout = self.route.idle_timeout();
            BoxBody::new(ResponseBody::new(incoming, lease, in_flight, self.upload.clone(), idle_timeout))
        };
        let mut answer = HttpResponse::with_body(status, body);
        hygiene::downstream_headers(&head.headers, answer.headers_mut());
        if let (StatusCode::NOT_MODIFIED, Some(length)) = (head.status, declared) {
            answer.headers_mut().insert(old::CONTENT_LENGTH, old::HeaderValue::from(length));
        }
        if is_streamed && self.request.version() < Version::HTTP_11 {
            // No chunks in HTTP/1.0: the end of the connection ends the body.
            answer.head_mut().no_chunking(true);
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        Ok(answer)
    }
}

/// How the request's body is framed; actix-http has refused whatever is contradictory.
fn framing(headers: &old::HeaderMap) -> Result<Framing, ForwardError> {
    if headers.contains_key(old::TRANSFER_ENCODING) {
        return Ok(Framing::Chunked);
    }
    let Some(length) = headers.get(old::CONTENT_LENGTH) else {
        return Ok(Framing::Absent);
    };
    let length = length.to_str().ok().and_then(|length| length.trim().parse().ok());
    length.map(Framing::Length).ok_or(ForwardError::MalformedBody)
}

fn classify(error: &hyper::Error) -> ForwardError {
    if error.is_parse() { ForwardError::UpstreamProtocol } else { ForwardError::UpstreamReset }
}
