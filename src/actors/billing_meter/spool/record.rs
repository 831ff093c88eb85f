//! A record as a line: the CRC-32 of what follows as eight hexadecimal digits, a space, JSON, a line feed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::meter::MeterName;
use crate::domain::usage::UsageRecord;

/// Length of the checksum and the space.
const HEAD: usize = 9;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    t: Uuid,
    m: MeterName,
    q: i64,
    /// Microseconds since 1970.
    at: i64,
    s: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    d: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<Uuid>,
}

/// The line of a record, with its line feed.
pub(super) fn encode(record: &UsageRecord) -> Vec<u8> {
    let UsageRecord { tenant, meter, quantity, occurred_at, key, source, dims, reservation } = record;
    let line = Line {
        t: tenant.uuid(),
        m: meter.clone(),
        q: *quantity,
        at: occurred_at.timestamp_micros(),
        s: source.clone(),
        k: key.clone(),
        d: dims.clone(),
        r: reservation.map(|id| id.uuid()),
    };
    // These types always serialise, and JSON has no line feed inside.
    let json = serde_json::to_vec(&line).unwrap_or_default();
    let mut text = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    text.extend_from_slice(&json);
    text.push(b'\n');
    text
}

/// The record of a line, without its line feed; `None` if it is damaged.
pub(super) fn decode(line: &[u8]) -> Option<UsageRecord> {
    let (head, json) = line.split_at_checked(HEAD)?;
    let crc = u32::from_str_radix(std::str::from_utf8(head.strip_suffix(b" ")?).ok()?, 16).ok()?;
    if crc != crc32fast::hash(json) {
        return None;
    }
    let Line { t, m, q, at, s, k, d, r } = serde_json::from_slice(json).ok()?;
    Some(UsageRecord {
        tenant: t.into(),
        meter: m,
        quantity: q,
        occurred_at: DateTime::<Utc>::from_timestamp_micros(at)?,
        key: k,
        source: s,
        dims: d,
        reservation: r.map(Into::into),
    })
}
