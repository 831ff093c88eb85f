//! Who is calling, and which host they mean.
//!
//! The framework's own helpers believe `Forwarded` and `X-Forwarded-*` from anybody; here the socket's peer counts, and what a
//! proxy says only if its network is trusted, with a list of its own for the host because the host decides the tenant.

use std::borrow::Cow;
use std::net::IpAddr;

use actix_web::dev::RequestHead;
use actix_web::http::header::{HOST, HeaderName};

use crate::config::GatewaySettings;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// One network in CIDR form.
#[derive(Debug, Clone, Copy)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn contains(self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(network).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(network).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// Networks of proxies that are believed.
#[derive(Debug, Default)]
pub struct TrustedNetworks {
    address: Vec<Network>,
    host: Vec<Network>,
}

impl TrustedNetworks {
    /// The networks of the settings, which were checked when they were loaded.
    #[must_use]
    pub fn new(settings: &GatewaySettings) -> Self {
        let parse = |list: &[String]| {
            list.iter()
                .filter_map(|text| crate::config::parse_network(text))
                .map(|(address, bits)| Network { address, bits })
                .collect()
        };
        Self { address: parse(&settings.trusted_proxies), host: parse(&settings.trusted_host_proxies) }
    }

    /// The client's address: the socket's peer, or, behind trusted proxies, the last address of `X-Forwarded-For` that is not
    /// one of them (walking from the right: everything left of it is the client's own claim).
    #[must_use]
    pub fn client_ip(&self, head: &RequestHead) -> Option<IpAddr> {
        let peer = head.peer_addr.map(|peer| peer.ip().to_canonical())?;
        if !is_in(&self.address, peer) {
            return Some(peer);
        }
        let hops = head.headers().get_all(&X_FORWARDED_FOR).filter_map(|value| value.to_str().ok());
        let mut client = peer;
        for hop in hops.flat_map(|value| value.split(',')).map(str::trim).collect::<Vec<_>>().into_iter().rev() {
            let Ok(ip) = hop.parse::<IpAddr>() else { break };
            client = ip.to_canonical();
            if !is_in(&self.address, client) {
                break;
            }
        }
        Some(client)
    }

    /// The host the client asked for, lower case, without port and trailing dot.
    #[must_use]
    pub fn host<'a>(&self, head: &'a RequestHead) -> Option<Cow<'a, str>> {
        let peer = head.peer_addr.map(|peer| peer.ip().to_canonical());
        let forwarded = head.headers().get(&X_FORWARDED_HOST);
        let header = match (forwarded, peer) {
            (Some(value), Some(peer)) if is_in(&self.host, peer) => Some(value),
            _ => head.headers().get(HOST),
        };
        let text = match header {
            Some(value) => value.to_str().ok()?,
            None => head.uri.authority().map(actix_web::http::uri::Authority::as_str)?,
        };
        Some(normalise_host(text))
    }

    /// Whether the client reached the platform by TLS.
    #[must_use]
    pub fn is_secure(&self, head: &RequestHead, listens_tls: bool) -> bool {
        let peer = head.peer_addr.map(|peer| peer.ip().to_canonical());
        match (head.headers().get(&X_FORWARDED_PROTO), peer) {
            (Some(value), Some(peer)) if is_in(&self.address, peer) => value.as_bytes() == b"https",
            _ => listens_tls,
        }
    }
}

fn is_in(networks: &[Network], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(ip))
}

fn normalise_host(text: &str) -> Cow<'_, str> {
    let without_port = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(text, |(address, _)| address),
        None => text
            .rsplit_once(':')
            .map_or(text, |(host, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { text }),
    };
    let host = without_port.strip_suffix('.').unwrap_or(without_port);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn networks(address: &[&str], host: &[&str]) -> TrustedNetworks {
        let mut settings = crate::config::load(None).expect("defaults").gateway;
        settings.trusted_proxies = address.iter().map(|&text| text.to_owned()).collect();
        settings.trusted_host_proxies = host.iter().map(|&text| text.to_owned()).collect();
        TrustedNetworks::new(&settings)
    }

    fn request(peer: &str, headers: &[(&str, &str)]) -> actix_web::HttpRequest {
        let peer = format!("{peer}:1234").parse().expect("an address");
        headers.iter().fold(TestRequest::default().peer_addr(peer), |r, h| r.insert_header(*h)).to_http_request()
    }

    #[test]
    fn nobody_is_believed_by_default() {
        let request = request(
            "9.9.9.9",
            &[
                ("host", "acme.localhost"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-host", "evil.localhost"),
                ("x-forwarded-proto", "https"),
            ],
        );
        let networks = networks(&[], &[]);
        assert_eq!(networks.client_ip(request.head()), Some("9.9.9.9".parse().expect("ip")));
        assert_eq!(networks.host(request.head()).as_deref(), Some("acme.localhost"));
        assert!(!networks.is_secure(request.head(), false));
    }

    #[test]
    fn addresses_are_walked_from_the_right() {
        let request = request("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 2.2.2.2, 10.0.0.7")]);
        let networks = networks(&["10.0.0.0/8"], &[]);
        assert_eq!(networks.client_ip(request.head()), Some("2.2.2.2".parse().expect("ip")));
    }

    #[test]
    fn the_host_has_a_list_of_its_own() {
        let request = request("10.0.0.1", &[("host", "a.localhost"), ("x-forwarded-host", "b.localhost")]);
        assert_eq!(networks(&["10.0.0.0/8"], &[]).host(request.head()).as_deref(), Some("a.localhost"));
        assert_eq!(networks(&[], &["10.0.0.0/8"]).host(request.head()).as_deref(), Some("b.localhost"));
    }

    #[test]
    fn hosts_are_normalised() {
        for (text, host) in [
            ("Acme.LocalHost:3000", "acme.localhost"),
            ("a.b.", "a.b"),
            ("[::1]:3000", "::1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(normalise_host(text), host);
        }
    }

    #[test]
    fn networks_contain_their_addresses() {
        let network = |text: &str| {
            crate::config::parse_network(text).map(|(address, bits)| Network { address, bits }).expect("a network")
        };
        assert!(network("10.0.0.0/8").contains("10.255.0.1".parse().expect("ip")));
        assert!(!network("10.0.0.0/8").contains("11.0.0.1".parse().expect("ip")));
        assert!(network("0.0.0.0/0").contains("11.0.0.1".parse().expect("ip")));
        assert!(network("fd00::/8").contains("fd12::1".parse().expect("ip")));
        assert!(!network("fd00::/8").contains("1.1.1.1".parse().expect("ip")));
    }
}
