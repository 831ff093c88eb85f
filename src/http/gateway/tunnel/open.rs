//! From a handshake that was let through to an open tunnel, or to whatever else the service answered.

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{BodyStream, BoxBody};
use actix_web::dev::Payload;
use actix_web::http::{ConnectionType, header as old};
use actix_web::{HttpRequest, HttpResponse, rt};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::handshake::is_answered;
use super::pump::{Farewell, pump};
use crate::http::gateway::balance::{self, Endpoint, InFlight};
use crate::http::gateway::body::{RequestBody, ResponseBody};
use crate::http::gateway::forward::{ForwardError, Forwarded};
use crate::http::gateway::pool::{self, Lease, PoolSettings};
use crate::http::gateway::routes::Route;
use crate::http::gateway::{convert, hygiene};

/// Pieces that may wait for the client, each of what was read at once.
const QUEUE: usize = 2;

/// A handshake that was let through.
#[derive(Debug)]
pub struct TunnelRequest<'a> {
    /// The client's request.
    pub request: &'a HttpRequest,
    /// Its `Sec-WebSocket-Key`.
    pub key: &'a str,
    /// Headers for the service, as for any request.
    pub headers: HeaderMap,
    /// Its route, which the tunnel keeps.
    pub route: &'a Arc<Route>,
    /// The connection is closed in the end, unless the service answers without a change of protocol.
    pub pool: PoolSettings,
}

/// Sends the handshake to one of the route's endpoints. If the service switches, the answer is the switch, and bytes are pumped
/// until `end`; `held` is dropped when the tunnel is closed. Any other answer is passed on as it is.
///
/// # Errors
/// [`ForwardError`].
pub async fn open<T: 'static>(
    tunnel: TunnelRequest<'_>,
    client: Payload,
    held: T,
    end: impl Future<Output = Farewell> + 'static,
) -> Result<Forwarded, ForwardError> {
    let (endpoint, mut lease, retries) = connect(&tunnel).await?;
    let in_flight = endpoint.begin();
    let started = Instant::now();
    let message = message(&tunnel, &endpoint)?;
    let sent = rt::time::timeout(tunnel.route.first_byte_timeout(), lease.sender().send_request(message));
    let response = match sent.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) if error.is_parse() => return Err(ForwardError::UpstreamProtocol),
        Ok(Err(_reset)) => return Err(ForwardError::UpstreamReset),
        Err(_elapsed) => return Err(ForwardError::FirstByteTimeout),
    };
    let upstream_latency = started.elapsed();
    endpoint.record_contact();
    endpoint.record_latency(upstream_latency);
    let usage = response.headers().get_all(hygiene::X_USAGE).into_iter().cloned().collect();
    let response = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        switch(tunnel, response, client, (held, in_flight, lease), end).await?
    } else {
        pass_on(tunnel.route, response, lease, in_flight)?
    };
    Ok(Forwarded { response, upstream_latency, endpoint, retries, usage })
}

/// A connection of its own. Only what was not sent at all is tried again, elsewhere.
async fn connect(tunnel: &TunnelRequest<'_>) -> Result<(Arc<Endpoint>, Lease, u32), ForwardError> {
    let mut avoid = None;
    for n in 0..=tunnel.route.settings().retries {
        let endpoint = balance::pick(tunnel.route.endpoints(), avoid).ok_or(ForwardError::ConnectFailed)?;
        match pool::lease(endpoint, true, tunnel.route.connect_timeout(), tunnel.pool).await {
            Ok(lease) => return Ok((Arc::clone(endpoint), lease, n)),
            Err(_cause) => endpoint.record_connect_failure(),
        }
        avoid = Some(endpoint.id());
    }
    Err(ForwardError::ConnectFailed)
}

fn message(tunnel: &TunnelRequest<'_>, endpoint: &Endpoint) -> Result<http::Request<RequestBody>, ForwardError> {
    let raw = tunnel.request.uri();
    let raw = raw.path_and_query().map_or(raw.path(), |target| target.as_str());
    let target = tunnel.route.upstream_target(raw).ok_or(ForwardError::MalformedTarget)?;
    let mut message = http::Request::new(RequestBody::empty());
    *message.method_mut() = Method::GET;
    *message.uri_mut() = http::Uri::from(target);
    *message.headers_mut() = tunnel.headers.clone();
    let headers = message.headers_mut();
    // Both are of one hop, so the client's were not copied.
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.entry(header::HOST).or_insert_with(|| endpoint.authority().clone());
    Ok(message)
}

async fn switch<T: 'static>(
    tunnel: TunnelRequest<'_>,
    response: http::Response<Incoming>,
    client: Payload,
    held: T,
    end: impl Future<Output = Farewell> + 'static,
) -> Result<HttpResponse, ForwardError> {
    if !is_answered(response.headers(), tunnel.key) {
        return Err(ForwardError::UpstreamProtocol);
    }
    let status = convert::status_to_actix(response.status()).ok_or(ForwardError::UpstreamProtocol)?;
    let (answer, pieces) = mpsc::channel(QUEUE);
    let pieces = futures_util::stream::unfold(pieces, async |mut pieces: mpsc::Receiver<Bytes>| {
        let piece = pieces.recv().await?;
        Some((Ok::<_, ForwardError>(piece), pieces))
    });
    let mut switched = HttpResponse::with_body(status, BoxBody::new(BodyStream::new(Box::pin(pieces))));
    hygiene::downstream_headers(response.headers(), switched.headers_mut());
    switched.headers_mut().insert(old::UPGRADE, old::HeaderValue::from_static("websocket"));
    switched.head_mut().set_connection_type(ConnectionType::Upgrade);
    let upgraded = hyper::upgrade::on(response).await.map_err(|_gone: hyper::Error| ForwardError::UpstreamReset)?;
    let route = Arc::clone(tunnel.route);
    run(async move {
        pump(TokioIo::new(upgraded), client, answer, route.idle_timeout(), end).await;
        drop(held);
    });
    Ok(switched)
}

/// Runs a tunnel beside the worker's requests; it ends with either of its connections.
#[expect(clippy::disallowed_methods, reason = "it lives as long as its connections, on the worker that has them")]
fn run(tunnel: impl Future<Output = ()> + 'static) {
    rt::spawn(tunnel);
}

/// An answer that changes no protocol, such as a refusal.
fn pass_on(
    route: &Route,
    response: http::Response<Incoming>,
    lease: Lease,
    in_flight: InFlight,
) -> Result<HttpResponse, ForwardError> {
    let (head, incoming) = response.into_parts();
    let status = convert::status_to_actix(head.status).ok_or(ForwardError::UpstreamProtocol)?;
    let is_bodyless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if is_bodyless {
        BoxBody::new(actix_web::body::None::new())
    } else {
        BoxBody::new(ResponseBody::new(incoming, lease, in_flight, None, route.idle_timeout()))
    };
    let mut answer = HttpResponse::with_body(status, body);
    hygiene::downstream_headers(&head.headers, answer.headers_mut());
    Ok(answer)
}
