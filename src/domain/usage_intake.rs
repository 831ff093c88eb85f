//! Which usage events are taken in, and to which period they belong.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use chrono::{DateTime, TimeDelta, Timelike, Utc};

use super::meter::{Aggregation, MeterName};
use super::period::Period;
use super::usage::{MAX_QUANTITY, UsageEvent};
use super::usage_tally::Counted;

/// An event may be so far in the future: clocks differ.
const MAX_AHEAD: TimeDelta = TimeDelta::minutes(5);
/// Longest source and key, in bytes.
pub const MAX_NAME: usize = 255;
/// Most dimensions of an event.
pub const MAX_DIMS: usize = 16;
/// Longest name of a dimension, in bytes.
pub const MAX_DIM_NAME: usize = 64;
/// Longest value of a dimension, in bytes.
pub const MAX_DIM_VALUE: usize = 256;

/// How one meter counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterRule {
    /// How events become a figure.
    pub aggregation: Aggregation,
    /// For [`Aggregation::Unique`]: the dimension whose values are counted.
    pub unique_by: Option<String>,
}

/// The rules of taking in.
#[derive(Debug, Clone)]
pub struct IntakeRules {
    /// What is counted.
    pub meters: BTreeMap<MeterName, MeterRule>,
    /// An event may be so old.
    pub max_age: TimeDelta,
    /// A period is closed so long after its end.
    pub late_grace: TimeDelta,
}

/// Where an event belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// How it counts. Whether its value is new is not known here: it says no.
    pub counted: Counted,
    /// Its period.
    pub period: Period,
    /// For [`Aggregation::Unique`]: SHA-256 of its value.
    pub value_hash: Option<[u8; 32]>,
}

impl Placed {
    /// The first instant of the hour in which it occurred.
    #[must_use]
    pub fn hour(&self) -> DateTime<Utc> {
        hour_of(self.counted.occurred_at)
    }
}

/// The first instant of an instant's hour, in UTC.
#[must_use]
pub fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.with_minute(0).and_then(|at| at.with_second(0)).and_then(|at| at.with_nanosecond(0)).unwrap_or(at)
}

impl IntakeRules {
    /// Where an event that comes in at `now` belongs.
    ///
    /// # Errors
    /// Why it cannot be counted, as a sentence for its reporter.
    pub fn place(&self, event: &UsageEvent, now: DateTime<Utc>) -> Result<Placed, String> {
        let rule = self.check(event)?;
        let occurred_at = event.occurred_at.unwrap_or(now);
        if occurred_at > now + MAX_AHEAD {
            return Err(format!("occurred_at: is more than {} minutes in the future", MAX_AHEAD.num_minutes()));
        }
        if occurred_at < now - self.max_age {
            return Err(format!("occurred_at: is more than {} days ago", self.max_age.num_days()));
        }
        self.placed(rule, event, occurred_at, now)
    }

    /// Where an event belongs that this platform saw itself and wrote down until now. Nobody can send it again with a better time, so
    /// its time is no reason to refuse it. One from the future was written before the clock was set back, and counts as of now. One
    /// that is too old counts as late usage of the present period: there may be no place for events of its own period any more,
    /// and what was used so long ago must not use up the present quota.
    ///
    /// # Errors
    /// Why it cannot be counted.
    pub fn place_seen(&self, event: &UsageEvent, now: DateTime<Utc>) -> Result<Placed, String> {
        let rule = self.check(event)?;
        let occurred_at = event.occurred_at.map_or(now, |at| at.min(now));
        if occurred_at >= now - self.max_age {
            return self.placed(rule, event, occurred_at, now);
        }
        let mut placed = self.placed(rule, event, now, now)?;
        placed.counted.is_late = true;
        Ok(placed)
    }

    /// What holds whenever an event occurred.
    fn check(&self, event: &UsageEvent) -> Result<&MeterRule, String> {
        for (name, text) in [("source", &event.source), ("id", &event.key)] {
            if !is_name(text) {
                return Err(format!("{name}: must have 1 to {MAX_NAME} bytes and no control characters"));
            }
        }
        check_dims(&event.dims)?;
        let rule = self.meters.get(&event.meter).ok_or_else(|| format!("meter: there is no meter {}", event.meter))?;
        if !(0..=MAX_QUANTITY).contains(&event.quantity) {
            return Err(format!("quantity: must be between 0 and {MAX_QUANTITY}"));
        }
        Ok(rule)
    }

    fn placed(
        &self,
        rule: &MeterRule,
        event: &UsageEvent,
        occurred_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Placed, String> {
        let period = Period::containing(occurred_at);
        let counted = Counted {
            aggregation: rule.aggregation,
            quantity: event.quantity,
            occurred_at,
            is_late: now >= period.end + self.late_grace,
            is_new_value: false,
        };
        Ok(Placed { counted, period, value_hash: value_hash(rule, event)? })
    }
}

/// Whether a text can name a source or an event.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn check_dims(dims: &BTreeMap<String, String>) -> Result<(), String> {
    let is_good = |(name, value): (&String, &String)| {
        (1..=MAX_DIM_NAME).contains(&name.len())
            && value.len() <= MAX_DIM_VALUE
            // PostgreSQL's texts cannot hold it.
            && !name.contains('\0')
            && !value.contains('\0')
    };
    if dims.len() <= MAX_DIMS && dims.iter().all(is_good) {
        return Ok(());
    }
    Err(format!(
        "dims: at most {MAX_DIMS}, names of 1 to {MAX_DIM_NAME} bytes, values of up to {MAX_DIM_VALUE} bytes without NUL"
    ))
}

fn value_hash(rule: &MeterRule, event: &UsageEvent) -> Result<Option<[u8; 32]>, String> {
    match (rule.aggregation, &rule.unique_by) {
        (Aggregation::Unique, Some(dim)) => {
            let value = event.dims.get(dim).ok_or_else(|| format!("dims: this meter counts values of {dim}"))?;
            Ok(Some(sha256(value.as_bytes())))
        }
        (Aggregation::Unique | Aggregation::Sum | Aggregation::Count | Aggregation::Max | Aggregation::Latest, _) => {
            Ok(None)
        }
    }
}

/// SHA-256 of what a reporter said of an event besides its name. The time is a part of it only if the reporter said it, so
/// that a retry of an event without one is the same event: `said_at` is that time.
#[must_use]
pub fn payload_hash(event: &UsageEvent, said_at: Option<DateTime<Utc>>) -> [u8; 32] {
    let mut said = Vec::with_capacity(64);
    let mut say = |part: &[u8]| {
        // Each part with its length, so that no two payloads are one text.
        said.extend_from_slice(&(part.len() as u64).to_be_bytes());
        said.extend_from_slice(part);
    };
    say(event.meter.as_str().as_bytes());
    say(&event.quantity.to_be_bytes());
    say(said_at.map(|at| at.timestamp_micros().to_be_bytes()).as_ref().map_or(&[][..], <[u8; 8]>::as_slice));
    for (name, value) in &event.dims {
        say(name.as_bytes());
        say(value.as_bytes());
    }
    sha256(&said)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (slot, byte) in hash.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *slot = *byte;
    }
    hash
}

#[cfg(test)]
#[path = "usage_intake_tests.rs"]
mod tests;
