//! A body that knows when it ends: then the request is counted, logged, and leaves the caps.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::{Method, StatusCode};
use actix_web::web;
use bytes::Bytes;

use crate::clock;
use crate::http::access_log::{AccessLine, timestamp};
use crate::http::context::RequestContext;
use crate::http::drain::OpenWebSocket;
use crate::http::metrics::Finished;
use crate::http::state::AppState;

/// Counts and logs a request when dropped.
pub(super) struct Measure {
    pub(super) state: web::Data<AppState>,
    pub(super) context: Rc<RequestContext>,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) status: StatusCode,
    pub(super) bytes: u64,
    /// Whether the answer's body was handed over whole.
    pub(super) is_complete: bool,
    /// Set once the protocol was switched: the request has been counted and left the caps, and the line of the log is still to come.
    pub(super) switched: Option<OpenWebSocket>,
}

impl Measure {
    /// Takes note that the connection speaks another protocol from here on. That is no request in flight any more, however long it
    /// lasts: neither the caps nor the drain wait for it, and the time that counts is the handshake's.
    pub(super) fn switch(&mut self) {
        self.leave("");
        self.switched = Some(self.state.drain.switch());
    }

    fn leave(&self, flag: &'static str) -> Duration {
        let context = &self.context;
        drop(context.places.take());
        let duration = Duration::from_nanos(clock::monotonic_ns().saturating_sub(context.started_ns));
        if self.switched.is_none() {
            self.state.metrics.leave(&Finished {
                route: &context.route.borrow(),
                method: method_label(&self.method),
                status: self.status.as_u16(),
                flag,
                duration,
                upstream: context.upstream.get(),
            });
        }
        duration
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let context = &self.context;
        let flag = if !self.is_complete && context.flag.get().is_empty() { "DC" } else { context.flag.get() };
        let duration = self.leave(flag);
        let route = context.route.borrow();
        let upstream = context.upstream.get();
        let method = method_label(&self.method);
        if !self.state.access_log.is_on() {
            return;
        }
        let client = context.client_ip.map(|ip| ip.to_string()).unwrap_or_default();
        let user = match (context.user.get(), context.key.get()) {
            (Some(user), _) => user.to_string(),
            (None, Some(key)) => format!("key:{key}"),
            (None, None) => String::new(),
        };
        self.state.access_log.write(&AccessLine {
            time: &timestamp(),
            request_id: &context.request_id,
            traceparent: &context.traceparent,
            client: &client,
            tenant: context.tenant.get().map_or("", |tenant| tenant.slug().as_str()),
            user: &user,
            method,
            path: &self.path,
            route: &route,
            status: self.status.as_u16(),
            flag,
            bytes: self.bytes,
            duration_ms: milliseconds(duration),
            upstream_ms: upstream.map(milliseconds),
        });
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// A client may invent methods; labels may not be invented.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// An answer's body with its measure.
pub struct Measured<B> {
    body: B,
    measure: Measure,
}

impl<B> Measured<B> {
    pub(super) fn new(body: B, measure: Measure) -> Self {
        Self { body, measure }
    }
}

impl<B: MessageBody + Unpin> MessageBody for Measured<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => {
                self.measure.bytes += chunk.len() as u64;
                if let BodySize::Sized(size) = self.body.size() {
                    // A sized body is not polled for its end.
                    self.measure.is_complete |= self.measure.bytes >= size;
                }
            }
            Poll::Ready(None) => self.measure.is_complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }
}
