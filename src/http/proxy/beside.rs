//! Exchanges that are finished whether or not their client waits: what was asked of a service is done, and has to be counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;

use super::Call;
use crate::http::context::Places;
use crate::http::drain::Drain;
use crate::http::gateway::{ForwardError, metered};
use crate::http::problem::Problem;

/// Why an exchange has no answer.
pub(super) enum Failed {
    /// The service brought none.
    Forward(ForwardError),
    /// The platform refuses it.
    Problem(Problem),
}

impl From<ForwardError> for Failed {
    fn from(error: ForwardError) -> Self {
        Self::Forward(error)
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// What an exchange comes to: the answer, and how long its head took.
type Outcome = Result<(HttpResponse, Duration), Failed>;

/// The work of an exchange: it owns what it needs, and lies where it can stay when its request goes.
pub(super) type Work = Pin<Box<dyn Future<Output = Outcome>>>;

/// An exchange that is worked on with its request, and by itself once that has ended. A task of its own from the start would cost
/// each call for what few calls need.
struct Exchange {
    /// None = it is over.
    work: Option<Work>,
    /// The request's places, which are given back when it is over.
    places: Places,
    drain: Arc<Drain>,
}

impl Future for Exchange {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let outcome = work.as_mut().poll(cx);
        if outcome.is_ready() {
            self.work = None;
        }
        outcome
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // One that panicked is not to be asked again.
        if let Some(work) = self.work.take().filter(|_| !std::thread::panicking()) {
            let places = std::mem::take(&mut self.places);
            let rest = async move {
                let done = work.await;
                drop(places);
                done
            };
            drop(metered::spawn(&self.drain, rest));
        }
    }
}

/// Runs an exchange up to its answer's head, in the places of its request: a client that leaves gives none of them back before the
/// work is over. What comes out when nobody waits any more is dropped, and an answer that is counted sees to that itself.
///
/// # Errors
/// What the exchange failed with.
pub(super) async fn run(call: &Call<'_>, work: Work) -> Result<HttpResponse, Problem> {
    let places = call.context.places.borrow().clone();
    match (Exchange { work: Some(work), places, drain: Arc::clone(&call.state.drain) }).await {
        Ok((response, latency)) => {
            call.context.upstream.set(Some(latency));
            Ok(response)
        }
        Err(Failed::Forward(error)) => Err(call.failure(error)),
        Err(Failed::Problem(problem)) => Err(problem),
    }
}
