//! `[stream]`.

use serde::Deserialize;

/// `[stream]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSettings {
    /// Streams of usage that this process holds open for one tenant; more are refused with 429.
    pub max_per_tenant: usize,
    /// Streams of usage that this process holds open altogether; more are refused with 503. The last fifth is for tenants with
    /// fewer than three.
    pub max_total: usize,
    /// How often a process that holds streams open looks for news, in milliseconds.
    pub poll_ms: u64,
    /// News that wait for a client that reads slowly; then its stream is closed.
    pub queue: usize,
    /// Time between pings, in seconds. A client that leaves two without an answer is gone.
    pub ping_s: u64,
}
