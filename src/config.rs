//! Settings: the built-in defaults, then `config.toml`, then the environment (`BUSINESSOS__SECTION__KEY`).
//!
//! Every key is in the shipped `config.toml` with a comment and its default; a test keeps the two equal. Unknown keys
//! are refused, and every mistake is one line that names the file, the key, what was found and what was expected.

mod billing;
mod catalogue;
mod gateway;
mod load;
mod sso;
mod stream;
mod stripe;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

pub use billing::{MAX_REST_S, MeterSettings, MeteringSettings, PlanMeterSettings, PlanSettings};
pub use catalogue::{BillingSettings, CouponSettings, DunningSettings, ModuleSettings, Paper, SellerSettings};
pub use gateway::{GatewaySettings, RouteAuth, RouteKind, RouteSettings};
pub use load::{ConfigError, load};
pub use sso::SsoSettings;
pub use stream::StreamSettings;
pub use stripe::StripeSettings;
pub(crate) use validate::parse_network;

use crate::domain::meter::MeterName;
use crate::domain::token::KeyAlgorithm;

/// Everything an operator can set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Directory for everything the server keeps on disk: the embedded cluster, the master key, mail files.
    pub data_dir: PathBuf,
    /// The public listener.
    pub server: ServerSettings,
    /// The listener for metrics and health, not for the public.
    pub admin: AdminSettings,
    /// PostgreSQL, embedded or external.
    pub database: DatabaseSettings,
    /// The reverse proxy and tenant resolution.
    pub gateway: GatewaySettings,
    /// Request limits that hold for every tenant unless its plan says otherwise.
    pub limits: LimitSettings,
    /// Who may create a tenant, and where.
    pub onboarding: OnboardingSettings,
    /// Tenant supervisors.
    pub tenants: TenantSettings,
    /// Tokens, passwords.
    pub auth: AuthSettings,
    /// The audit trail.
    pub audit: AuditSettings,
    /// Sign-in sessions.
    pub sessions: SessionSettings,
    /// How usage is taken in.
    pub metering: MeteringSettings,
    /// Streams of usage.
    pub stream: StreamSettings,
    /// What is counted, by meter.
    pub meters: BTreeMap<MeterName, MeterSettings>,
    /// What a tenant of each plan may use, by plan name.
    pub plans: BTreeMap<String, PlanSettings>,
    /// Prices and payment.
    pub billing: BillingSettings,
    /// Modules that are sold beside plans, by name.
    pub modules: BTreeMap<String, ModuleSettings>,
    /// Coupons, by code.
    pub coupons: BTreeMap<String, CouponSettings>,
    /// The log on standard error.
    pub log: LogSettings,
    /// Redis, where sessions may live.
    pub redis: RedisSettings,
    /// Outgoing mail.
    pub mail: MailSettings,
    /// Payments.
    pub stripe: StripeSettings,
    /// Sign-in by tenants' identity providers.
    pub sso: SsoSettings,
}

/// `[redis]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// URL of a Redis that all nodes share (`redis://`, `rediss://` for TLS, `redis+unix://`).
    pub url: Option<SecretString>,
    /// Connections to it; more calls wait for one.
    pub max_connections: usize,
    /// Longest wait for a connection or an answer, in milliseconds; then 503.
    pub timeout_ms: u64,
}

/// `[mail]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// URL of the SMTP server.
    pub smtp_url: Option<SecretString>,
    /// PEM file with a further certificate authority that the SMTP server's certificate may come from.
    pub smtp_ca_file: Option<PathBuf>,
    /// Longest time for handing one mail to the SMTP server, in milliseconds.
    pub timeout_ms: u64,
    /// Sender of the platform's mail.
    pub from: String,
    /// Where the link of an invitation leads: a path on the tenant's own host, or a URL.
    pub invitation_link: String,
    /// Where the link of an invitation to found a tenant leads.
    pub onboarding_link: String,
    /// Where the link that proves an address leads.
    pub verification_link: String,
    /// Where the link for a new password leads.
    pub password_reset_link: String,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port of the public listener.
    pub listen: SocketAddr,
    /// Worker threads; 0 = one for each core.
    pub workers: usize,
    /// Open client connections for each worker; more wait in the kernel's queue.
    pub max_connections_per_worker: usize,
    /// Requests being answered at once, over all workers; more are refused with 503.
    pub max_in_flight: usize,
    /// Time a client has to send its request's head, in milliseconds (slow-loris guard).
    pub header_timeout_ms: u64,
    /// How long an idle keep-alive connection stays open, in milliseconds.
    pub keep_alive_ms: u64,
    /// How long requests in flight may take to finish after SIGTERM, in seconds.
    pub shutdown_timeout_s: u64,
    /// How long idle client connections stay open after SIGTERM for one more request each, in milliseconds.
    pub drain_idle_ms: u64,
    /// PEM file with the certificate chain; empty = plain HTTP (behind a proxy of yours).
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub tls_key: Option<PathBuf>,
}

/// `[admin]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    /// Address and port of `/metrics`, `/healthz` and `/readyz`.
    pub listen: SocketAddr,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// URL of an external PostgreSQL ≥ 15, with a role that may create roles and the schema; none = the embedded cluster.
    pub url: Option<SecretString>,
    /// Connections of the request path (role `app_rw`); 0 = sized from the machine's memory.
    pub max_connections: u32,
    /// Longest wait for a free connection, in milliseconds; then 503.
    pub acquire_timeout_ms: u64,
    /// Longest run of one statement on the request path, in milliseconds.
    pub statement_timeout_ms: u64,
    /// Apply pending migrations when the server starts.
    pub migrate_on_start: bool,
    /// Login roles for services of your own that keep tenant tables in the same database.
    pub service_roles: Vec<String>,
    /// Directory with `initdb` and `postgres` for the embedded cluster; none = found on the machine.
    pub embedded_bin_dir: Option<PathBuf>,
    /// Ordinary user the embedded cluster runs as when the server is started as root.
    pub embedded_user: String,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Requests a minute from one client address (IPv6: one /64), before sign-in; 0 = no limit.
    pub ip_per_minute: u32,
    /// Requests a minute for a tenant whose plan names no figure.
    pub tenant_per_minute: u32,
    /// Requests a minute of a tenant's identity provider (SCIM), whatever the plan.
    pub scim_per_minute: u32,
    /// Requests of one tenant being answered at once.
    pub tenant_in_flight: u32,
    /// WebSockets of one tenant that this process holds open to services; more are refused with 429.
    pub tenant_websockets: u32,
    /// Largest JSON body of the platform's own calls, in bytes.
    pub json_body_bytes: usize,
}

/// Who may create a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnboardingMode {
    /// Anybody.
    Open,
    /// Operators, and whoever they invited by mail.
    Invite,
    /// Operators only.
    Operator,
}

/// `[onboarding]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnboardingSettings {
    /// Who may create a tenant.
    pub mode: OnboardingMode,
    /// Regions that a tenant may choose; the first is the default.
    pub regions: Vec<String>,
    /// Plan of a tenant that names none.
    pub default_plan: String,
    /// Subdomains nobody may take, besides the built-in ones.
    pub reserved_subdomains: Vec<String>,
}

/// `[tenants]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// A tenant's supervisor stops after this many seconds without a request.
    pub passivate_after_s: u64,
    /// Threads that tenant supervisors are spread over.
    pub arbiters: usize,
    /// Messages that may wait in one supervisor's mailbox.
    pub mailbox_capacity: usize,
    /// Days between an operator's delete and the erasure of a tenant's data.
    pub delete_grace_days: u32,
    /// Unknown host names remembered, so that a scanner costs no query each time.
    pub unknown_host_cache: usize,
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// Life of an access token, in seconds.
    pub access_token_ttl_s: u64,
    /// For so many seconds the previous refresh token still answers with the current one.
    pub refresh_grace_s: u64,
    /// Algorithm of new signing keys.
    pub signing_algorithm: SigningAlgorithm,
    /// A signing key signs for so many days, give or take a tenth.
    pub key_rotation_days: u32,
    /// A new signing key is published so many seconds before it signs.
    pub key_prepublish_s: u64,
    /// Due signing keys are looked for every so many seconds.
    pub key_check_s: u64,
    /// Audience of access tokens.
    pub audience: String,
    /// Verified access tokens remembered by each worker thread.
    pub token_cache_entries: usize,
    /// Passwords hashed at once; 0 = one for each core.
    pub hashing_permits: usize,
    /// Sign-ins that may wait for a hashing permit; more are answered 503.
    pub hashing_queue: usize,
    /// Life of an invitation, in seconds.
    pub invitation_ttl_s: u64,
    /// Life of a link that proves an address, in seconds.
    pub verification_ttl_s: u64,
    /// Life of a link for a new password, in seconds.
    pub password_reset_ttl_s: u64,
    /// Environment in the text of new API keys (`bos_<env>_…`).
    pub api_key_env: String,
    /// How often the times at which API keys were last used are written, in seconds.
    pub api_key_use_flush_s: u64,
}

/// `[audit]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSettings {
    /// Refusals of one tenant that get an audit row each within a minute; the rest is counted in one row.
    pub denials_per_minute: u32,
    /// How often new audit rows are sealed, in seconds.
    pub seal_every_s: u64,
}

/// Algorithms that tenants' keys may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl From<SigningAlgorithm> for KeyAlgorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Es256 => Self::Es256,
            SigningAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}

/// `[sessions]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// Where refresh-token families live.
    pub store: SessionStore,
    /// A session ends after this many seconds without a refresh (a tenant may set less).
    pub idle_timeout_s: u64,
    /// A session ends this many seconds after sign-in (a tenant may set less).
    pub absolute_timeout_s: u64,
}

/// Stores for sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionStore {
    /// The database: a restart signs nobody out.
    Postgres,
    /// The Redis of `redis.url`.
    Redis,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
    /// Filter directives, as `tracing` reads them.
    pub level: String,
    /// One line for each request.
    pub access: bool,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
