//! Endpoints of services: which one takes the next request.
//!
//! Two candidates are drawn and the cheaper one is taken ("power of two choices"); the cost is a moving average of the
//! time to the answer's head, times the requests in flight. The average loses half its weight every ten seconds without
//! news, so that an endpoint that was slow once is tried again. An endpoint that refuses five connections in a row is
//! left alone for five seconds, then one request probes it. Everything is an atomic; workers share the endpoints.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::tls;

/// Refused connections in a row after which an endpoint is left alone.
const FAILURES_TO_LEAVE: u32 = 5;
/// How long it is left alone, in milliseconds.
const LEAVE_MS: u64 = 5_000;
/// Half-life of a latency that is not confirmed, in milliseconds.
const HALF_LIFE_MS: u32 = 10_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn now_ms() -> u64 {
    // Starts at 1 because 0 means "not left alone".
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// Where an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address: nothing to look up.
    Ip(SocketAddr),
    /// A host name, looked up for each new connection, and its port.
    Name(Box<str>, u16),
}

/// One process of a service: its address and what this gateway knows of its health.
#[derive(Debug)]
pub struct Endpoint {
    id: u64,
    url: Box<str>,
    address: Address,
    authority: HeaderValue,
    health_path: Option<Box<str>>,
    tls: Option<tls::Client>,
    in_flight: AtomicU32,
    /// Average latency in microseconds (upper half) and the time it was learnt in milliseconds (lower half, wrapping).
    latency: AtomicU64,
    connect_failures: AtomicU32,
    /// Left alone until this time; 0 = in use.
    left_until_ms: AtomicU64,
    failed_checks: AtomicU32,
    checked_down: AtomicBool,
}

impl Endpoint {
    /// An endpoint without history. `url` is its label; `authority` is what `Host` says when the client named none.
    pub fn new(
        url: &str,
        address: Address,
        authority: HeaderValue,
        health_path: Option<&str>,
        tls: Option<tls::Client>,
    ) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            url: url.into(),
            address,
            authority,
            health_path: health_path.map(Into::into),
            tls,
            in_flight: AtomicU32::new(0),
            latency: AtomicU64::new(0),
            connect_failures: AtomicU32::new(0),
            left_until_ms: AtomicU64::new(0),
            failed_checks: AtomicU32::new(0),
            checked_down: AtomicBool::new(false),
        }
    }

    /// Unique in this process; the pools' key.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The URL from the configuration, for metrics and logs, never for a client.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where to connect.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// `host:port` as a header value.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// What it takes to speak TLS with it; none = it is spoken to in the clear.
    pub fn tls(&self) -> Option<&tls::Client> {
        self.tls.as_ref()
    }

    /// Path of the background check, if there is one.
    pub fn health_path(&self) -> Option<&str> {
        self.health_path.as_deref()
    }

    /// Requests that this gateway is waiting for or streaming.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Whether requests go here as far as this gateway knows.
    pub fn is_healthy(&self) -> bool {
        !self.checked_down.load(Relaxed) && self.left_until_ms.load(Relaxed) == 0
    }

    /// Counts a request until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Takes note of the time between a request and its answer's head.
    pub fn record_latency(&self, latency: Duration) {
        self.record_latency_at(latency, now_ms());
    }

    fn record_latency_at(&self, latency: Duration, now_ms: u64) {
        let sample = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX).max(1);
        let known = self.latency_us_at(now_ms);
        let average = match known {
            0 => sample,
            // A peak counts at once, a recovery has to prove itself.
            _ if sample > known.saturating_mul(2) => known / 2 + sample / 2,
            _ => known - known / 8 + sample / 8,
        };
        self.latency.store((u64::from(average.max(1)) << 32) | u64::from(low_half(now_ms)), Relaxed);
    }

    fn latency_us_at(&self, now_ms: u64) -> u32 {
        let packed = self.latency.load(Relaxed);
        let average = low_half(packed >> 32);
        let age_ms = low_half(now_ms).wrapping_sub(low_half(packed));
        average.checked_shr(age_ms / HALF_LIFE_MS).unwrap_or(0)
    }

    fn cost_at(&self, now_ms: u64) -> u64 {
        (u64::from(self.latency_us_at(now_ms)) + 1) * (u64::from(self.in_flight()) + 1)
    }

    /// A connection was refused or timed out.
    pub fn record_connect_failure(&self) {
        self.record_connect_failure_at(now_ms());
    }

    fn record_connect_failure_at(&self, now_ms: u64) {
        if self.connect_failures.fetch_add(1, Relaxed) + 1 >= FAILURES_TO_LEAVE {
            self.left_until_ms.store(now_ms.saturating_add(LEAVE_MS), Relaxed);
        }
    }

    /// A connection was made, or an answer came on one.
    pub fn record_contact(&self) {
        if self.connect_failures.load(Relaxed) != 0 {
            self.connect_failures.store(0, Relaxed);
            self.left_until_ms.store(0, Relaxed);
        }
    }

    /// Takes note of a background check; two failures in a row take the endpoint out, one success brings it back.
    pub fn record_check(&self, passed: bool) {
        if passed {
            self.failed_checks.store(0, Relaxed);
            self.checked_down.store(false, Relaxed);
            self.record_contact();
        } else if self.failed_checks.fetch_add(1, Relaxed) >= 1 {
            self.checked_down.store(true, Relaxed);
        }
    }

    /// Whether a request may go here now. After the time of rest exactly one caller hears yes; the others wait for what
    /// becomes of its probe.
    fn admits_at(&self, now_ms: u64) -> bool {
        if self.checked_down.load(Relaxed) {
            return false;
        }
        let until = self.left_until_ms.load(Relaxed);
        until == 0
            || (now_ms >= until
                && self
                    .left_until_ms
                    .compare_exchange(until, now_ms.saturating_add(LEAVE_MS), Relaxed, Relaxed)
                    .is_ok())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low_half(value: u64) -> u32 {
    value as u32
}

/// Counts one request of an endpoint while it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// The endpoint that the request went to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Picks the endpoint for a request, not `avoid` if there is another. When none is healthy one is tried anyway: a
/// gateway that is wrong about all of them should not be the outage. `None` only for an empty list.
pub fn pick(endpoints: &[Arc<Endpoint>], avoid: Option<u64>) -> Option<&Arc<Endpoint>> {
    pick_at(endpoints, avoid, now_ms(), next_random())
}

fn pick_at(endpoints: &[Arc<Endpoint>], avoid: Option<u64>, now_ms: u64, random: u64) -> Option<&Arc<Endpoint>> {
    if let [only] = endpoints {
        return Some(only);
    }
    let n = u64::try_from(endpoints.len()).ok().filter(|n| *n > 0)?;
    let first = usize::try_from(random % n).ok()?;
    let step = 1 + usize::try_from((random >> 32) % (n - 1)).ok()?;
    let allowed = |endpoint: &&Arc<Endpoint>| avoid != Some(endpoint.id);
    let at = |offset: usize| endpoints.get((first + offset) % endpoints.len());

    let one = at(0).filter(allowed);
    let two = at(step).filter(allowed);
    let (better, worse) = match (one, two) {
        (Some(one), Some(two)) if two.cost_at(now_ms) < one.cost_at(now_ms) => (Some(two), Some(one)),
        (one, two) => (one, two),
    };
    [better, worse]
        .into_iter()
        .flatten()
        .find(|endpoint| endpoint.admits_at(now_ms))
        .or_else(|| (0..endpoints.len()).filter_map(at).filter(allowed).find(|endpoint| endpoint.admits_at(now_ms)))
        .or_else(|| (0..endpoints.len()).filter_map(at).find(allowed))
        .or_else(|| endpoints.first())
}

/// xorshift64: a different sequence for each thread, good enough to draw two candidates.
pub(super) fn next_random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(uuid::Uuid::new_v4().as_u64_pair().0 | 1);
    }
    STATE.with(|state| {
        let mut value = state.get();
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        state.set(value);
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Arc<Endpoint> {
        let address = Address::Ip(SocketAddr::from(([127, 0, 0, 1], port)));
        Arc::new(Endpoint::new("http://e", address, HeaderValue::from_static("e"), None, None))
    }

    fn chosen(endpoints: &[Arc<Endpoint>], avoid: Option<u64>, now_ms: u64) -> Vec<u64> {
        let mut ids: Vec<u64> = (0..64_u64)
            .map(|n| pick_at(endpoints, avoid, now_ms, n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap().id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[test]
    fn an_empty_list_has_no_endpoint() {
        assert!(pick(&[], None).is_none());
    }

    #[test]
    fn all_equal_endpoints_are_drawn() {
        let all = [endpoint(1), endpoint(2), endpoint(3)];
        assert_eq!(chosen(&all, None, 1).len(), 3);
    }

    #[test]
    fn the_slower_of_two_is_not_taken_until_its_latency_has_faded() {
        let all = [endpoint(1), endpoint(2)];
        all[0].record_latency_at(Duration::from_millis(80), 1);
        all[1].record_latency_at(Duration::from_millis(1), 1);
        assert_eq!(chosen(&all, None, 2), [all[1].id]);
        all[1].record_latency_at(Duration::from_millis(2), 200_000);
        assert_eq!(chosen(&all, None, 200_001), [all[0].id]);
    }

    #[test]
    fn the_busier_of_two_is_not_taken() {
        let all = [endpoint(1), endpoint(2)];
        let guard = all[0].begin();
        assert_eq!(chosen(&all, None, 1), [all[1].id]);
        drop(guard);
        assert_eq!(all[0].in_flight(), 0);
    }

    #[test]
    fn a_retry_avoids_the_endpoint_that_failed_unless_it_is_the_only_one() {
        let all = [endpoint(1), endpoint(2), endpoint(3)];
        assert_eq!(chosen(&all, Some(all[0].id), 1), [all[1].id, all[2].id]);
        assert_eq!(chosen(&all[..1], Some(all[0].id), 1), [all[0].id]);
    }

    #[test]
    fn five_refused_connections_take_an_endpoint_out_and_one_request_probes_it_later() {
        let all = [endpoint(1), endpoint(2)];
        for _ in 0..4 {
            all[0].record_connect_failure_at(100);
        }
        assert!(all[0].is_healthy());
        all[0].record_connect_failure_at(100);
        assert!(!all[0].is_healthy());
        assert_eq!(chosen(&all, None, 100 + LEAVE_MS - 1), [all[1].id]);
        assert!(all[0].admits_at(100 + LEAVE_MS), "the probe");
        assert!(!all[0].admits_at(100 + LEAVE_MS), "only one");
        all[0].record_contact();
        assert!(all[0].is_healthy());
        assert!(all[0].admits_at(100 + LEAVE_MS));
    }

    #[test]
    fn when_no_endpoint_is_healthy_one_is_tried_anyway() {
        let all = [endpoint(1), endpoint(2)];
        for endpoint in &all {
            endpoint.record_check(false);
            assert!(endpoint.is_healthy(), "one failed check is an accident");
            endpoint.record_check(false);
            assert!(!endpoint.is_healthy());
        }
        assert_eq!(chosen(&all, None, 1).len(), 2);
        all[1].record_check(true);
        assert_eq!(chosen(&all, None, 1), [all[1].id]);
    }

    #[test]
    fn a_peak_of_latency_counts_more_than_a_recovery() {
        let one = endpoint(1);
        one.record_latency_at(Duration::from_micros(1_000), 1);
        one.record_latency_at(Duration::from_micros(9_000), 1);
        assert_eq!(one.latency_us_at(1), 5_000);
        one.record_latency_at(Duration::from_micros(1_000), 1);
        assert_eq!(one.latency_us_at(1), 4_500);
        assert_eq!(one.latency_us_at(1 + u64::from(HALF_LIFE_MS)), 2_250);
    }
}
