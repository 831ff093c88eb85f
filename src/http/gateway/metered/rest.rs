//! The rest of an answer that nobody waits for any more. The provider goes on and wants to be paid, so it is read to the end, where
//! the usage is.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::rt::time::timeout;

use super::answer::TokenWatch;
use super::background;
use super::call::MeteredCall;

/// Longest time for the rest of an answer. Its silences are bounded by the route's idle timeout as well.
const MAX_TIME: Duration = Duration::from_secs(crate::config::MAX_REST_S);
/// Largest rest of an answer, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// An answer whose client has left. Dropped before its end, it is counted by what was read.
pub(super) struct Rest {
    body: BoxBody,
    watch: Box<TokenWatch>,
    call: Option<MeteredCall>,
}

impl Rest {
    pub(super) fn new(body: BoxBody, call: MeteredCall, watch: Box<TokenWatch>) -> Self {
        Self { body, watch, call: Some(call) }
    }

    async fn read_to_end(&mut self) {
        let mut n_bytes = 0;
        while n_bytes < MAX_BYTES && !self.watch.is_done() {
            match poll_fn(|cx| Pin::new(&mut self.body).poll_next(cx)).await {
                Some(Ok(chunk)) => {
                    n_bytes += chunk.len();
                    self.watch.push(chunk);
                }
                Some(Err(_)) | None => return,
            }
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else { return };
        self.watch.finish();
        // A failure was complained of; the client is gone.
        let _ = self.watch.count(call);
    }
}

/// Reads the rest and counts it, beside other requests.
pub(super) fn read(mut rest: Rest) {
    let Some(call) = &rest.call else { return };
    let drain = Arc::clone(call.drain());
    background::spawn(&drain, async move {
        // Whatever ends it, the drop counts.
        let _ = timeout(MAX_TIME, rest.read_to_end()).await;
    });
}
