//! What is counted of requests: rate, errors, duration, for each route template, in fixed memory.

mod histogram;
mod metering;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub use histogram::AtomicHistogram;
pub use metering::MeteringMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FlagLabels {
    flag: &'static str,
}

/// Counters and histograms of requests. Label values are route templates of the program and the configuration, never what a
/// client sent.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, AtomicHistogram>,
    upstream: Family<RouteLabels, AtomicHistogram>,
    flags: Family<FlagLabels, Counter>,
    /// Requests in flight.
    pub in_flight: Gauge,
    /// Lines of the access log that were dropped because its queue was full.
    pub dropped_log_lines: Counter,
    active_tenants: Gauge,
    /// What went wrong, or was guessed, when calls were counted.
    pub metering: MeteringMetrics,
    usage_streams: Gauge,
    tunnels: Gauge,
    /// Places that are taken, to compare with the cap.
    n_in_flight: AtomicU64,
}

/// One place among the requests in flight. It is given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<HttpMetrics>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.n_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One tunnel in the gauge of those that are open. It is taken out when dropped.
#[derive(Debug)]
pub struct OpenTunnel(Gauge);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One finished request.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Template of its route.
    pub route: &'a Arc<str>,
    /// Its method, `_OTHER` if unknown.
    pub method: &'static str,
    /// The answer's status.
    pub status: u16,
    /// Why it ended so, if that needs saying.
    pub flag: &'static str,
    /// From the request's head to the end of the answer's body.
    pub duration: Duration,
    /// Until the service's answer began.
    pub upstream: Option<Duration>,
}

/// A worker's own handles on the series it has met, so that counting takes no lock.
type Handles = HashMap<(usize, &'static str, u16), (Arc<str>, Counter, AtomicHistogram, AtomicHistogram)>;

thread_local! {
    static HANDLES: RefCell<Handles> = RefCell::default();
}

/// A reload makes new route labels; a worker forgets its handles when it has met so many.
const MAX_HANDLES: usize = 4_096;

impl HttpMetrics {
    /// Makes and registers the series.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(AtomicHistogram::default),
            upstream: Family::new_with_constructor(AtomicHistogram::default),
            flags: Family::default(),
            in_flight: Gauge::default(),
            dropped_log_lines: Counter::default(),
            active_tenants: Gauge::default(),
            metering: MeteringMetrics::register(registry),
            usage_streams: Gauge::default(),
            tunnels: Gauge::default(),
            n_in_flight: AtomicU64::new(0),
        };
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        let help = "From a request's head to the end of its answer";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, metrics.durations.clone());
        let help = "From sending a request to a service until its answer began";
        registry.register_with_unit("gateway_upstream_duration", help, Unit::Seconds, metrics.upstream.clone());
        registry.register(
            "http_response_flags",
            "Requests that ended for a reason of the platform's",
            metrics.flags.clone(),
        );
        registry.register("http_requests_in_flight", "Requests being answered", metrics.in_flight.clone());
        registry.register(
            "access_log_dropped_lines",
            "Lines the access log had no room for",
            metrics.dropped_log_lines.clone(),
        );
        registry.register("tenants_active", "Tenants with a running supervisor", metrics.active_tenants.clone());
        registry.register("usage_streams_open", "Streams of usage that are open", metrics.usage_streams.clone());
        registry.register("gateway_tunnels_open", "WebSocket tunnels that are open", metrics.tunnels.clone());
        metrics
    }

    /// Sets the number of active tenants, when somebody looks.
    pub fn set_active_tenants(&self, n: usize) {
        self.active_tenants.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// Sets the number of open streams of usage, when somebody looks.
    pub fn set_usage_streams(&self, n: usize) {
        self.usage_streams.set(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// Counts a tunnel for as long as the guard lives.
    #[must_use]
    pub fn enter_tunnel(&self) -> OpenTunnel {
        self.tunnels.inc();
        OpenTunnel(self.tunnels.clone())
    }

    /// Enters a request; returns how many there are with it, and its place.
    pub fn enter(self: &Arc<Self>) -> (u64, Place) {
        self.in_flight.inc();
        let before = self.n_in_flight.fetch_add(1, Ordering::Relaxed);
        (before + 1, Place(Arc::clone(self)))
    }

    /// Requests being answered, and work that goes on without its request.
    #[must_use]
    pub fn n_in_flight(&self) -> u64 {
        self.n_in_flight.load(Ordering::Relaxed)
    }

    /// Counts a finished request.
    pub fn leave(&self, finished: &Finished<'_>) {
        self.in_flight.dec();
        if !finished.flag.is_empty() {
            self.flags.get_or_create(&FlagLabels { flag: finished.flag }).inc();
        }
        HANDLES.with_borrow_mut(|handles| {
            if handles.len() > MAX_HANDLES {
                handles.clear();
            }
            // Labels are shared strings, so the address tells them apart; the handle keeps the string alive.
            let key = (Arc::as_ptr(finished.route).addr(), finished.method, finished.status);
            let (_, requests, durations, upstream) = handles.entry(key).or_insert_with(|| self.handles_of(finished));
            requests.inc();
            durations.observe(finished.duration);
            if let Some(latency) = finished.upstream {
                upstream.observe(latency);
            }
        });
    }

    fn handles_of(&self, finished: &Finished<'_>) -> (Arc<str>, Counter, AtomicHistogram, AtomicHistogram) {
        let route = RouteLabels { route: finished.route.to_string() };
        let labels = RequestLabels { route: route.route.clone(), method: finished.method, status: finished.status };
        (
            Arc::clone(finished.route),
            self.requests.get_or_create(&labels).clone(),
            self.durations.get_or_create(&route).clone(),
            self.upstream.get_or_create(&route).clone(),
        )
    }
}
