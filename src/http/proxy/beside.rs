//! Exchanges that are finished whether or not their client waits: what was asked of a service is done, and has to be counted.

use std::time::Duration;

use actix_web::HttpResponse;

use super::Call;
use crate::http::gateway::{ForwardError, metered};
use crate::http::problem::{Problem, kinds};

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

/// Runs an exchange up to its answer's head, in the places of its request: a client that leaves gives none of them back before the
/// work is over. What comes out when nobody waits any more is dropped, and an answer that is counted sees to that itself.
///
/// # Errors
/// What the exchange failed with; `unavailable` while the worker ends.
pub(super) async fn run(
    call: &Call<'_>,
    exchange: impl Future<Output = Result<(HttpResponse, Duration), Failed>> + 'static,
) -> Result<HttpResponse, Problem> {
    let places = call.context.places.borrow().clone();
    let work = async move {
        let done = exchange.await;
        drop(places);
        done
    };
    let ended = || Problem::new(&kinds::UNAVAILABLE, "the server is stopping").retry_after(1);
    let Some(task) = metered::spawn(&call.state.drain, work) else { return Err(ended()) };
    match task.await {
        Ok(Ok((response, latency))) => {
            call.context.upstream.set(Some(latency));
            Ok(response)
        }
        Ok(Err(Failed::Forward(error))) => Err(call.failure(error)),
        Ok(Err(Failed::Problem(problem))) => Err(problem),
        Err(error) if error.is_panic() => {
            tracing::error!(route = %call.route.label(), "a counted call panicked");
            Err(Problem::new(&kinds::INTERNAL, "quote the request id to support"))
        }
        Err(_cancelled) => Err(ended()),
    }
}
