//! Running until told to stop, and stopping without losing a request.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{AppError, Application, Running};
use crate::http::drain::Drained;

/// Pools have nothing to wait for once the actors have ended.
const CLOSE_POOLS_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It was told to.
    Asked,
}

impl Application {
    /// Serves until SIGTERM, SIGINT or a part that stays down. SIGHUP reads the routes again.
    ///
    /// # Errors
    /// [`AppError::Escalated`].
    pub async fn run_until_stopped(self) -> Result<Stopped, AppError> {
        let mut terminate = listen(SignalKind::terminate());
        let mut interrupt = listen(SignalKind::interrupt());
        let mut hang_up = listen(SignalKind::hangup());
        let escalated = loop {
            tokio::select! {
                () = received(&mut terminate) => break None,
                () = received(&mut interrupt) => break None,
                () = received(&mut hang_up) => {
                    if let Err(mistake) = (self.running.state.reload_routes)() {
                        tracing::error!(mistake, "the routes stay as they were");
                    }
                }
                part = self.running.tree.escalated() => break Some(part),
            }
        };
        self.stop().await;
        match escalated {
            None => Ok(Stopped::Asked),
            Some(part) => Err(AppError::Escalated(part)),
        }
    }

    /// Stops everything, in the reverse order of its start.
    pub async fn stop(self) {
        let Self { running, database, port: _, admin_port: _ } = self;
        let Running { db, state, tree, arbiters, public, private, health_checks, log_writer } = running;
        tracing::info!("stopping: requests in flight may finish");
        state.readiness.fail("server", "stopping");
        state.drain.begin();
        public.close_listener().await;
        let drained = state.drain.wait(&state.metrics, &state.settings.server).await;
        if drained == Drained::TimedOut {
            tracing::warn!("requests were cut off: they took longer than server.shutdown_timeout_s");
        }
        // A WebSocket whose client does not read its close frame would hold up an orderly stop to its end.
        public.handle.stop(drained == Drained::Whole && !state.drain.has_websockets()).await;
        drop(public);
        health_checks.cancel();
        tree.stop().await;
        private.stop(false).await;
        drop(state);
        drop(tree);
        if let Some(arbiters) = std::sync::Arc::into_inner(arbiters) {
            arbiters.stop().await;
        }
        if tokio::time::timeout(CLOSE_POOLS_TIMEOUT, db.close()).await.is_err() {
            tracing::warn!("some database connections did not close in time");
        }
        drop(db);
        database.stop().await;
        if let Some(writer) = log_writer {
            // It ends when the workers' buffers are gone, which they are.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
        tracing::info!("stopped");
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::error!(%error, "a signal cannot be listened for")).ok()
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
