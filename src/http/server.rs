//! The listeners.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, web};
use prometheus_client::registry::Registry;

use super::middleware::ip_limit::IpLimit;
use super::middleware::{cors, edge};
use super::state::AppState;
use super::tls::Certificate;
use super::{access_log, admin, configure, drain};
use crate::config::ServerSettings;

pub use super::tls::TlsError;

/// A listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Opens a socket, or takes over the one that systemd holds open for us (`LISTEN_FDS`), so that a restart refuses nobody.
///
/// # Errors
/// [`ServerError::Listen`].
pub fn bind(address: SocketAddr, take_over: bool) -> Result<Listener, ServerError> {
    let failed = |source| ServerError::Listen { address, source };
    if take_over && let Some(inherited) = listenfd::ListenFd::from_env().take_tcp_listener(0).map_err(failed)? {
        return Ok(Listener { socket: inherited, is_ours: false });
    }
    let socket = TcpListener::bind(address).map_err(failed)?;
    Ok(Listener { socket, is_ours: true })
}

/// An open socket.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Nobody else holds it, so closing it closes it.
    is_ours: bool,
}

/// The running public listener.
pub struct PublicServer {
    /// Stops it.
    pub handle: ServerHandle,
    /// The socket, if it is for this process to close.
    listener: Option<TcpListener>,
}

/// The certificate that the settings name, if they name one.
///
/// # Errors
/// [`ServerError::Tls`].
pub fn certificate(settings: &ServerSettings) -> Result<Option<Arc<Certificate>>, ServerError> {
    match (&settings.tls_cert, &settings.tls_key) {
        (Some(cert), Some(key)) => Ok(Some(Certificate::load(cert, key)?)),
        _ => Ok(None),
    }
}

impl PublicServer {
    /// Takes no more connections; see [`drain::close_listener`].
    pub async fn close_listener(&self) {
        drain::close_listener(self.listener.as_ref(), &self.handle).await;
    }
}

/// Starts the public listener.
///
/// # Errors
/// [`ServerError`].
pub fn public(
    listener: Listener,
    settings: &ServerSettings,
    n_workers: usize,
    certificate: Option<&Arc<Certificate>>,
    ip_limit: IpLimit,
    state: web::Data<AppState>,
) -> Result<PublicServer, ServerError> {
    let address = settings.listen;
    let failed = |source| ServerError::Listen { address, source };
    let Listener { socket, is_ours } = listener;
    let ours = if is_ours { Some(socket.try_clone().map_err(failed)?) } else { None };
    let log = state.access_log.clone();
    let connections = Arc::clone(&state.drain);
    let server = HttpServer::new(move || {
        flush_access_log(log.clone());
        // The last `wrap` is the outermost.
        App::new()
            .app_data(state.clone())
            .app_data(query_errors())
            .configure(configure)
            .wrap(from_fn(cors::cors))
            .wrap(Condition::new(ip_limit.is_on(), ip_limit.middleware()))
            .wrap(from_fn(edge::edge))
    })
    .workers(n_workers)
    .max_connections(settings.max_connections_per_worker)
    .client_request_timeout(Duration::from_millis(settings.header_timeout_ms))
    // Never 0: it lets an early answer out while the client still sends.
    .client_disconnect_timeout(Duration::from_secs(2))
    .keep_alive(Duration::from_millis(settings.keep_alive_ms))
    .tcp_nodelay(true)
    .on_connect(move |_socket, extensions| {
        // Kept until the connection is closed.
        extensions.insert(connections.enter());
    })
    // A client that leaves while a service is silent must be noticed.
    .h1_allow_half_closed(false)
    .shutdown_timeout(settings.shutdown_timeout_s)
    .disable_signals();
    let server = match certificate {
        Some(certificate) => server.listen_rustls_0_23(socket, certificate.server_config()?).map_err(failed)?,
        None => server.listen(socket).map_err(failed)?,
    };
    Ok(PublicServer { handle: start(server.run()), listener: ours })
}

/// Starts the admin listener.
///
/// # Errors
/// [`ServerError`].
pub fn private(
    listener: Listener,
    address: SocketAddr,
    state: web::Data<AppState>,
    registry: Arc<Registry>,
) -> Result<ServerHandle, ServerError> {
    let registry = web::Data::new(registry);
    let server = HttpServer::new(move || {
        App::new().app_data(state.clone()).app_data(registry.clone()).configure(admin::configure)
    })
    .workers(1)
    .max_connections(64)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener.socket)
    .map_err(|source| ServerError::Listen { address, source })?;
    Ok(start(server.run()))
}

/// Lets a server run; it ends when its handle stops it.
#[expect(clippy::disallowed_methods, reason = "the framework's own task, stopped by its handle")]
fn start(server: Server) -> ServerHandle {
    let handle = server.handle();
    actix_web::rt::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "a listener ended");
        }
    });
    handle
}

/// A query that cannot be read is answered as a problem.
fn query_errors() -> web::QueryConfig {
    use super::problem::{Problem, kinds};
    web::QueryConfig::default().error_handler(|error, _request| {
        tracing::debug!(%error, "a query was refused");
        Problem::new(&kinds::MALFORMED_REQUEST, "a query parameter is unknown, repeated or of the wrong type").into()
    })
}

/// Hands the calling worker's lines over from time to time; ends with the worker.
#[expect(clippy::disallowed_methods, reason = "a worker's own timer, which lives and dies with the worker's thread")]
fn flush_access_log(log: access_log::AccessLog) {
    if !log.is_on() {
        return;
    }
    actix_web::rt::spawn(async move {
        loop {
            tokio::time::sleep(access_log::FLUSH_EVERY).await;
            log.flush();
        }
    });
}
