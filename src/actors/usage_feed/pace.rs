//! How often a counter is shown: at most once a second, and then as it is by then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::db::stream_feed::Counter;
use crate::domain::meter::MeterName;

/// Least time between two pictures of one counter.
const REST: Duration = Duration::from_secs(1);

/// The counters of one tenant, as far as they were seen here.
#[derive(Debug, Default)]
pub(super) struct Pace {
    counters: BTreeMap<MeterName, Seen>,
}

#[derive(Debug)]
struct Seen {
    counter: Arc<Counter>,
    /// When it was shown last, in nanoseconds of the monotonic clock.
    shown_ns: Option<u64>,
    is_new: bool,
}

impl Pace {
    /// Takes note of a counter; an older picture than the one that is known changes nothing.
    pub(super) fn note(&mut self, counter: Counter) {
        let version = |counter: &Counter| (counter.period_start, counter.revision);
        match self.counters.get_mut(&counter.meter) {
            Some(seen) if version(&counter) <= version(&seen.counter) => {}
            Some(seen) => (seen.counter, seen.is_new) = (Arc::new(counter), true),
            None => {
                let meter = counter.meter.clone();
                self.counters.insert(meter, Seen { counter: Arc::new(counter), shown_ns: None, is_new: true });
            }
        }
    }

    /// The counters to be shown now.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Arc<Counter>> {
        let rest = u64::try_from(REST.as_nanos()).unwrap_or(u64::MAX);
        let mut due = Vec::new();
        for seen in self.counters.values_mut() {
            let has_rested = seen.shown_ns.is_none_or(|shown_ns| now_ns.saturating_sub(shown_ns) >= rest);
            if seen.is_new && has_rested {
                (seen.shown_ns, seen.is_new) = (Some(now_ns), false);
                due.push(Arc::clone(&seen.counter));
            }
        }
        due
    }

    /// The counters of the period which began then, as they were seen last.
    pub(super) fn of_period(&self, period_start: DateTime<Utc>) -> Vec<Arc<Counter>> {
        let counters = self.counters.values().map(|seen| &seen.counter);
        counters.filter(|counter| counter.period_start == period_start).cloned().collect()
    }

    /// Meter → revision that is known of the period which began then.
    pub(super) fn known(&self, period_start: DateTime<Utc>) -> Value {
        let of_period = self.of_period(period_start).into_iter();
        let known: Map<_, _> =
            of_period.map(|counter| (counter.meter.to_string(), Value::from(counter.revision))).collect();
        Value::Object(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn counter(period: i64, revision: i64) -> Counter {
        Counter {
            meter: MeterName::parse("ai_tokens").expect("a name"),
            period_start: DateTime::from_timestamp(period, 0).expect("in range"),
            revision,
            used: revision * 10,
            reserved: 0,
            resumed_version: None,
        }
    }

    fn shown(pace: &mut Pace, now_ns: u64) -> Vec<i64> {
        pace.due(now_ns).iter().map(|counter| counter.revision).collect()
    }

    #[test]
    fn a_counter_is_shown_at_once_and_then_as_it_is_after_a_second() {
        let mut pace = Pace::default();
        pace.note(counter(0, 1));
        assert_eq!(shown(&mut pace, SECOND), [1]);
        pace.note(counter(0, 2));
        pace.note(counter(0, 3));
        assert!(shown(&mut pace, 2 * SECOND - 1).is_empty());
        assert_eq!(shown(&mut pace, 2 * SECOND), [3], "the latest alone");
        assert!(shown(&mut pace, 9 * SECOND).is_empty(), "nothing is new");
    }

    #[test]
    fn an_older_picture_changes_nothing_and_a_new_period_begins_again() {
        let mut pace = Pace::default();
        pace.note(counter(5, 7));
        pace.note(counter(5, 6));
        pace.note(counter(4, 9));
        assert_eq!(pace.known(counter(5, 0).period_start), serde_json::json!({ "ai_tokens": 7 }));
        assert_eq!(shown(&mut pace, 0), [7]);
        pace.note(counter(6, 1));
        assert_eq!(pace.known(counter(6, 0).period_start), serde_json::json!({ "ai_tokens": 1 }));
        assert_eq!(shown(&mut pace, SECOND), [1]);
        assert_eq!(pace.known(counter(7, 0).period_start), serde_json::json!({}));
    }
}
