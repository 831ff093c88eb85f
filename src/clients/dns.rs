//! Questions to DNS: where a name points, and what it says.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData};

/// Longest wait for one answer of one server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Asked so often again.
const ATTEMPTS: usize = 1;

/// DNS did not say.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The system's own servers cannot be found out.
    #[error("the system's DNS servers cannot be read")]
    System(#[source] Box<NetError>),
    /// Not a name.
    #[error("this is no name in DNS")]
    Name,
    /// No server answered in time.
    #[error("no DNS server answered in time")]
    TimedOut,
    /// No server answered, or none could.
    #[error("no DNS server answered")]
    Unavailable(#[source] Box<NetError>),
}

/// A resolver. Cheap to clone.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dns")
    }
}

impl Dns {
    /// Asks `server`, or whom the system asks.
    ///
    /// # Errors
    /// [`DnsError::System`].
    pub fn new(server: Option<SocketAddr>) -> Result<Self, DnsError> {
        let system = |error: NetError| DnsError::System(Box::new(error));
        let mut builder = match server {
            Some(address) => {
                let mut ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for way in &mut ways {
                    way.port = address.port();
                }
                let server = NameServerConfig::new(address.ip(), true, ways.to_vec());
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
            None => TokioResolver::builder_tokio().map_err(system)?,
        };
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = ATTEMPTS;
        // An answer is looked at when it is asked for: a record that was just set must be seen, and one that is gone missed.
        options.cache_size = 0;
        Ok(Self { resolver: builder.build().map_err(system)? })
    }

    /// Every address of a name; none if there is no such name.
    ///
    /// # Errors
    /// [`DnsError::Name`] or [`DnsError::Unavailable`].
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        match self.resolver.lookup_ip(fully_qualified(host)?).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(DnsError::Unavailable(Box::new(error))),
        }
    }

    /// Every TXT record of a name, each as one text; none if there is no such name.
    ///
    /// # Errors
    /// [`DnsError::Name`] or [`DnsError::Unavailable`].
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let answers = match self.resolver.txt_lookup(fully_qualified(name)?).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(DnsError::Unavailable(Box::new(error))),
        };
        let text_of = |data: &RData| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        };
        Ok(answers.answers().iter().filter_map(|record| text_of(&record.data)).collect())
    }
}

/// A name that the system's search list does not add to: `idp` must not become `idp.internal.example`.
fn fully_qualified(name: &str) -> Result<Name, DnsError> {
    let mut name = Name::from_ascii(name).map_err(|_malformed: hickory_resolver::proto::ProtoError| DnsError::Name)?;
    name.set_fqdn(true);
    Ok(name)
}
