//! `[stripe]`.

use secrecy::SecretString;
use serde::Deserialize;

/// `[stripe]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeSettings {
    /// The account's secret key, or a restricted one; none = invoices are paid by bank transfer.
    pub secret_key: Option<SecretString>,
    /// Signing secret of the webhook endpoint; needed with a secret key.
    pub webhook_secret: Option<SecretString>,
    /// The signing secret before that one, while it is being replaced: both are believed.
    pub webhook_secret_previous: Option<SecretString>,
    /// Base URL of the API.
    pub api_base: String,
    /// Longest wait for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// Longest wait of a tenant for its page to pay on, in milliseconds.
    pub order_timeout_ms: u64,
    /// Connections to Stripe; more requests wait for one.
    pub max_connections: usize,
    /// Pause before a request is sent again, in milliseconds; twice as long before each further attempt.
    pub retry_ms: u64,
}
