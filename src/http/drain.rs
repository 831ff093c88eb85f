//! The last seconds of the public listener: no request that a client has sent may go without its answer.
//!
//! A client with a kept-alive connection may send its next request at any moment, also at the one in which the server closes
//! the connection. The framework closes idle connections at once when it stops, so the drain comes before: the listener is
//! closed, what is asked on open connections is answered with `Connection: close`, and only when nobody has asked anything for a
//! while the framework is stopped (RFC 9112 §9.6: a server should not close a connection that it has not said it would close).

mod full_queue;

use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use socket2::SockRef;
use tokio_util::sync::CancellationToken;

use super::metrics::HttpMetrics;
use crate::config::ServerSettings;

/// Time for the framework's accepting thread to take note: it does not say when it has, and a connection that it has just
/// taken is not counted before its worker has it.
const PAUSE: Duration = Duration::from_millis(20);
/// How often the drain looks whether it is over.
const POLL: Duration = Duration::from_millis(10);
/// WebSockets are closed over so long a time, so that their clients do not all come to the next server at once. Shorter than the
/// shortest time that idle connections should be left (`server.drain_idle_ms`), or the rest is cut off.
const SPREAD: Duration = Duration::from_millis(500);

/// Whether the server drains, and how many connections are open.
#[derive(Debug, Default)]
pub struct Drain {
    is_draining: AtomicBool,
    begun: CancellationToken,
    n_connections: AtomicUsize,
    n_works: AtomicUsize,
    n_websockets: AtomicUsize,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// No request is being answered, and nobody has sent one for `server.drain_idle_ms`.
    Whole,
    /// Requests are still being answered after `server.shutdown_timeout_s`.
    TimedOut,
}

impl Drain {
    /// From now on each answer says that it is the connection's last.
    pub fn begin(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.begun.cancel();
    }

    /// Waits until the drain begins: what would stay open for hours has to end then.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// How long one of the connections that have to end waits before it does: another time at each call.
    #[must_use]
    pub fn spread(&self) -> Duration {
        let (chance, _) = uuid::Uuid::new_v4().as_u64_pair();
        SPREAD.mul_f64((chance % 1_000) as f64 / 1_000.0)
    }

    /// Counts a connection that speaks another protocol by now, for as long as the guard lives. It is no request in flight, and
    /// the drain does not wait for it.
    #[must_use]
    pub fn switch(self: &Arc<Self>) -> OpenWebSocket {
        self.n_websockets.fetch_add(1, Ordering::Relaxed);
        OpenWebSocket(Arc::clone(self))
    }

    /// Whether there are connections that the framework would wait for, although no request is being answered on them.
    #[must_use]
    pub fn has_websockets(&self) -> bool {
        self.n_websockets.load(Ordering::Relaxed) > 0
    }

    /// Whether the answer that is being made should be its connection's last.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Counts a connection for as long as the guard lives.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> OpenConnection {
        self.n_connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// Counts work that outlives its request for as long as the guard lives.
    #[must_use]
    pub fn begin_work(self: &Arc<Self>) -> WorkUnderWay {
        self.n_works.fetch_add(1, Ordering::Relaxed);
        WorkUnderWay(Arc::clone(self))
    }

    fn has_work(&self) -> bool {
        self.n_works.load(Ordering::Relaxed) > 0
    }

    /// Waits until every connection is closed or has been silent for long enough, and what requests have left to do is done.
    pub async fn wait(&self, metrics: &HttpMetrics, settings: &ServerSettings) -> Drained {
        let idle = Duration::from_millis(settings.drain_idle_ms);
        let patience = Duration::from_secs(settings.shutdown_timeout_s);
        let started = Instant::now();
        let mut busy_at = started;
        let mut n_before = usize::MAX;
        while started.elapsed() < patience {
            let n_connections = self.n_connections.load(Ordering::Relaxed);
            if n_connections == 0 && !self.has_work() {
                return Drained::Whole;
            }
            // A request may come and go between two looks; it takes its connection with it.
            if metrics.n_in_flight() > 0 || self.has_work() || n_connections != n_before {
                busy_at = Instant::now();
                n_before = n_connections;
            } else if busy_at.elapsed() >= idle {
                return Drained::Whole;
            }
            tokio::time::sleep(POLL).await;
        }
        if metrics.n_in_flight() == 0 && !self.has_work() { Drained::Whole } else { Drained::TimedOut }
    }
}

/// A client's connection, open.
#[derive(Debug)]
pub struct OpenConnection(Arc<Drain>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.n_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Work that goes on although its request is over.
#[derive(Debug)]
pub struct WorkUnderWay(Arc<Drain>);

impl Drop for WorkUnderWay {
    fn drop(&mut self) {
        self.0.n_works.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that speaks another protocol by now.
#[derive(Debug)]
pub struct OpenWebSocket(Arc<Drain>);

impl Drop for OpenWebSocket {
    fn drop(&mut self) {
        self.0.n_websockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes no more connections, without losing one that a client believes to be open. `listener` is `None` for a socket that the
/// service manager holds: that one stays open, and what arrives waits there for the next process. One of our own is filled up
/// (`full_queue`) and closed.
pub async fn close_listener(listener: Option<&TcpListener>, server: &ServerHandle) {
    let Some(listener) = listener else {
        server.pause().await;
        tokio::time::sleep(PAUSE).await;
        return;
    };
    // Open until the socket is closed: each holds a place in its queue.
    let _own = full_queue::fill(listener, server).await;
    // Closing our descriptor would not do: the framework holds another one until it has stopped.
    if let Err(error) = SockRef::from(listener).shutdown(Shutdown::Both) {
        tracing::debug!(%error, "new connections wait until the server has stopped");
    }
}
