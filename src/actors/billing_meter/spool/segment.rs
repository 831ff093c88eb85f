//! Reading a segment, and what its records are as events.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::record::{self, Decoded};
use crate::domain::ids::TenantId;
use crate::domain::meter::{Aggregation, MeterName};
use crate::domain::usage::{MAX_QUANTITY, UsageEvent, UsageRecord};
use crate::domain::usage_intake::{IntakeRules, hour_of};

/// A segment that nobody writes any more.
#[derive(Debug)]
pub(in crate::actors::billing_meter) struct Segment {
    pub(in crate::actors::billing_meter) path: PathBuf,
    /// Its name, which no other segment ever has.
    id: String,
    /// Line number → record.
    records: Vec<(usize, UsageRecord)>,
    /// Lines that could not be read.
    pub(in crate::actors::billing_meter) n_damaged: usize,
}

/// Records of one tenant that are counted as one.
type SumKey<'r> = (TenantId, &'r str, &'r MeterName, DateTime<Utc>);

struct Sum {
    quantity: i64,
    /// The latest of the records' times.
    latest: DateTime<Utc>,
    /// Sums of the same hour before this one.
    n_before: usize,
}

impl Segment {
    /// Reads a segment. What stands behind the last line feed was being written when the process died: its call was not
    /// answered, so it is not there.
    pub(in crate::actors::billing_meter) fn read(path: PathBuf) -> io::Result<Self> {
        let bytes = std::fs::read(&path)?;
        let whole = memchr::memrchr(b'\n', &bytes).and_then(|end| bytes.get(..end)).unwrap_or_default();
        let (mut records, mut n_damaged) = (Vec::new(), 0);
        let mut figures: BTreeMap<u64, (usize, UsageRecord)> = BTreeMap::new();
        for (number, line) in whole.split(|byte| *byte == b'\n').enumerate() {
            match record::decode(line) {
                Some(Decoded { record, figure: None }) => records.push((number, record)),
                Some(Decoded { record, figure: Some(figure) }) => match figures.entry(figure) {
                    Entry::Vacant(place) => drop(place.insert((number, record))),
                    // The other one was there before it.
                    Entry::Occupied(mut place) if place.get().1.quantity < record.quantity => {
                        place.insert((number, record));
                    }
                    Entry::Occupied(_) => {}
                },
                // A place that nothing was written to yet.
                None if line.iter().all(|byte| *byte == b' ') => {}
                None => n_damaged += 1,
            }
        }
        records.extend(figures.into_values());
        let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { path, id, records, n_damaged })
    }

    /// The events that the records are. Reading the same segment again gives the same events with the same names, so it may be
    /// counted again after a half-done attempt: what must stay one event has its own name, or the line's; the others are added
    /// up by the hour.
    pub(in crate::actors::billing_meter) fn events(&self, rules: &IntakeRules) -> Vec<(TenantId, UsageEvent)> {
        let mut events = Vec::new();
        let mut sums: BTreeMap<SumKey<'_>, Sum> = BTreeMap::new();
        for (number, record) in &self.records {
            let is_sum = rules.meters.get(&record.meter).is_some_and(|rule| rule.aggregation == Aggregation::Sum);
            let is_good = (0..=MAX_QUANTITY).contains(&record.quantity);
            if !is_sum || !is_good || record.key.is_some() || record.reservation.is_some() {
                events.push((record.tenant, self.single(*number, record)));
                continue;
            }
            let key = (record.tenant, record.source.as_str(), &record.meter, hour_of(record.occurred_at));
            let sum = sums.entry(key).or_insert(Sum { quantity: 0, latest: record.occurred_at, n_before: 0 });
            if sum.quantity > MAX_QUANTITY - record.quantity {
                events.push((record.tenant, self.summed(&key, sum)));
                *sum = Sum { quantity: 0, latest: record.occurred_at, n_before: sum.n_before + 1 };
            }
            sum.quantity += record.quantity;
            sum.latest = sum.latest.max(record.occurred_at);
        }
        events.extend(sums.iter().map(|(key, sum)| (key.0, self.summed(key, sum))));
        events
    }

    fn single(&self, number: usize, record: &UsageRecord) -> UsageEvent {
        UsageEvent {
            source: record.source.clone(),
            key: record.key.clone().unwrap_or_else(|| format!("{}/{number}", self.id)),
            meter: record.meter.clone(),
            quantity: record.quantity,
            occurred_at: Some(record.occurred_at),
            dims: record.dims.clone(),
            reservation: record.reservation,
        }
    }

    fn summed(&self, (_, source, meter, hour): &SumKey<'_>, sum: &Sum) -> UsageEvent {
        let hour = hour.format("%Y-%m-%dT%H");
        let more = if sum.n_before == 0 { String::new() } else { format!("/{}", sum.n_before) };
        UsageEvent {
            source: (*source).to_owned(),
            key: format!("{}/{meter}/{hour}{more}", self.id),
            meter: (*meter).clone(),
            quantity: sum.quantity,
            occurred_at: Some(sum.latest),
            dims: BTreeMap::new(),
            reservation: None,
        }
    }
}

/// Segments in a directory, the oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == super::SEGMENT) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}
