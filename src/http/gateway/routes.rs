//! The table of routes: which service a path belongs to.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::PathAndQuery;
use rustls_pki_types::ServerName;

use super::balance::{Address, Endpoint};
use super::{path, tls};
use crate::config::{RouteAuth, RouteKind, RouteSettings};
use crate::domain::tenant_secret::SecretName;
use crate::domain::usage::MAX_QUANTITY;

/// A mistake in `[[gateway.routes]]`; the whole table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gateway.routes[{index}] (prefix {prefix:?}): {key}: {problem}")]
pub struct RouteError {
    /// Position of the route in the configuration, from 0.
    pub index: usize,
    /// Its prefix as written.
    pub prefix: String,
    /// The key that is wrong.
    pub key: &'static str,
    /// What was found and what was expected.
    pub problem: String,
}

/// Why a path has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteMiss {
    /// No prefix matches: 404.
    #[error("no route")]
    NoRoute,
    /// A rule of access depends on a path that a service may read differently: 400.
    #[error("ambiguous path")]
    AmbiguousPath,
}

/// One route, ready for use.
#[derive(Debug)]
pub struct Route {
    index: usize,
    settings: RouteSettings,
    label: Arc<str>,
    endpoints: Vec<Arc<Endpoint>>,
    guarded: bool,
}

impl Route {
    /// Position in the configuration, from 0: a dense index for metrics of this table.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The prefix: the route's label in metrics and logs.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The route as configured.
    pub fn settings(&self) -> &RouteSettings {
        &self.settings
    }

    /// Its endpoints, at least one.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Time to connect to an endpoint.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.connect_timeout_ms)
    }

    /// Time from the request to the answer's head.
    pub fn first_byte_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.first_byte_timeout_ms)
    }

    /// Longest silence while bodies flow.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.idle_timeout_ms)
    }

    /// Largest request body in bytes, if there is a limit.
    pub fn body_limit(&self) -> Option<u64> {
        Some(self.settings.body_limit_bytes).filter(|limit| *limit > 0)
    }

    /// Whether the service sees the client's `Host`. A stranger's server is one that knows only its own name.
    pub fn preserves_host(&self) -> bool {
        self.settings.preserve_host.unwrap_or_else(|| {
            self.settings.kind == RouteKind::Http && self.endpoints.iter().all(|endpoint| endpoint.tls().is_none())
        })
    }

    /// The request target for the service: the raw one, without the prefix if the route says so, behind the route's
    /// `upstream_path`. Nothing is decoded, and the query stays byte for byte. `None` if it is not a target that HTTP/1.1 allows (RFC 9112 §3.2.1).
    pub fn upstream_target(&self, path_and_query: &str) -> Option<PathAndQuery> {
        let target = match &*self.settings.prefix {
            prefix if self.settings.strip_prefix && prefix != "/" => path_and_query.strip_prefix(prefix)?,
            _ => path_and_query,
        };
        let base = self.settings.upstream_path.as_deref().map_or("", |base| base.trim_end_matches('/'));
        let slash = if target.starts_with('/') { "" } else { "/" };
        let bytes = Bytes::from([base, slash, target].concat());
        PathAndQuery::from_maybe_shared(bytes).ok()
    }
}

/// All routes; replaced as a whole when the configuration changes.
#[derive(Debug, Default)]
pub struct RouteTable {
    root: Node,
    routes: Vec<Arc<Route>>,
}

#[derive(Debug, Default)]
struct Node {
    route: Option<Arc<Route>>,
    /// By segment, sorted.
    children: Vec<(Box<str>, Node)>,
}

impl Node {
    fn child(&self, segment: &str) -> Option<&Self> {
        let at = self.children.binary_search_by(|(label, _)| (**label).cmp(segment)).ok()?;
        self.children.get(at).map(|(_, node)| node)
    }

    fn insert(&mut self, rest: &str, route: Arc<Route>) {
        let Some((segment, rest)) = path::first_segment(rest) else {
            self.route = Some(route);
            return;
        };
        let at = self.children.binary_search_by(|(label, _)| (**label).cmp(segment)).unwrap_or_else(|at| {
            self.children.insert(at, (segment.into(), Self::default()));
            at
        });
        if let Some((_, node)) = self.children.get_mut(at) {
            node.insert(rest, route);
        }
    }
}

impl RouteTable {
    /// Builds a table whose endpoints have no history.
    ///
    /// # Errors
    ///
    /// The first mistake found, with the route and the key that it is in.
    pub fn build(settings: &[RouteSettings]) -> Result<Self, RouteError> {
        Self::build_from(settings, None, None)
    }

    /// Builds a table; endpoints that `previous` has too (same URL, same health check) keep their identity, and with it
    /// their health, latency and pooled connections. `https://` upstreams may have certificates of the authorities in
    /// `ca_file` besides those that everybody trusts.
    ///
    /// # Errors
    ///
    /// The first mistake found, with the route and the key that it is in.
    pub fn build_from(
        settings: &[RouteSettings],
        ca_file: Option<&Path>,
        previous: Option<&Self>,
    ) -> Result<Self, RouteError> {
        let trust = LazyCell::new(|| tls::trust(ca_file).map_err(|error| error.to_string()));
        let mut known: HashMap<(String, Option<String>), Arc<Endpoint>> = previous
            .into_iter()
            .flat_map(Self::endpoints)
            .map(|endpoint| ((endpoint.url().to_owned(), endpoint.health_path().map(Into::into)), Arc::clone(endpoint)))
            .collect();
        let mut drafts = Vec::with_capacity(settings.len());
        for (index, route) in settings.iter().enumerate() {
            check(index, route, settings)?;
            let mut endpoints = Vec::with_capacity(route.upstreams.len());
            for url in &route.upstreams {
                let wrong = |problem| error(index, route, "upstreams", problem);
                let upstream = Upstream::parse(url).map_err(wrong)?;
                if route.kind == RouteKind::OpenAi && upstream.server_name.is_none() && !upstream.is_local() {
                    return Err(wrong(format!("found {url:?}, expected https://: the tenant's key goes there")));
                }
                let Upstream { address, authority, server_name } = upstream;
                let endpoint = match known.entry((url.clone(), route.health_path.clone())) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(vacant) => {
                        let tls = match server_name {
                            None => None,
                            Some(name) => Some(tls::Client::new(trust.as_ref().map_err(|e| wrong(e.clone()))?, name)),
                        };
                        let endpoint = Endpoint::new(url, address, authority, route.health_path.as_deref(), tls);
                        vacant.insert(Arc::new(endpoint))
                    }
                };
                endpoints.push(Arc::clone(endpoint));
            }
            drafts.push((route, endpoints));
        }
        let protected: Vec<&str> = drafts
            .iter()
            .filter(|(route, _)| is_protected(route))
            .flat_map(|(_, endpoints)| endpoints.iter().map(|endpoint| endpoint.url()))
            .collect();
        let routes: Vec<Arc<Route>> = drafts
            .iter()
            .enumerate()
            .map(|(index, (route, endpoints))| {
                Arc::new(Route {
                    index,
                    settings: RouteSettings::clone(route),
                    label: route.prefix.as_str().into(),
                    endpoints: endpoints.clone(),
                    guarded: endpoints.iter().any(|endpoint| protected.contains(&endpoint.url())),
                })
            })
            .collect();
        let mut root = Node::default();
        for route in &routes {
            root.insert(route.label(), Arc::clone(route));
        }
        Ok(Self { root, routes })
    }

    /// All routes, in the configuration's order.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All endpoints; one that several routes share comes once for each.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.routes.iter().flat_map(|route| route.endpoints.iter())
    }

    /// The route with the longest prefix of whole segments of the raw path (without its query).
    ///
    /// # Errors
    ///
    /// [`RouteMiss::AmbiguousPath`] if the route asks for something (credential, role, module…), or shares a service
    /// with a route that does, and the path could be read as another one; also if a segment is another prefix in
    /// disguise (`/%61dmin`, `/admin;x`). [`RouteMiss::NoRoute`] if nothing matches.
    pub fn find(&self, raw_path: &str) -> Result<&Arc<Route>, RouteMiss> {
        let mut node = &self.root;
        let mut found = node.route.as_ref();
        let mut rest = raw_path;
        if !raw_path.starts_with('/') {
            return Err(RouteMiss::NoRoute);
        }
        while let Some((segment, left)) = path::first_segment(rest) {
            let Some(child) = node.child(segment) else {
                if node.children.iter().any(|(label, _)| path::is_disguise(segment, label)) {
                    return Err(RouteMiss::AmbiguousPath);
                }
                break;
            };
            node = child;
            rest = left;
            found = node.route.as_ref().or(found);
        }
        let route = found.ok_or(RouteMiss::NoRoute)?;
        if route.guarded && path::is_ambiguous(raw_path) {
            return Err(RouteMiss::AmbiguousPath);
        }
        Ok(route)
    }
}

fn is_protected(route: &RouteSettings) -> bool {
    route.auth == RouteAuth::Required
        || !route.roles.is_empty()
        || route.min_acr.is_some()
        || route.max_age_s.is_some()
        || route.module.is_some()
        || route.meter.is_some()
        || !route.pauses_with.is_empty()
        || route.upstream_path.is_some()
}

fn error(index: usize, route: &RouteSettings, key: &'static str, problem: String) -> RouteError {
    RouteError { index, prefix: route.prefix.clone(), key, problem }
}

fn check(index: usize, route: &RouteSettings, all: &[RouteSettings]) -> Result<(), RouteError> {
    let fail = |key, problem: String| Err(error(index, route, key, problem));
    let prefix = &*route.prefix;
    if !prefix.starts_with('/') {
        return fail("prefix", "must start with a slash".into());
    }
    if prefix != "/" && prefix.ends_with('/') {
        return fail("prefix", "must not end with a slash: it matches whole segments anyway".into());
    }
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,=:@".contains(&byte)) {
        return fail("prefix", "may only have characters that a path carries unencoded, and no semicolon".into());
    }
    if path::is_ambiguous(prefix) {
        return fail("prefix", "must not have empty segments, `.` or `..`".into());
    }
    if let Some(twin) = all.iter().take(index).position(|other| other.prefix == route.prefix) {
        return fail("prefix", format!("is taken by gateway.routes[{twin}]"));
    }
    if route.upstreams.is_empty() {
        return fail("upstreams", "must name at least one `http://host:port` or `https://host:port`".into());
    }
    check_metering(index, route)?;
    if let Some(base) = &route.upstream_path
        && (!base.starts_with('/')
            || path::is_ambiguous(base.trim_end_matches('/'))
            || base.contains(['?', '#'])
            || base.parse::<PathAndQuery>().is_err())
    {
        return fail("upstream_path", format!("found {base:?}, expected a path such as \"/v1\""));
    }
    for (key, value) in [
        ("connect_timeout_ms", route.connect_timeout_ms),
        ("first_byte_timeout_ms", route.first_byte_timeout_ms),
        ("idle_timeout_ms", route.idle_timeout_ms),
    ] {
        if value == 0 {
            return fail(key, "must be at least 1".into());
        }
    }
    match &route.health_path {
        Some(health) if !health.starts_with('/') || health.parse::<PathAndQuery>().is_err() => {
            fail("health_path", format!("found {health:?}, expected a path such as \"/health\""))
        }
        Some(_) | None => Ok(()),
    }
}

/// What the keys about metering must say together.
fn check_metering(index: usize, route: &RouteSettings) -> Result<(), RouteError> {
    let fail = |key, problem: &str| Err(error(index, route, key, problem.to_owned()));
    if !(1..=MAX_QUANTITY).contains(&route.meter_quantity) {
        return fail("meter_quantity", "must be 1 to 1000000000000");
    }
    if route.idempotency_key_ttl_h == 0 {
        return fail("idempotency_key_ttl_h", "must be at least 1");
    }
    match (route.kind, &route.meter, &route.provider_secret) {
        (RouteKind::OpenAi, None, _) => fail("meter", "must name the meter of the answers' tokens"),
        (RouteKind::OpenAi, Some(_), None) => fail("provider_secret", "must name the tenant's secret with its key"),
        (RouteKind::OpenAi, Some(_), Some(name)) if SecretName::parse(name).is_err() => {
            fail("provider_secret", "must be 1 to 63 of a-z, 0-9, _ and -, beginning with a letter")
        }
        (RouteKind::OpenAi, Some(_), Some(_)) if route.auth != RouteAuth::Required => {
            fail("auth", "must be \"required\": anybody else would spend the tenant's money")
        }
        (RouteKind::OpenAi, Some(_), Some(_)) if route.websocket => {
            fail("websocket", "must be false for kind = \"openai\": nobody counts the tokens of a tunnel")
        }
        (RouteKind::OpenAi, Some(_), Some(_)) if route.max_output_tokens == 0 => {
            fail("max_output_tokens", "must be at least 1")
        }
        (RouteKind::Http, _, Some(_)) => fail("provider_secret", "is for kind = \"openai\""),
        (RouteKind::OpenAi, Some(_), Some(_)) | (RouteKind::Http, _, None) => Ok(()),
    }
}

/// An endpoint's URL, taken apart.
struct Upstream {
    address: Address,
    authority: HeaderValue,
    /// Whose certificate is expected; none = no TLS.
    server_name: Option<ServerName<'static>>,
}

impl Upstream {
    /// Whether it is on this machine.
    fn is_local(&self) -> bool {
        match &self.address {
            Address::Ip(address) => address.ip().to_canonical().is_loopback(),
            Address::Name(name, _) => {
                name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
            }
        }
    }

    /// `http://host:port` or `https://host:port`, with an optional closing slash; port 80 or 443 if there is none.
    fn parse(url: &str) -> Result<Self, String> {
        let wrong = || format!("found {url:?}, expected `http://host:port` or `https://host:port`");
        let uri: http::Uri = url.parse().map_err(|cause| format!("{}: {cause}", wrong()))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(wrong()),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let authority = uri.authority().ok_or_else(wrong)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(wrong());
        }
        // Not `Authority::port`: it knows no port that does not fit and would mean the default.
        let port = match authority.as_str().strip_prefix(authority.host()).ok_or_else(wrong)? {
            "" if is_tls => 443,
            "" => 80,
            port => {
                port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port > 0).ok_or_else(wrong)?
            }
        };
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        let server_name = if is_tls {
            let name = ServerName::try_from(bare.to_owned());
            Some(name.map_err(|cause| format!("{}: {cause}", wrong()))?)
        } else {
            None
        };
        let address = match bare.parse() {
            Ok(ip) => Address::Ip(std::net::SocketAddr::new(ip, port)),
            Err(_) => Address::Name(bare.into(), port),
        };
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|cause| format!("{}: {cause}", wrong()))?;
        Ok(Self { address, authority, server_name })
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
