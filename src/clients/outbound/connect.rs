//! Connections: to an address that was looked at, and to no other.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::OutboundError;

/// Longest wait for one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The authorities that are believed cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file with further ones cannot be read as PEM, or has no certificate.
    #[error("sso.ca_file: {} cannot be used: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The library cannot be set up.
    #[error("TLS cannot be used")]
    Library(#[from] rustls::Error),
}

/// The authorities of Mozilla's list, and those of `ca_file`.
pub(super) fn trust(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let wrong = |reason: String| TrustError::File { path: path.to_owned(), reason };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error: rustls_pki_types::pem::Error| wrong(error.to_string()))?;
        if certificates.is_empty() {
            return Err(wrong("it has no certificate".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A connection for one exchange, to the first of the addresses that answers.
pub(super) async fn open(
    addresses: &[SocketAddr],
    host: &str,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<SendRequest<Full<Bytes>>, OutboundError> {
    let stream = connect(addresses).await.map_err(OutboundError::Connect)?;
    match tls {
        Some(tls) => {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_not_a_name: rustls_pki_types::InvalidDnsNameError| OutboundError::Url)?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            shake_hands(stream.map_err(OutboundError::Connect)?).await
        }
        None => shake_hands(stream).await,
    }
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

async fn shake_hands(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, OutboundError> {
    let (link, connection) = handshake(TokioIo::new(io)).await.map_err(|error| OutboundError::Lost(Box::new(error)))?;
    #[expect(clippy::disallowed_methods, reason = "it carries one exchange's bytes and ends with it")]
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = &error as &dyn std::error::Error, "a connection to an identity provider ended");
        }
    });
    Ok(link)
}
