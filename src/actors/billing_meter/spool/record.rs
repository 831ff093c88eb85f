//! A record as a line: the CRC-32 of what follows as eight hexadecimal digits, a space, JSON, a line feed.

use std::collections::BTreeMap;
use std::io::Write as _;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::usage::UsageRecord;

/// Length of the checksum and the space.
const HEAD: usize = 9;

/// As it is written.
#[derive(Serialize)]
struct Written<'r> {
    t: Uuid,
    m: &'r MeterName,
    q: i64,
    /// Microseconds since 1970.
    at: i64,
    s: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<&'r BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r: Option<Uuid>,
}

/// What never changes of a figure.
#[derive(Serialize)]
struct WrittenFigure<'r> {
    t: Uuid,
    m: &'r MeterName,
    s: &'r str,
    c: u64,
}

/// The same as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    t: Uuid,
    m: MeterName,
    q: i64,
    at: i64,
    s: String,
    #[serde(default)]
    k: Option<String>,
    #[serde(default)]
    d: BTreeMap<String, String>,
    #[serde(default)]
    r: Option<Uuid>,
    #[serde(default)]
    c: Option<u64>,
}

/// Who reports what the gateway itself counts.
pub const GATEWAY: &str = "gateway";

/// A line, read.
#[derive(Debug, PartialEq)]
pub(super) struct Decoded {
    pub(super) record: UsageRecord,
    /// Number of a figure in its segment: of several lines with one, that with the largest quantity counts.
    pub(super) figure: Option<u64>,
}

/// The line of a record, with its line feed.
pub(super) fn encode(record: &UsageRecord) -> Vec<u8> {
    let UsageRecord { tenant, meter, quantity, occurred_at, key, source, dims, reservation } = record;
    let mut line = Vec::with_capacity(160);
    line.extend_from_slice(&[b' '; HEAD]);
    let written = Written {
        t: tenant.uuid(),
        m: meter,
        q: *quantity,
        at: occurred_at.timestamp_micros(),
        s: source,
        k: key.as_deref(),
        d: Some(dims).filter(|dims| !dims.is_empty()),
        r: reservation.map(|id| id.uuid()),
    };
    // These types always serialise, and JSON has no line feed inside.
    let _ = serde_json::to_writer(&mut line, &written);
    put_checksum(&mut line);
    line.push(b'\n');
    line
}

/// What every line of a figure begins with, behind the checksum, up to its quantity.
pub(super) fn sum_prefix(tenant: TenantId, meter: &MeterName, figure: u64) -> Box<[u8]> {
    let figure = WrittenFigure { t: tenant.uuid(), m: meter, s: GATEWAY, c: figure };
    let mut prefix = serde_json::to_vec(&figure).unwrap_or_default();
    prefix.pop();
    prefix.extend_from_slice(b",\"q\":");
    prefix.into()
}

/// Writes the line of a figure into `place`, which is empty, so that with the blanks behind it, it is `len` bytes with its line feed.
/// By hand, for this is done for each call that is counted.
pub(super) fn encode_sum(place: &mut Vec<u8>, len: usize, prefix: &[u8], quantity: i64, at: DateTime<Utc>) {
    place.extend_from_slice(&[b' '; HEAD]);
    place.extend_from_slice(prefix);
    // A vector takes whatever is written.
    let _ = write!(place, "{quantity},\"at\":{}}}", at.timestamp_micros());
    place.resize(place.len().max(len - 1), b' ');
    put_checksum(place);
    place.push(b'\n');
}

/// Puts the checksum of a line, which has room for it and no line feed yet, at its beginning.
fn put_checksum(line: &mut [u8]) {
    if let Some((head, json)) = line.split_at_mut_checked(HEAD) {
        let crc = crc32fast::hash(json);
        for (place, digit) in head.iter_mut().zip((0..8).rev().map(|n| crc >> (4 * n) & 0xf)) {
            *place = char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8);
        }
    }
}

/// The record of a line, without its line feed; `None` if it is damaged.
pub(super) fn decode(line: &[u8]) -> Option<Decoded> {
    let (head, json) = line.split_at_checked(HEAD)?;
    let crc = u32::from_str_radix(std::str::from_utf8(head.strip_suffix(b" ")?).ok()?, 16).ok()?;
    if crc != crc32fast::hash(json) {
        return None;
    }
    let Read { t, m, q, at, s, k, d, r, c } = serde_json::from_slice(json).ok()?;
    let record = UsageRecord {
        tenant: t.into(),
        meter: m,
        quantity: q,
        occurred_at: DateTime::<Utc>::from_timestamp_micros(at)?,
        key: k,
        source: s,
        dims: d,
        reservation: r.map(Into::into),
    };
    Some(Decoded { record, figure: c })
}
