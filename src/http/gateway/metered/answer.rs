//! Reading the tokens of an answer while it passes.

use bytes::Bytes;

use super::call::MeteredCall;
use super::copy::{Copy, Kept};
use super::hide::Hider;
use super::request::TokenRequest;
use super::usage::Reading;
use crate::actors::billing_meter::spool::SpoolError;

/// The head of an answer, as far as it decides how the answer is read.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Answer {
    /// A status of 200 to 299.
    pub(in crate::http) is_success: bool,
    /// `Content-Type: text/event-stream`
    pub(in crate::http) is_event_stream: bool,
    /// `Content-Encoding`, although none was asked for.
    pub(in crate::http) is_encoded: bool,
}

/// How the answer is read.
#[derive(Debug)]
enum Reader {
    Events(Hider),
    Json(Copy),
    /// It cannot be read; its bytes are counted for the estimate.
    Opaque,
}

/// What is known of an answer's tokens.
#[derive(Debug)]
pub(in crate::http) struct TokenWatch {
    reader: Reader,
    reading: Reading,
    is_success: bool,
    is_streamed: bool,
    hides_usage: bool,
    request_bytes: u64,
    model: Option<String>,
}

impl TokenWatch {
    /// A watch on the answer to `request`.
    pub(in crate::http) fn new(request: TokenRequest, answer: Answer) -> Self {
        let reader = match answer {
            Answer { is_encoded: true, .. } => Reader::Opaque,
            Answer { is_event_stream: true, .. } => Reader::Events(Hider::default()),
            Answer { is_event_stream: false, .. } => Reader::Json(Copy::default()),
        };
        Self {
            hides_usage: request.hides_usage && matches!(reader, Reader::Events(_)),
            reader,
            reading: Reading::default(),
            is_success: answer.is_success,
            is_streamed: request.is_streamed,
            request_bytes: request.n_bytes,
            model: request.model,
        }
    }

    /// Whether less may pass than came, so that the answer's length is not known beforehand.
    pub(super) fn changes_length(&self) -> bool {
        self.hides_usage
    }

    /// Takes a chunk; returns what passes of it.
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        let Self { reader, reading, hides_usage, .. } = self;
        match reader {
            Reader::Events(hider) if *hides_usage => hider.push(&chunk, |data| reading.event(data)),
            Reader::Events(hider) => {
                hider.watch(&chunk, |data| {
                    reading.event(data);
                });
                chunk
            }
            Reader::Json(copy) => {
                copy.push(&chunk);
                chunk
            }
            Reader::Opaque => {
                reading.add_opaque(chunk.len());
                chunk
            }
        }
    }

    /// Whether the stream has said that it is at its end, although the connection has not.
    pub(super) fn is_done(&self) -> bool {
        self.reading.is_done
    }

    /// The answer has ended, well or not; returns what was still held back.
    pub(super) fn finish(&mut self) -> Bytes {
        let Self { reader, reading, hides_usage, .. } = self;
        match reader {
            Reader::Events(hider) => {
                // Without hiding nothing is held back either.
                let rest = hider.finish(|data| reading.event(data));
                if *hides_usage { rest } else { Bytes::new() }
            }
            Reader::Json(copy) => {
                match copy.kept() {
                    Kept::Whole(body) => reading.whole(body),
                    Kept::Tail(tail) => reading.tail(tail),
                }
                if reading.usage.is_none() && !reading.has_text() {
                    reading.add_opaque(copy.n_bytes());
                }
                *copy = Copy::default();
                Bytes::new()
            }
            Reader::Opaque => Bytes::new(),
        }
    }

    /// Counts the call by what was read: the usage that the provider states, whatever the status; without it, an estimate for an
    /// answer that succeeded and brought something; else nothing.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(super) fn count(&mut self, mut call: MeteredCall) -> Result<(), SpoolError> {
        let usage = self.reading.usage.take();
        let stated = usage.and_then(|usage| usage.total());
        let quantity = match stated {
            Some(total) => total,
            None if self.is_success && self.reading.has_text() => {
                call.state.metrics.metering.estimated_answers.inc();
                call.add("estimated", "true");
                self.reading.estimate(self.request_bytes)
            }
            None => return Ok(()),
        };
        call.add("stream", if self.is_streamed { "true" } else { "false" });
        if let Some(model) = self.reading.model.take().or_else(|| self.model.take()) {
            call.add("model", model);
        }
        for (name, tokens) in [
            ("prompt_tokens", usage.and_then(|usage| usage.prompt())),
            ("completion_tokens", usage.and_then(|usage| usage.completion())),
        ] {
            if let Some(tokens) = tokens {
                call.add(name, tokens.to_string());
            }
        }
        call.count(quantity)
    }
}
