//! A histogram of atomics: the client library's own takes a lock for each observation.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in seconds: OpenTelemetry's for HTTP servers, with three below for what a gateway adds.
const BOUNDS_S: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Durations in fixed buckets. Clones count into the same buckets.
#[derive(Debug, Clone)]
pub struct AtomicHistogram {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sum_ns: AtomicU64,
    /// One for each bound, and one for what is above all.
    buckets: [AtomicU64; BOUNDS_S.len() + 1],
}

impl Default for AtomicHistogram {
    fn default() -> Self {
        let inner = Inner { sum_ns: AtomicU64::new(0), buckets: std::array::from_fn(|_| AtomicU64::new(0)) };
        Self { inner: Arc::new(inner) }
    }
}

impl AtomicHistogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let index = BOUNDS_S.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.inner.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.inner.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

impl EncodeMetric for AtomicHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        let bounds = BOUNDS_S.iter().copied().chain(std::iter::once(f64::INFINITY));
        let counts = self.inner.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let sum = Duration::from_nanos(self.inner.sum_ns.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for AtomicHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn the_text_format_shows_cumulative_buckets_sum_and_count() {
        let histogram = AtomicHistogram::default();
        let mut registry = Registry::default();
        registry.register("d", "help", histogram.clone());
        for ms in [1, 2, 30, 20_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        for line in [
            "d_bucket{le=\"0.001\"} 1",
            "d_bucket{le=\"0.0025\"} 2",
            "d_bucket{le=\"10.0\"} 3",
            "d_bucket{le=\"+Inf\"} 4",
            "d_count 4",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
