//! What the kernel counts. Labels are static names only, so that the number of series follows the program's text and
//! not its tenants.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the duration buckets, in seconds: from a look-up in memory to a caller's longest patience.
const DURATION_BUCKETS: [f64; 11] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Counters and durations of all actors that were given this value. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct ActorMetrics {
    messages: Family<OutcomeLabels, Counter>,
    durations: Family<MessageLabels, Histogram>,
    deaths: Family<DeathLabels, Counter>,
}

impl ActorMetrics {
    /// Creates the families and registers them:
    ///
    /// * `actor_messages_total{actor, message, outcome}`, where the outcome is `asked`, `told`, `refused`, `overloaded`,
    ///   `timed_out` or `unavailable`;
    /// * `actor_message_duration_seconds{actor, message}`, from posting to the answer, so that its count is the number
    ///   of messages handled;
    /// * `actor_deaths_total{actor, cause}`: lives that ended by `panic`, `crash`, `failed_start` or `killed`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("actor_messages", "Messages by what became of them", metrics.messages.clone());
        let help = "Time from posting a message to its answer";
        registry.register_with_unit("actor_message_duration", help, Unit::Seconds, metrics.durations.clone());
        registry.register("actor_deaths", "Lives of actors that ended unasked", metrics.deaths.clone());
        metrics
    }

    pub(super) fn count(&self, actor: &'static str, message: &'static str, outcome: Outcome) {
        self.messages.get_or_create(&OutcomeLabels { actor, message, outcome: outcome.as_str() }).inc();
    }

    pub(super) fn observe(&self, actor: &'static str, message: &'static str, duration: Duration) {
        self.durations.get_or_create(&MessageLabels { actor, message }).observe(duration.as_secs_f64());
    }

    pub(in crate::actors) fn count_death(&self, actor: &'static str, cause: &'static str) {
        self.deaths.get_or_create(&DeathLabels { actor, cause }).inc();
    }
}

impl Default for ActorMetrics {
    /// Families that no registry shows, for tests.
    fn default() -> Self {
        Self {
            messages: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            deaths: Family::default(),
        }
    }
}

/// What became of a message, as the sender saw it.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Asked,
    Told,
    Refused,
    Overloaded,
    TimedOut,
    Unavailable,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Told => "told",
            Self::Refused => "refused",
            Self::Overloaded => "overloaded",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    actor: &'static str,
    message: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    actor: &'static str,
    message: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeathLabels {
    actor: &'static str,
    cause: &'static str,
}
