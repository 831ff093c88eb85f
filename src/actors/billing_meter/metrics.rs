//! What is counted of counting.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::usage::UsageAnswer;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    via: &'static str,
    answer: &'static str,
}

/// How events came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// Posted.
    Post,
    /// From the spool.
    Spool,
}

impl Via {
    fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Spool => "spool",
        }
    }
}

/// Counters of the meter. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct MeterMetrics {
    events: Family<AnswerLabels, Counter>,
    pub(super) transactions: Histogram,
    /// Bytes in this process's spool.
    pub(super) spool_bytes: Gauge,
    /// Lines of the spool that could not be read.
    pub(super) damaged_lines: Counter,
    /// Rounds in which not all of the spool could be counted.
    pub(super) failed_rounds: Counter,
}

impl MeterMetrics {
    /// Makes the series and registers them:
    ///
    /// * `usage_events_total{via, answer}`: `post` or `spool`; `accepted`, `duplicate`, `conflict` or `rejected`;
    /// * `usage_transaction_duration_seconds`: from asking for a connection to the commit;
    /// * `usage_spool_bytes`, `usage_spool_damaged_lines_total`, `usage_spool_failed_rounds_total`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            events: Family::default(),
            transactions: Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0]),
            spool_bytes: Gauge::default(),
            damaged_lines: Counter::default(),
            failed_rounds: Counter::default(),
        };
        registry.register("usage_events", "Usage events by what became of them", metrics.events.clone());
        let help = "Time of a transaction that takes in usage events";
        registry.register_with_unit("usage_transaction_duration", help, Unit::Seconds, metrics.transactions.clone());
        registry.register("usage_spool_bytes", "Bytes in the gateway's spool", metrics.spool_bytes.clone());
        registry.register("usage_spool_damaged_lines", "Unreadable lines in the spool", metrics.damaged_lines.clone());
        let help = "Rounds in which the spool was not counted whole";
        registry.register("usage_spool_failed_rounds", help, metrics.failed_rounds.clone());
        metrics
    }

    pub(super) fn count(&self, via: Via, answers: &[UsageAnswer]) {
        for answer in answers {
            let answer = match answer {
                UsageAnswer::Accepted => "accepted",
                UsageAnswer::Duplicate => "duplicate",
                UsageAnswer::Conflict => "conflict",
                UsageAnswer::Rejected(_) => "rejected",
            };
            self.events.get_or_create(&AnswerLabels { via: via.as_str(), answer }).inc();
        }
    }
}
