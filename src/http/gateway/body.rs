//! Both bodies of a proxied exchange. Each is polled by the side that writes it on, so a slow reader slows its sender.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::rt::time::{Sleep, sleep};
use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::balance::InFlight;
use super::forward::ForwardError;
use super::pool::Lease;

/// How far a request body has come; shared by the body, the wait for the answer, and the answer's body.
#[derive(Debug)]
pub(super) struct Upload {
    done: Cell<bool>,
    /// The last poll found nothing: the client is the one that is waited for.
    starved: Cell<bool>,
    last_progress: Cell<Instant>,
    failure: Cell<Option<ForwardError>>,
}

impl Upload {
    fn new() -> Self {
        Self {
            done: Cell::new(false),
            starved: Cell::new(false),
            last_progress: Cell::new(Instant::now()),
            failure: Cell::new(None),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.get()
    }

    pub(super) fn is_starved(&self) -> bool {
        self.starved.get()
    }

    pub(super) fn last_progress(&self) -> Instant {
        self.last_progress.get()
    }

    /// Why the client's side broke, if it did.
    pub(super) fn failure(&self) -> Option<ForwardError> {
        self.failure.get()
    }

    fn progress(&self) {
        self.starved.set(false);
        self.last_progress.set(Instant::now());
    }
}

/// How a request says how long its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Neither length nor coding: there is none (RFC 9112 §6.3), whatever actix hands over for an upgrade.
    Absent,
    /// `Content-Length`; 0 is said to the service as well.
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
}

/// A client's request body on its way to the service, counted against the route's limit.
pub(super) struct RequestBody {
    payload: Option<Payload>,
    length_left: Option<u64>,
    limit_left: u64,
    upload: Option<Rc<Upload>>,
}

impl RequestBody {
    /// A body without bytes.
    pub(super) fn empty() -> Self {
        Self { payload: None, length_left: None, limit_left: 0, upload: None }
    }

    /// The body that `framing` announces.
    pub(super) fn new(payload: Payload, framing: Framing, limit: Option<u64>) -> Self {
        let length_left = match framing {
            Framing::Absent | Framing::Length(0) => return Self::empty(),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        };
        Self {
            payload: Some(payload),
            length_left,
            limit_left: limit.unwrap_or(u64::MAX),
            upload: Some(Rc::new(Upload::new())),
        }
    }

    /// The progress of a body that has bytes.
    pub(super) fn upload(&self) -> Option<&Rc<Upload>> {
        self.upload.as_ref()
    }

    fn end(&mut self, failure: Option<ForwardError>) {
        self.payload = None;
        if let Some(upload) = &self.upload {
            upload.progress();
            upload.done.set(failure.is_none());
            upload.failure.set(failure);
        }
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), ForwardError> {
        let n_bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.limit_left = self.limit_left.checked_sub(n_bytes).ok_or(ForwardError::BodyTooLarge)?;
        if let Some(left) = &mut self.length_left {
            *left = left.checked_sub(n_bytes).ok_or(ForwardError::MalformedBody)?;
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let this = self.get_mut();
        let Some(payload) = &mut this.payload else {
            return Poll::Ready(None);
        };
        let Poll::Ready(item) = Pin::new(payload).poll_next(cx) else {
            if let Some(upload) = &this.upload {
                upload.starved.set(true);
            }
            return Poll::Pending;
        };
        let result = match item {
            Some(Ok(chunk)) => this.take(&chunk).map(|()| Some(chunk)),
            Some(Err(PayloadError::EncodingCorrupted)) => Err(ForwardError::MalformedBody),
            Some(Err(_)) => Err(ForwardError::ClientGone),
            None if this.length_left.is_some_and(|left| left > 0) => Err(ForwardError::ClientGone),
            None => Ok(None),
        };
        match result {
            Ok(Some(chunk)) => {
                if this.length_left == Some(0) {
                    this.end(None);
                } else if let Some(upload) = &this.upload {
                    upload.progress();
                }
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Ok(None) => {
                this.end(None);
                Poll::Ready(None)
            }
            Err(failure) => {
                this.end(Some(failure));
                Poll::Ready(Some(Err(failure)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.payload.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.payload, self.length_left) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

/// A service's answer on its way to the client. It owns the connection: read to its clean end, the connection goes back
/// to the pool; dropped before, it is closed.
pub(super) struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
    in_flight: Option<InFlight>,
    upload: Option<Rc<Upload>>,
    size: BodySize,
    idle_timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        in_flight: InFlight,
        upload: Option<Rc<Upload>>,
        idle_timeout: Duration,
    ) -> Self {
        let size = incoming.size_hint().exact().map_or(BodySize::Stream, BodySize::Sized);
        Self { incoming, lease: Some(lease), in_flight: Some(in_flight), upload, size, idle_timeout, timer: None }
    }

    fn finish(&mut self) {
        self.timer = None;
        self.in_flight = None;
        if let Some(lease) = self.lease.take() {
            release(lease, self.upload.as_deref());
        }
    }

    fn fail(&mut self, error: ForwardError) -> Poll<Option<Result<Bytes, ForwardError>>> {
        self.timer = None;
        self.in_flight = None;
        self.lease = None;
        Poll::Ready(Some(Err(self.upload.as_ref().and_then(|upload| upload.failure()).unwrap_or(error))))
    }

    /// Nothing came; has it been quiet for too long? Bytes that still go up count as sound.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.idle_timeout)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let quiet = self.upload.as_ref().map(|upload| upload.last_progress().elapsed());
            match quiet.and_then(|quiet| self.idle_timeout.checked_sub(quiet)).filter(|left| !left.is_zero()) {
                Some(left) => timer.as_mut().reset(actix_web::rt::time::Instant::now() + left),
                None => return Poll::Ready(()),
            }
        }
    }
}

/// Gives a connection back after a complete answer, unless the service answered before it had the whole request: what
/// is left of that request would be read as the next one.
pub(super) fn release(lease: Lease, upload: Option<&Upload>) {
    if upload.is_none_or(Upload::is_done) {
        lease.give_back();
    }
}

impl MessageBody for ResponseBody {
    type Error = ForwardError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ForwardError>>> {
        let this = self.get_mut();
        if this.lease.is_none() {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.timer = None;
                    // Trailers are dropped: actix-http has no way to send them. An empty chunk would end the body.
                    let Ok(data) = frame.into_data() else { continue };
                    if this.incoming.is_end_stream() {
                        this.finish();
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(None) => {
                    this.finish();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => return this.fail(ForwardError::UpstreamReset),
                Poll::Pending => {
                    ready!(this.poll_silence(cx));
                    return this.fail(ForwardError::IdleTimeout);
                }
            }
        }
    }
}

/// The length of a body that is not sent: the answer to `HEAD`.
pub(super) struct DeclaredLength(pub(super) u64);

impl MessageBody for DeclaredLength {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}
