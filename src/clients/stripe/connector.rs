//! Makes connections to Stripe for the pool, and says which may be used again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::StripeError;

/// A connection that lay idle for longer is not used: servers close theirs after a minute or so.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// An open connection.
pub(super) type Link = SendRequest<Full<Bytes>>;

/// Makes connections to one server.
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// For a server's URL without a path.
    pub(super) fn new(base: &http::Uri) -> Result<Self, StripeError> {
        let host = base.host().ok_or(StripeError::Base)?;
        let is_tls = base.scheme_str() == Some("https");
        let tls = if is_tls {
            let name = ServerName::try_from(host.to_owned()).map_err(|_not_a_name| StripeError::Base)?;
            Some((TlsConnector::from(trust()?), name))
        } else {
            None
        };
        let port = base.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, tls })
    }
}

/// The authorities of Mozilla's list.
fn trust() -> Result<Arc<ClientConfig>, StripeError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(StripeError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn open(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Link> {
    let (link, connection) = handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
    #[expect(clippy::disallowed_methods, reason = "it carries one connection's bytes and ends with it")]
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection to Stripe ended");
        }
    });
    Ok(link)
}

impl Manager for Connector {
    type Type = Link;
    type Error = io::Error;

    async fn create(&self) -> io::Result<Link> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some((connector, name)) => open(connector.connect(name.clone(), stream).await?).await,
            None => open(stream).await,
        }
    }

    async fn recycle(&self, link: &mut Link, metrics: &Metrics) -> RecycleResult<io::Error> {
        if metrics.last_used() > IDLE_FOR || link.is_closed() || link.ready().await.is_err() {
            return Err(RecycleError::message("the connection is old or closed"));
        }
        Ok(())
    }
}
