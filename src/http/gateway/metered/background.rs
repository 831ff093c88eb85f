//! Work that goes on when the request that it belongs to is over.

use std::sync::Arc;

use actix_web::rt::{self, task::JoinHandle};

use crate::http::drain::Drain;

/// Lets `work` run on this worker to its end, also if nobody waits for it; a drain waits for it. `None`, and `work` is dropped, while
/// the worker's thread ends.
#[expect(clippy::disallowed_methods, reason = "bounded by its own deadlines, and the drain waits for it")]
pub(in crate::http) fn spawn<T: 'static>(
    drain: &Arc<Drain>,
    work: impl Future<Output = T> + 'static,
) -> Option<JoinHandle<T>> {
    tokio::runtime::Handle::try_current().ok()?;
    let busy = drain.begin_work();
    Some(rt::spawn(async move {
        let done = work.await;
        drop(busy);
        done
    }))
}
