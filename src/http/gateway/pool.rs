//! Connections to endpoints, kept by each worker thread for itself.
//!
//! Last in, first out: the connection used most recently is the one least likely to have been closed by the service,
//! and the others get old enough to be closed. A connection carries one request at a time and comes back only after a
//! complete exchange; in every other case it is closed at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use actix_web::rt::{self, task::JoinHandle};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::balance::{Address, Endpoint};
use super::body::RequestBody;
use super::transport::Transport;

/// Bytes that hyper buffers at most for each direction of a connection.
const MAX_BUFFER: usize = 64 * 1024;
/// How long a connection may take to settle after a complete exchange before it is closed.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many idle connections are kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Idle connections kept for each endpoint by each worker.
    pub max_idle_per_endpoint: usize,
    /// Idle connections are closed after this time; it should be shorter than the services' own.
    pub idle_timeout: Duration,
}

/// An open connection; dropping it closes it, whatever it was doing.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection in use for one exchange.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Connection,
    endpoint_id: u64,
    reused: bool,
    settings: PoolSettings,
}

impl Lease {
    /// Whether it served another request before, so that the service may have closed it in the meantime.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.connection.sender
    }

    /// Returns the connection to the pool; only after a complete exchange.
    pub(super) fn give_back(self) {
        let Self { connection, endpoint_id, reused: _, settings } = self;
        give_back(connection, endpoint_id, settings);
    }
}

/// A connection's task: it lives on the worker that uses the connection and ends with it.
#[expect(clippy::disallowed_methods, reason = "a connection must be driven beside the requests that use it")]
fn spawn_here<W: Future<Output = ()> + 'static>(work: W) -> JoinHandle<()> {
    rt::spawn(work)
}

fn give_back(mut connection: Connection, endpoint_id: u64, settings: PoolSettings) {
    if connection.sender.is_ready() {
        POOL.with_borrow_mut(|pool| pool.put(endpoint_id, connection, settings));
    } else if !connection.sender.is_closed() {
        // The exchange is complete but hyper has not been polled since.
        spawn_here(async move {
            if let Ok(Ok(())) = rt::time::timeout(SETTLE_TIMEOUT, connection.sender.ready()).await {
                POOL.with_borrow_mut(|pool| pool.put(endpoint_id, connection, settings));
            }
        });
    }
}

/// An idle connection to the endpoint, or a new one.
///
/// # Errors
///
/// The system's, or `TimedOut` after `timeout`.
pub(super) async fn lease(
    endpoint: &Endpoint,
    fresh: bool,
    timeout: Duration,
    settings: PoolSettings,
) -> io::Result<Lease> {
    let endpoint_id = endpoint.id();
    if !fresh && let Some(connection) = POOL.with_borrow_mut(|pool| pool.take(endpoint_id, settings.idle_timeout)) {
        return Ok(Lease { connection, endpoint_id, reused: true, settings });
    }
    let stream = connect(endpoint, timeout).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let task = spawn_here(async move {
        // Whoever waits for the exchange is told of an error; an idle connection's has no reader.
        drop(connection.with_upgrades().await);
    })
    .abort_handle();
    Ok(Lease { connection: Connection { sender, task }, endpoint_id, reused: false, settings })
}

/// Opens a connection within `timeout`, looking up the name if there is one, and shaking hands if it is TLS.
///
/// # Errors
///
/// The system's, that the certificate is not believed, or `TimedOut`.
pub(super) async fn connect(endpoint: &Endpoint, timeout: Duration) -> io::Result<Transport> {
    let opened = async {
        let stream = match endpoint.address() {
            Address::Ip(address) => TcpStream::connect(address).await,
            Address::Name(host, port) => TcpStream::connect((&**host, *port)).await,
        }?;
        stream.set_nodelay(true)?;
        match endpoint.tls() {
            None => Ok(Transport::Plain(stream)),
            Some(tls) => match tls.connect(stream).await {
                Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
                Err(error) => {
                    // A certificate that is not believed is a mistake that somebody has to mend.
                    tracing::warn!(endpoint = endpoint.url(), %error, "no TLS with a service");
                    Err(error)
                }
            },
        }
    };
    rt::time::timeout(timeout, opened).await.map_err(|_elapsed| io::ErrorKind::TimedOut)?
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::new(Pool::default());
}

#[derive(Debug, Default)]
struct Pool {
    idle: HashMap<u64, Vec<Idle>>,
    reaper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    fn take(&mut self, endpoint_id: u64, idle_timeout: Duration) -> Option<Connection> {
        let idle = self.idle.get_mut(&endpoint_id)?;
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() >= idle_timeout {
                // All below it are older.
                idle.clear();
            } else if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&mut self, endpoint_id: u64, connection: Connection, settings: PoolSettings) {
        let idle = self.idle.entry(endpoint_id).or_default();
        if idle.len() >= settings.max_idle_per_endpoint {
            return;
        }
        idle.push(Idle { connection, since: Instant::now() });
        if self.reaper.as_ref().is_none_or(JoinHandle::is_finished) {
            self.reaper = Some(spawn_here(reap(settings.idle_timeout)));
        }
    }

    /// Closes what is too old or was closed by the service; false when nothing is left.
    fn sweep(&mut self, idle_timeout: Duration) -> bool {
        self.idle.retain(|_, idle| {
            idle.retain(|one| one.since.elapsed() < idle_timeout && !one.connection.sender.is_closed());
            !idle.is_empty()
        });
        !self.idle.is_empty()
    }
}

async fn reap(idle_timeout: Duration) {
    let period = (idle_timeout / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        rt::time::sleep(period).await;
        if !POOL.with_borrow_mut(|pool| pool.sweep(idle_timeout)) {
            return;
        }
    }
}
