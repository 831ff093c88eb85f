//! `[gateway]` and `[[gateway.routes]]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::domain::assurance::Acr;
use crate::domain::meter::MeterName;

/// `[gateway]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySettings {
    /// Tenants live at `<subdomain>.<base_domain>`.
    pub base_domain: String,
    /// Scheme clients use to reach the platform (`http` or `https`): it is in token issuers and in links.
    pub public_scheme: String,
    /// Port in public URLs; 0 = the listener's port while `public_scheme` is `http`, none for `https`.
    pub public_port: u16,
    /// Hosts that the operator gives to tenants: host name → subdomain. They go before those that tenants claim.
    pub hosts: BTreeMap<String, String>,
    /// Networks (CIDR) whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<String>,
    /// Networks (CIDR) whose `X-Forwarded-Host` is believed.
    pub trusted_host_proxies: Vec<String>,
    /// Largest request head, in bytes.
    pub max_header_bytes: usize,
    /// Longest request target, in bytes.
    pub max_url_bytes: usize,
    /// Page that sells upgrades, linked in the answers about plans and quotas.
    pub upgrade_url: String,
    /// Idle upstream connections kept for each endpoint and worker.
    pub pool_idle_per_endpoint: usize,
    /// An idle upstream connection is closed after this many milliseconds (keep it below the service's own limit).
    pub pool_idle_timeout_ms: u64,
    /// Retries may add at most this share of requests, in percent.
    pub retry_budget_percent: u32,
    /// PEM file with further certificate authorities for `https://` upstreams.
    pub upstream_ca_file: Option<PathBuf>,
    /// The reverse proxy's routes; the longest matching prefix wins.
    #[serde(default)]
    pub routes: Vec<RouteSettings>,
}

/// Whether a route asks for a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteAuth {
    /// No valid credential → 401.
    #[default]
    Required,
    /// A credential is checked if there is one.
    Optional,
    /// Credentials are neither checked nor forwarded as identity.
    None,
}

/// What kind of service a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Any HTTP service.
    #[default]
    Http,
    /// A service with OpenAI's API: the tenant's own key is sent to it, and the tokens of its answers are metered.
    OpenAi,
}

/// `[[gateway.routes]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Path prefix, matched by whole segments on the raw path: `/crm` matches `/crm` and `/crm/x`, not `/crmx`.
    pub prefix: String,
    /// Base URLs of the service's endpoints, `http://host:port` or `https://host:port`.
    pub upstreams: Vec<String>,
    /// Path that is put before what is forwarded, such as `/v1`; none = nothing.
    pub upstream_path: Option<String>,
    /// Send the client's `Host` on; none = only to `http://` upstreams of kind `http`. Otherwise it is the upstream's own.
    pub preserve_host: Option<bool>,
    /// Take the prefix off the path before forwarding.
    #[serde(default)]
    pub strip_prefix: bool,
    /// Whether a credential is asked for.
    #[serde(default)]
    pub auth: RouteAuth,
    /// Roles that may call; empty = any.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Authentication context class the session must have reached.
    pub min_acr: Option<Acr>,
    /// Oldest acceptable authentication, in seconds.
    pub max_age_s: Option<u64>,
    /// Module of the plan that the route belongs to.
    pub module: Option<String>,
    /// Put the request's id into `X-Tenant-Context`; costs a signature for each request.
    #[serde(default)]
    pub bind_request_id: bool,
    /// Time to connect to an endpoint, in milliseconds.
    #[serde(default = "defaults::connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Time from the request to the answer's head, in milliseconds.
    #[serde(default = "defaults::first_byte_timeout_ms")]
    pub first_byte_timeout_ms: u64,
    /// Longest silence while bodies flow, in milliseconds.
    #[serde(default = "defaults::idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// Largest request body, in bytes; 0 = no limit.
    #[serde(default = "defaults::body_limit_bytes")]
    pub body_limit_bytes: u64,
    /// Further tries of a request that was provably not sent, or that is idempotent and has no body.
    #[serde(default = "defaults::retries")]
    pub retries: u32,
    /// Path that each endpoint is asked for in the background; none = passive checks only.
    pub health_path: Option<String>,
    /// What kind of service it is.
    #[serde(default)]
    pub kind: RouteKind,
    /// Meter that counts the route's calls; for `openai`, the tokens of its answers.
    pub meter: Option<MeterName>,
    /// How much of the meter one call is; not for `openai`.
    #[serde(default = "defaults::meter_quantity")]
    pub meter_quantity: i64,
    /// Meters that the service may report itself, in the `X-Usage` header of its answers.
    #[serde(default)]
    pub usage_header: Vec<MeterName>,
    /// Meters whose pause closes this route.
    #[serde(default)]
    pub pauses_with: Vec<MeterName>,
    /// The service honours `Idempotency-Key`: calls of one caller with the same key are counted once.
    #[serde(default)]
    pub idempotency_key: bool,
    /// How long the service remembers such a key at least, in hours; 1 to 720. A call that is repeated later counts again.
    #[serde(default = "defaults::idempotency_key_ttl_h")]
    pub idempotency_key_ttl_h: u64,
    /// For `openai`: name of the tenant's secret with its key for the provider.
    pub provider_secret: Option<String>,
    /// For `openai`: tokens of an answer whose request sets no maximum, for what is set aside under a hard limit.
    #[serde(default = "defaults::max_output_tokens")]
    pub max_output_tokens: u32,
    /// Requests for a WebSocket open a tunnel to the service; else they are ordinary requests for it.
    #[serde(default)]
    pub websocket: bool,
}

impl RouteSettings {
    /// The meters that the route names, each with the key that names it.
    pub fn named_meters(&self) -> impl Iterator<Item = (&'static str, &MeterName)> {
        let Self { meter, usage_header, pauses_with, .. } = self;
        let named = meter.iter().map(|meter| ("meter", meter));
        let named = named.chain(usage_header.iter().map(|meter| ("usage_header", meter)));
        named.chain(pauses_with.iter().map(|meter| ("pauses_with", meter)))
    }
}

mod defaults {
    pub fn connect_timeout_ms() -> u64 {
        1_000
    }
    pub fn first_byte_timeout_ms() -> u64 {
        30_000
    }
    pub fn idle_timeout_ms() -> u64 {
        60_000
    }
    pub fn body_limit_bytes() -> u64 {
        10 * 1024 * 1024
    }
    pub fn retries() -> u32 {
        1
    }
    pub fn meter_quantity() -> i64 {
        1
    }
    pub fn idempotency_key_ttl_h() -> u64 {
        24
    }
    pub fn max_output_tokens() -> u32 {
        4_096
    }
}
