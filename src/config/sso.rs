//! `[sso]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// `[sso]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SsoSettings {
    /// Whether identity providers may be at private addresses, and be reached by plain HTTP.
    pub allow_private_addresses: bool,
    /// PEM file with further certificate authorities that providers' certificates may come from.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for one answer of a provider, in milliseconds.
    pub timeout_ms: u64,
    /// DNS server that is asked about providers and tenants' domains; none = the system's.
    pub dns_server: Option<SocketAddr>,
    /// How long a browser may take at the provider, in seconds.
    pub flow_ttl_s: u64,
    /// How long the code that a browser brings back may be exchanged for tokens, in seconds.
    pub code_ttl_s: u64,
    /// A provider's keys are not asked for again within so many seconds because of a key that nobody knows.
    pub keys_cooldown_s: u64,
    /// How long a claim of a domain waits for its proof, in seconds.
    pub domain_claim_ttl_s: u64,
    /// Proved domains are looked at again every so many seconds.
    pub domain_recheck_s: u64,
    /// Metadata of SAML providers is read again every so many seconds.
    pub metadata_refresh_s: u64,
}
