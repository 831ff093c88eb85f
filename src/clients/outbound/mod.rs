//! Calls to addresses that tenants name: to their identity providers.
//!
//! Nothing inside the network that the server stands in is to be reached through it. A URL must be HTTPS, its name is resolved once,
//! every address of it must be public, and the connection goes to an address that was looked at: a name that points elsewhere a
//! moment later changes nothing. Redirects are not followed, proxies of the environment not asked, answers have a largest size and the
//! whole exchange an end.

mod connect;
mod places;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use rustls::ClientConfig;

use super::dns::{Dns, DnsError};
use crate::config::SsoSettings;
use crate::domain::ids::TenantId;
use crate::domain::public_address::is_public;

pub use connect::TrustError;
use places::{Bounds, Places};

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 512 << 10;
/// Exchanges at once; more are refused.
const MAX_EXCHANGES: usize = 64;
/// Exchanges for one tenant at once: whoever knows a connection has its provider called, and a tenant that names many slow ones must
/// not keep the people of others out.
const MAX_FOR_TENANT: usize = 8;
/// Exchanges with one host at once: one that is slow must not take the places of the others. Several tenants' worth, because many
/// share the large providers.
const MAX_FOR_HOST: usize = 32;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// A call was not made, or had no answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The URL cannot be called: no HTTPS, no host, or a name and password in it.
    #[error("the URL must be https:// with a host and nothing before it")]
    Url,
    /// An address that is not one of the public internet.
    #[error("the address is not a public one")]
    Private,
    /// DNS did not say where it is.
    #[error("the host's name cannot be resolved")]
    Dns(#[from] DnsError),
    /// The name has no address.
    #[error("the host's name has no address")]
    NoAddress,
    /// No connection could be made.
    #[error("the host cannot be reached")]
    Connect(#[source] io::Error),
    /// The connection broke, or what came is not HTTP, or too much.
    #[error("the answer was lost or too large")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("there was no answer in time")]
    TimedOut,
    /// Too many calls at once.
    #[error("too many calls at once")]
    Busy,
}

/// Makes calls, for one tenant each ([`Outbound::of`]). Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    dns: Dns,
    tls: Arc<ClientConfig>,
    deadline: Duration,
    allows_private: bool,
    places: Places,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("allows_private", &self.allows_private).finish_non_exhaustive()
    }
}

impl Outbound {
    /// As the settings say.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn new(settings: &SsoSettings, dns: Dns) -> Result<Self, TrustError> {
        Ok(Self {
            dns,
            tls: connect::trust(settings.ca_file.as_deref())?,
            deadline: Duration::from_millis(settings.timeout_ms),
            allows_private: settings.allow_private_addresses,
            places: Places::new(Bounds { all: MAX_EXCHANGES, tenant: MAX_FOR_TENANT, host: MAX_FOR_HOST }),
        })
    }

    /// Whether a URL is one that could be called, or that a browser may be sent to: HTTPS, or HTTP where private addresses are
    /// allowed, and an address in it that is public.
    ///
    /// # Errors
    /// [`OutboundError::Url`] or [`OutboundError::Private`].
    pub fn check_url(&self, url: &str) -> Result<(), OutboundError> {
        let uri: Uri = url.parse().map_err(|_malformed: http::uri::InvalidUri| OutboundError::Url)?;
        self.target(&uri).map(|_| ())
    }

    /// The same on behalf of a tenant, in whose places calls are made.
    #[must_use]
    pub fn of(&self, tenant: TenantId) -> TenantOutbound {
        TenantOutbound { outbound: self.clone(), tenant }
    }

    async fn exchange(&self, target: Target, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutboundError> {
        let addresses = self.addresses(&target).await?;
        let mut link = connect::open(&addresses, &target.host, target.is_tls.then_some(&self.tls)).await?;
        let (mut head, body) = request.into_parts();
        let authority = HeaderValue::from_str(&target.authority)
            .map_err(|_not_a_host: http::header::InvalidHeaderValue| OutboundError::Url)?;
        head.headers.insert(HOST, authority);
        let agent = concat!("BusinessOS/", env!("CARGO_PKG_VERSION"));
        head.headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        head.uri = path.parse().map_err(|_malformed: http::uri::InvalidUri| OutboundError::Url)?;
        let request = Request::from_parts(head, Full::new(Bytes::from(body)));
        let response = link.send_request(request).await.map_err(|error| OutboundError::Lost(Box::new(error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(OutboundError::Lost)?.to_bytes();
        Ok(Response::from_parts(head, body.to_vec()))
    }

    fn target(&self, uri: &Uri) -> Result<Target, OutboundError> {
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if self.allows_private => false,
            Some(_) | None => return Err(OutboundError::Url),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(OutboundError::Url)?;
        let host = authority.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() {
            return Err(OutboundError::Url);
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let target = Target { host, port, is_tls, authority: authority.as_str().to_owned() };
        if let Ok(address) = target.host.parse::<IpAddr>() {
            self.check(address)?;
        }
        Ok(target)
    }

    /// Where it is. One private address among them is one too many: nobody has such a name by accident.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, OutboundError> {
        let found = match target.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_name) => self.dns.addresses(&target.host).await?,
        };
        if found.is_empty() {
            return Err(OutboundError::NoAddress);
        }
        for address in &found {
            self.check(*address)?;
        }
        Ok(found.into_iter().take(MAX_ADDRESSES).map(|address| SocketAddr::new(address, target.port)).collect())
    }

    fn check(&self, address: IpAddr) -> Result<(), OutboundError> {
        if self.allows_private || is_public(address) { Ok(()) } else { Err(OutboundError::Private) }
    }
}

/// Makes the calls that a tenant, or one of its people, has asked for.
#[derive(Debug, Clone)]
pub struct TenantOutbound {
    outbound: Outbound,
    tenant: TenantId,
}

impl TenantOutbound {
    /// As [`Outbound::check_url`].
    ///
    /// # Errors
    /// [`OutboundError::Url`] or [`OutboundError::Private`].
    pub fn check_url(&self, url: &str) -> Result<(), OutboundError> {
        self.outbound.check_url(url)
    }

    /// Makes a call and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutboundError> {
        let Self { outbound, tenant } = self;
        let target = outbound.target(request.uri())?;
        let _place = outbound.places.take(*tenant, &target.host, target.port).ok_or(OutboundError::Busy)?;
        tokio::time::timeout(outbound.deadline, outbound.exchange(target, request))
            .await
            .unwrap_or_else(|_elapsed| Err(OutboundError::TimedOut))
    }
}

/// What a URL names.
struct Target {
    host: String,
    port: u16,
    is_tls: bool,
    authority: String,
}
