//! The threads that actors live on.

use std::num::NonZeroUsize;

use actix_rt::{Arbiter, System};

/// Why the actor threads could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ArbitersError {
    /// The calling thread belongs to no running actix system.
    #[error("no actix system runs on this thread")]
    NoSystem,
    /// The operating system refused a thread or its event loop.
    #[error("an actor thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// A few threads, each with its own event loop, over which actors are spread.
#[derive(Debug)]
pub struct Arbiters {
    first: Arbiter,
    others: Vec<Arbiter>,
}

impl Arbiters {
    /// Starts `n` threads. Call it where an actix system runs.
    ///
    /// # Errors
    /// See [`ArbitersError`].
    pub fn start(n: NonZeroUsize) -> Result<Self, ArbitersError> {
        // The framework panics when there is no system; we say it.
        System::try_current().ok_or(ArbitersError::NoSystem)?;
        let first = Arbiter::try_new().map_err(ArbitersError::Thread)?;
        let others = (1..n.get()).map(|_| Arbiter::try_new()).collect::<Result<_, _>>();
        Ok(Self { first, others: others.map_err(ArbitersError::Thread)? })
    }

    /// The home of whatever has this hash: the same hash, the same thread.
    pub fn pick(&self, hash: u64) -> ArbiterHandle {
        let n_arbiters = self.others.len() as u64 + 1;
        let idx = usize::try_from(hash % n_arbiters).unwrap_or(0);
        let arbiter = idx.checked_sub(1).and_then(|idx| self.others.get(idx)).unwrap_or(&self.first);
        ArbiterHandle(arbiter.handle())
    }

    /// Ends all threads and waits for them. Stop the actors first: one that still lives is cut off and counts as
    /// failed.
    pub async fn stop(self) {
        let Self { first, others } = self;
        let arbiters: Vec<Arbiter> = std::iter::once(first).chain(others).collect();
        let joined = tokio::task::spawn_blocking(move || {
            // All are told before any is waited for.
            let n_gone = arbiters.iter().filter(|arbiter| !arbiter.stop()).count();
            let n_panicked = arbiters.into_iter().map(Arbiter::join).filter(Result::is_err).count();
            (n_gone, n_panicked)
        });
        match joined.await {
            Ok((0, 0)) => {}
            Ok((n_gone, n_panicked)) => tracing::error!(n_gone, n_panicked, "actor threads had died before the stop"),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "actor threads were not awaited"),
        }
    }
}

/// One thread that actors live on. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct ArbiterHandle(actix_rt::ArbiterHandle);

impl ArbiterHandle {
    /// The calling thread itself, if it is one that actors can live on.
    pub fn current() -> Option<Self> {
        Arbiter::try_current().map(Self)
    }

    /// Runs what `make` returns on that thread. `false`: the thread has ended, and `make` was dropped.
    #[expect(clippy::disallowed_methods, reason = "supervising tasks begin here")]
    pub(super) fn run<F, W>(&self, make: F) -> bool
    where
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = ()> + 'static,
    {
        self.0.spawn_fn(move || drop(actix_rt::spawn(make())))
    }
}
