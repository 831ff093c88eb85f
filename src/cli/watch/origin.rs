//! Where the server is, and plain calls to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::broken;
use crate::cli::CliError;

/// Longest wait for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1_024;

/// A connection, encrypted or not.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

/// The server and the tenant on it.
#[derive(Debug)]
pub(super) struct Origin {
    is_secure: bool,
    host: String,
    port: u16,
    /// `host:port`, as the client was told.
    pub(super) authority: String,
    /// The tenant's subdomain.
    pub(super) tenant: String,
}

impl Origin {
    pub(super) fn parse(url: &str, tenant: &str) -> Result<Self, CliError> {
        let wrong = || CliError::Failed(format!("--url: found {url:?}, expected http://host:port or https://host"));
        let uri: http::Uri = url.parse().map_err(|_malformed: http::uri::InvalidUri| wrong())?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let is_bare = uri.path() == "/" && uri.query().is_none();
        let authority = uri.authority().filter(|_| is_bare).ok_or_else(wrong)?;
        if http::HeaderValue::from_str(tenant).is_err() || tenant.is_empty() {
            return Err(CliError::Failed("--tenant: expected a subdomain".to_owned()));
        }
        Ok(Self {
            is_secure,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            authority: authority.to_string(),
            tenant: tenant.to_owned(),
        })
    }

    /// Opens a connection. Names under `localhost` are this machine's (RFC 6761 §6.3), whatever its resolver says.
    pub(super) async fn connect(&self) -> Result<Box<dyn Connection>, CliError> {
        let is_local = self.host == "localhost" || self.host.ends_with(".localhost");
        let host = if is_local { "127.0.0.1" } else { &self.host };
        let opened = tokio::time::timeout(PATIENCE, TcpStream::connect((host, self.port))).await;
        let stream = opened.map_err(|_elapsed: tokio::time::error::Elapsed| self.unreachable("no answer"))?;
        let stream = stream.map_err(|error| self.unreachable(&error.to_string()))?;
        stream.set_nodelay(true).map_err(broken)?;
        if !self.is_secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(broken)?;
        let shaken = tokio::time::timeout(PATIENCE, tls()?.connect(name, stream)).await;
        let stream = shaken.map_err(|_elapsed: tokio::time::error::Elapsed| self.unreachable("no answer"))?;
        Ok(Box::new(stream.map_err(|error| self.unreachable(&error.to_string()))?))
    }

    fn unreachable(&self, why: &str) -> CliError {
        CliError::Failed(format!("{} cannot be reached: {why}", self.authority))
    }

    /// Posts JSON; returns status and body.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), CliError> {
        let request = http::Request::post(path)
            .header("host", &self.authority)
            .header("x-tenant", &self.tenant)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(broken)?;
        let io = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status().as_u16();
            let bytes = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let bytes = bytes.map_err(|error| CliError::Failed(format!("{path}: {error}")))?.to_bytes();
            Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
        };
        // The connection is driven by whoever waits for the answer.
        let driven = async {
            tokio::pin!(exchange, connection);
            tokio::select! {
                answer = &mut exchange => answer,
                // It may end before the answer has been read to its end.
                _ended = &mut connection => exchange.await,
            }
        };
        let answered = tokio::time::timeout(PATIENCE, driven).await;
        answered.map_err(|_elapsed: tokio::time::error::Elapsed| self.unreachable("no answer"))?
    }
}

fn tls() -> Result<TlsConnector, CliError> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(broken)?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
