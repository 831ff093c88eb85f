//! What is counted of metering itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// What went wrong, or was guessed, when calls were counted.
#[derive(Debug, Default)]
pub struct MeteringMetrics {
    /// `X-Usage` headers that could not be read, or that name a meter which their route does not list.
    pub refused_usage_headers: Counter,
    /// Answers that did not say their tokens and were estimated.
    pub estimated_answers: Counter,
    /// Records that could not be written; their calls were broken off.
    pub refused_records: Counter,
}

impl MeteringMetrics {
    /// Makes and registers the series.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "metering_refused_usage_headers",
            "X-Usage headers of services that were not counted",
            metrics.refused_usage_headers.clone(),
        );
        registry.register(
            "metering_estimated_answers",
            "Answers without a usage, counted by an estimate",
            metrics.estimated_answers.clone(),
        );
        registry.register(
            "metering_refused_records",
            "Usage that could not be written down; the answers were broken off",
            metrics.refused_records.clone(),
        );
        metrics
    }
}
