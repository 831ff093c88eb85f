//! Taking in usage events: the statements of one transaction, in the order in which they are made.
//!
//! The counters' rows are locked first. Whoever counts for the same meter and period, here or in another process, waits there,
//! so what follows may be worked out in the program.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use super::usage_counters::CounterRow;
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::QuotaStatus;
use crate::domain::usage_tally::{Figure, HourFigure};

/// A counter's row, locked until the transaction's end.
#[derive(Debug)]
pub struct LockedCounter {
    /// The meter.
    pub meter: MeterName,
    /// The period's first instant.
    pub period_start: DateTime<Utc>,
    /// What it shows.
    pub figure: Figure,
}

/// An event to be taken in.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// Its id.
    pub id: Uuid,
    /// Who reports it.
    pub source: &'a str,
    /// The reporter's name for it.
    pub key: &'a str,
    /// SHA-256 of what was said.
    pub payload_hash: [u8; 32],
    /// The meter.
    pub meter: &'a MeterName,
    /// How much.
    pub quantity: i64,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// Whether its period is closed.
    pub is_late: bool,
    /// An object as JSON; empty if nothing else is known.
    pub dims: String,
}

/// A value of a meter of different values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeenValue {
    /// The meter.
    pub meter: MeterName,
    /// The period's first instant.
    pub period_start: DateTime<Utc>,
    /// SHA-256 of the value.
    pub value_hash: [u8; 32],
}

/// A counter as it is written.
#[derive(Debug)]
pub struct CounterSum {
    /// The meter.
    pub meter: MeterName,
    /// The period's first instant.
    pub period_start: DateTime<Utc>,
    /// What it is to show.
    pub figure: Figure,
}

/// What an hour's events add.
#[derive(Debug)]
pub struct HourSum {
    /// The meter.
    pub meter: MeterName,
    /// The hour's first instant.
    pub hour: DateTime<Utc>,
    /// What they come to.
    pub figure: HourFigure,
}

/// Locks the counters of these meters and periods, in the order given, which must be the same everywhere: ascending. Those that
/// are missing are made.
///
/// # Errors
/// [`DbError`].
pub async fn lock_counters(tx: &mut TenantTx, wanted: &[(MeterName, Period)]) -> Result<Vec<LockedCounter>, DbError> {
    let tenant = tx.tenant().uuid();
    let meters: Vec<&str> = wanted.iter().map(|(meter, _)| meter.as_str()).collect();
    let starts: Vec<_> = wanted.iter().map(|(_, period)| period.start).collect();
    let ends: Vec<_> = wanted.iter().map(|(_, period)| period.end).collect();
    let rows = sqlx::query!(
        "INSERT INTO billing.usage_counters AS c (tenant_id, meter, period_start, period_end, revision)
         SELECT $1, meter, period_start, period_end, 0
         FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[]) AS w (meter, period_start, period_end)
         ON CONFLICT (tenant_id, meter, period_start) DO UPDATE SET updated_at = c.updated_at
         RETURNING meter, period_start, used, late, n_events, latest_at",
        tenant,
        &meters as _,
        &starts,
        &ends,
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let figure = Figure { used: row.used, late: row.late, n_events: row.n_events, latest_at: row.latest_at };
            Ok(LockedCounter { meter: name(&row.meter)?, period_start: row.period_start, figure })
        })
        .collect()
}

/// Takes in events; returns the ids of those that nobody had taken in. `events` has each source and key once, in ascending
/// order, so that two transactions do not wait for each other in a circle.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, events: &[NewEvent<'_>]) -> Result<HashSet<Uuid>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let sources: Vec<&str> = events.iter().map(|event| event.source).collect();
    let keys: Vec<&str> = events.iter().map(|event| event.key).collect();
    let hashes: Vec<&[u8]> = events.iter().map(|event| event.payload_hash.as_slice()).collect();
    let meters: Vec<&str> = events.iter().map(|event| event.meter.as_str()).collect();
    let quantities: Vec<i64> = events.iter().map(|event| event.quantity).collect();
    let times: Vec<_> = events.iter().map(|event| event.occurred_at).collect();
    let lates: Vec<bool> = events.iter().map(|event| event.is_late).collect();
    let dims: Vec<&str> = events.iter().map(|event| event.dims.as_str()).collect();
    let fresh = sqlx::query_scalar!(
        r#"WITH given AS MATERIALIZED (
               SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[],
                                    $8::timestamptz[], $9::boolean[], $10::text[])
                   AS g (id, source, key, payload_hash, meter, quantity, occurred_at, is_late, dims)
           ), fresh AS (
               INSERT INTO billing.usage_dedup (tenant_id, source, key, payload_hash, event_id)
               SELECT $1, source, key, payload_hash, id FROM given
               ON CONFLICT (tenant_id, source, key) DO NOTHING
               RETURNING event_id
           ), events AS (
               INSERT INTO billing.usage_events
                   (tenant_id, id, source, key, meter, quantity, occurred_at, is_late, dims)
               SELECT $1, id, source, key, meter, quantity, occurred_at, is_late, nullif(dims, '')::jsonb
               FROM given JOIN fresh ON event_id = id
           )
           SELECT event_id FROM fresh"#,
        tenant,
        &ids,
        &sources as _,
        &keys as _,
        &hashes as _,
        &meters as _,
        &quantities,
        &times,
        &lates,
        &dims as _,
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(fresh.into_iter().collect())
}

/// What was said of those of these events, by source and key, that were taken in: SHA-256.
///
/// # Errors
/// [`DbError`].
pub async fn list_known(
    tx: &mut TenantTx,
    wanted: &[(&str, &str)],
) -> Result<HashMap<(String, String), [u8; 32]>, DbError> {
    let tenant = tx.tenant().uuid();
    let sources: Vec<&str> = wanted.iter().map(|(source, _)| *source).collect();
    let keys: Vec<&str> = wanted.iter().map(|(_, key)| *key).collect();
    let rows = sqlx::query!(
        "SELECT d.source, d.key, d.payload_hash
         FROM unnest($2::text[], $3::text[]) AS w (source, key)
         JOIN billing.usage_dedup d ON d.tenant_id = $1 AND d.source = w.source AND d.key = w.key",
        tenant,
        &sources as _,
        &keys as _,
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter().map(|row| Ok(((row.source, row.key), hash(&row.payload_hash)?))).collect()
}

/// Notes values; returns those that the period had not seen.
///
/// # Errors
/// [`DbError`].
pub async fn note_values(tx: &mut TenantTx, values: &[SeenValue]) -> Result<HashSet<SeenValue>, DbError> {
    let tenant = tx.tenant().uuid();
    let meters: Vec<&str> = values.iter().map(|value| value.meter.as_str()).collect();
    let starts: Vec<_> = values.iter().map(|value| value.period_start).collect();
    let hashes: Vec<&[u8]> = values.iter().map(|value| value.value_hash.as_slice()).collect();
    let rows = sqlx::query!(
        "INSERT INTO billing.usage_values (tenant_id, meter, period_start, value_hash)
         SELECT $1, meter, period_start, value_hash
         FROM unnest($2::text[], $3::timestamptz[], $4::bytea[]) AS v (meter, period_start, value_hash)
         ON CONFLICT DO NOTHING RETURNING meter, period_start, value_hash",
        tenant,
        &meters as _,
        &starts,
        &hashes as _,
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (meter, value_hash) = (name(&row.meter)?, hash(&row.value_hash)?);
            Ok(SeenValue { meter, period_start: row.period_start, value_hash })
        })
        .collect()
}

/// Adds to hours. The counters of their meters and periods must be locked.
///
/// # Errors
/// [`DbError`].
pub async fn add_hours(tx: &mut TenantTx, sums: &[HourSum]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let meters: Vec<&str> = sums.iter().map(|sum| sum.meter.as_str()).collect();
    let hours: Vec<_> = sums.iter().map(|sum| sum.hour).collect();
    let modes: Vec<&str> = sums.iter().map(|sum| sum.figure.mode.as_str()).collect();
    let quantities: Vec<i64> = sums.iter().map(|sum| sum.figure.quantity).collect();
    let counts: Vec<i64> = sums.iter().map(|sum| sum.figure.n_events).collect();
    let latest: Vec<Option<DateTime<Utc>>> = sums.iter().map(|sum| sum.figure.latest_at).collect();
    sqlx::query!(
        "WITH given AS MATERIALIZED (
             SELECT * FROM unnest($2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::bigint[],
                                  $7::timestamptz[]) AS g (meter, hour, mode, quantity, n_events, latest_at)
         ), changed AS (
             UPDATE billing.usage_hours h
             SET quantity = CASE g.mode
                     WHEN 'add' THEN h.quantity + g.quantity
                     WHEN 'max' THEN greatest(h.quantity, g.quantity)
                     ELSE CASE WHEN g.latest_at >= h.latest_at THEN g.quantity ELSE h.quantity END
                 END,
                 latest_at = greatest(h.latest_at, g.latest_at),
                 n_events = h.n_events + g.n_events
             FROM given g
             WHERE h.tenant_id = $1 AND h.meter = g.meter AND h.hour = g.hour
             RETURNING h.meter, h.hour
         )
         INSERT INTO billing.usage_hours (tenant_id, meter, hour, quantity, n_events, latest_at)
         SELECT $1, meter, hour, quantity, n_events, latest_at FROM given g
         WHERE NOT EXISTS (SELECT FROM changed c WHERE c.meter = g.meter AND c.hour = g.hour)",
        tenant,
        &meters as _,
        &hours,
        &modes as _,
        &quantities,
        &counts,
        &latest as _,
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Writes counters that are locked.
///
/// # Errors
/// [`DbError`].
pub async fn write_counters(tx: &mut TenantTx, sums: &[CounterSum]) -> Result<Vec<(MeterName, QuotaStatus)>, DbError> {
    let tenant = tx.tenant().uuid();
    let meters: Vec<&str> = sums.iter().map(|sum| sum.meter.as_str()).collect();
    let starts: Vec<_> = sums.iter().map(|sum| sum.period_start).collect();
    let used: Vec<i64> = sums.iter().map(|sum| sum.figure.used).collect();
    let late: Vec<i64> = sums.iter().map(|sum| sum.figure.late).collect();
    let counts: Vec<i64> = sums.iter().map(|sum| sum.figure.n_events).collect();
    let latest: Vec<Option<DateTime<Utc>>> = sums.iter().map(|sum| sum.figure.latest_at).collect();
    sqlx::query_as!(
        CounterRow,
        "UPDATE billing.usage_counters c
         SET used = g.used, late = g.late, n_events = g.n_events, latest_at = g.latest_at,
             revision = c.revision + 1, updated_at = now()
         FROM unnest($2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[])
             AS g (meter, period_start, used, late, n_events, latest_at)
         WHERE c.tenant_id = $1 AND c.meter = g.meter AND c.period_start = g.period_start
         RETURNING c.meter, c.period_start, c.period_end, c.used, c.reserved, c.resumed_version,
                   c.judged_version, c.judged_state, c.revision",
        tenant,
        &meters as _,
        &starts,
        &used,
        &late,
        &counts,
        &latest as _,
    )
    .fetch_all(tx.connection()?)
    .await?
    .into_iter()
    .map(TryFrom::try_from)
    .collect()
}

fn name(text: &str) -> Result<MeterName, DbError> {
    MeterName::parse(text).map_err(|_malformed: crate::domain::meter::MeterNameError| DbError::Corrupt("usage.meter"))
}

fn hash(bytes: &[u8]) -> Result<[u8; 32], DbError> {
    bytes.try_into().map_err(|_length: std::array::TryFromSliceError| DbError::Corrupt("usage.hash"))
}
