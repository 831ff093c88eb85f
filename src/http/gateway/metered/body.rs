//! An answer that is counted before it is complete.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

use super::answer::TokenWatch;
use super::call::MeteredCall;
use super::rest::{self, Rest};

type Error = Box<dyn std::error::Error>;

/// How a call is counted.
enum Tariff {
    /// So much for a call, whatever is answered.
    Fixed(u64),
    /// By the tokens of the answer.
    Tokens(Box<TokenWatch>),
}

/// A service's answer on its way to the client, with what is to be counted for it.
///
/// The record is written before the last byte is handed on: with the chunk that completes a body of known length, with the event that
/// says that a stream is over, else before the end of the body. If it cannot be written, the body ends in an error, so that the client
/// sees a broken answer. An answer that the service broke off is not counted by the call; its tokens are, as far as they came. When
/// the client leaves, a call counts as it is, because the service has answered; tokens are counted when the rest was read.
pub(in crate::http) struct MeteredBody {
    /// `None` after its end.
    inner: Option<BoxBody>,
    size: BodySize,
    /// Bytes still to come, if that is known.
    left: Option<u64>,
    tariff: Tariff,
    /// `None` once it is counted, or not to be counted.
    call: Option<MeteredCall>,
}

impl MeteredBody {
    /// An answer that counts as `quantity` when it is complete.
    pub(in crate::http) fn fixed(inner: BoxBody, call: MeteredCall, quantity: u64) -> Self {
        let (size, left) = lengths(&inner);
        Self { inner: Some(inner), size, left, tariff: Tariff::Fixed(quantity), call: Some(call) }
    }

    /// An answer that counts as the tokens that it says it used.
    pub(in crate::http) fn tokens(inner: BoxBody, call: MeteredCall, watch: TokenWatch) -> Self {
        let (size, left) = lengths(&inner);
        let size = if watch.changes_length() { BodySize::Stream } else { size };
        Self { inner: Some(inner), size, left, tariff: Tariff::Tokens(Box::new(watch)), call: Some(call) }
    }

    /// Counts the call, if that was not done.
    fn settle(&mut self) -> Result<(), Error> {
        let Some(call) = self.call.take() else { return Ok(()) };
        match &mut self.tariff {
            Tariff::Fixed(quantity) => call.count(*quantity)?,
            Tariff::Tokens(watch) => watch.count(call)?,
        }
        Ok(())
    }

    /// Passes a chunk on; `None` if nothing of it is for the client.
    fn pass(&mut self, chunk: Bytes) -> Option<Result<Bytes, Error>> {
        let mut is_last = false;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(chunk.len() as u64);
            is_last = *left == 0;
        }
        let out = match &mut self.tariff {
            Tariff::Fixed(_) => chunk,
            Tariff::Tokens(watch) => {
                let out = watch.push(chunk);
                let held = if is_last { watch.finish() } else { Bytes::new() };
                is_last |= watch.is_done();
                if held.is_empty() { out } else { [out, held].concat().into() }
            }
        };
        if is_last && let Err(error) = self.settle() {
            self.inner = None;
            return Some(Err(error));
        }
        (!out.is_empty()).then_some(Ok(out))
    }

    /// The service has sent everything.
    fn end(&mut self) -> Option<Result<Bytes, Error>> {
        self.inner = None;
        let held = match &mut self.tariff {
            Tariff::Fixed(_) => Bytes::new(),
            Tariff::Tokens(watch) => watch.finish(),
        };
        if let Err(error) = self.settle() {
            return Some(Err(error));
        }
        (!held.is_empty()).then_some(Ok(held))
    }

    /// The service broke off.
    fn break_off(&mut self, error: Error) -> Error {
        self.inner = None;
        match &mut self.tariff {
            Tariff::Fixed(_) => drop(self.call.take()),
            Tariff::Tokens(watch) => {
                watch.finish();
                // The client sees a broken answer in either case, and a record that is not written was complained of.
                let _ = self.settle();
            }
        }
        error
    }
}

/// The size of a body, and the bytes that are to come of one that has a length.
fn lengths(body: &BoxBody) -> (BodySize, Option<u64>) {
    let size = body.size();
    let left = match size {
        BodySize::None => Some(0),
        BodySize::Sized(length) => Some(length),
        BodySize::Stream => None,
    };
    (size, left)
}

impl MessageBody for MeteredBody {
    type Error = Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let this = self.get_mut();
        while let Some(inner) = &mut this.inner {
            let polled = std::task::ready!(Pin::new(inner).poll_next(cx));
            let passed = match polled {
                Some(Ok(chunk)) => this.pass(chunk),
                Some(Err(error)) => Some(Err(this.break_off(error))),
                None => this.end(),
            };
            if passed.is_some() {
                return Poll::Ready(passed);
            }
        }
        Poll::Ready(None)
    }
}

impl Drop for MeteredBody {
    fn drop(&mut self) {
        let (Some(call), Some(inner)) = (self.call.take(), self.inner.take()) else { return };
        match std::mem::replace(&mut self.tariff, Tariff::Fixed(0)) {
            // A failure was complained of; the client is gone.
            Tariff::Fixed(quantity) => drop(call.count(quantity)),
            Tariff::Tokens(watch) => rest::read(Rest::new(inner, call, watch)),
        }
    }
}
