//! What usage streams show: events after a number, and the counters of the present period.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::period::Period;

/// An event of a tenant's stream.
#[derive(Debug, Clone)]
pub struct StreamEvent {
    /// Number; each is one more than the one before.
    pub id: i64,
    /// What happened, such as `threshold.crossed`.
    pub kind: String,
    /// What there is to say about it; an object.
    pub payload: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// A counter of the present period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// What is counted.
    pub meter: MeterName,
    /// Begin of its period.
    pub period_start: DateTime<Utc>,
    /// Grows with each change within the period.
    pub revision: i64,
    /// Used so far.
    pub used: i64,
    /// Set aside for calls under way.
    pub reserved: i64,
    /// The version of the limits for which an admin lifted the pause.
    pub resumed_version: Option<String>,
}

/// What a stream begins with.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Number of the last event; 0 before the first.
    pub head: i64,
    /// The present counters, not older than the head.
    pub counters: Vec<Counter>,
}

/// What is asked for one tenant.
#[derive(Debug, Clone)]
pub struct Question {
    /// The tenant.
    pub tenant: TenantId,
    /// Events after this one are wanted.
    pub after: i64,
    /// Meter → revision that is known; only newer ones are wanted.
    pub known: Value,
}

/// What is new for one tenant.
#[derive(Debug, Clone)]
pub enum News {
    /// An event; those of one tenant come in their order.
    Event(StreamEvent),
    /// A counter that was changed.
    Counter(Counter),
}

/// The head and the counters of the present period.
///
/// # Errors
/// [`DbError`].
pub async fn get_picture(tx: &mut TenantTx, period: Period) -> Result<Picture, DbError> {
    let tenant = tx.tenant().uuid();
    let head = sqlx::query_scalar!("SELECT last_id FROM billing.stream_heads WHERE tenant_id = $1", tenant)
        .fetch_optional(tx.connection()?)
        .await?;
    let rows = sqlx::query!(
        "SELECT meter, period_start, revision, used, reserved, resumed_version FROM billing.usage_counters
         WHERE tenant_id = $1 AND period_start = $2 ORDER BY meter",
        tenant,
        period.start
    )
    .fetch_all(tx.connection()?)
    .await?;
    let counters = rows.into_iter().map(|row| {
        Ok(Counter {
            meter: meter(&row.meter)?,
            period_start: row.period_start,
            revision: row.revision,
            used: row.used,
            reserved: row.reserved,
            resumed_version: row.resumed_version,
        })
    });
    Ok(Picture { head: head.unwrap_or(0), counters: counters.collect::<Result<_, DbError>>()? })
}

/// Up to `n` events after a number, in their order.
///
/// # Errors
/// [`DbError`].
pub async fn list_after(tx: &mut TenantTx, after: i64, n: i64) -> Result<Vec<StreamEvent>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        StreamEvent,
        "SELECT id, kind, payload, created_at AS at FROM billing.stream_events
         WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
        tenant,
        after,
        n
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// What is new for the tenants that are asked about, in one query: up to `n` events of each, and their changed counters of the
/// period that `present` lies in.
///
/// # Errors
/// [`DbError`].
pub async fn poll(
    tx: &SystemTx<'_>,
    questions: &[Question],
    present: DateTime<Utc>,
    n: i64,
) -> Result<Vec<(TenantId, News)>, DbError> {
    let tenants: Vec<Uuid> = questions.iter().map(|question| question.tenant.uuid()).collect();
    let heads: Vec<i64> = questions.iter().map(|question| question.after).collect();
    let known: Vec<Value> = questions.iter().map(|question| question.known.clone()).collect();
    let rows = sqlx::query!(
        r#"SELECT tenant_id AS "tenant_id!", is_event AS "is_event!", number AS "number!", name AS "name!",
                  payload AS "payload!", at AS "at!"
           FROM billing.poll_streams($1, $2, $3, $4, $5)"#,
        &tenants,
        &heads,
        &known,
        present,
        n
    )
    .fetch_all(tx.pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let news = if row.is_event {
                News::Event(StreamEvent { id: row.number, kind: row.name, payload: row.payload, at: row.at })
            } else {
                News::Counter(counter(&row.name, row.number, row.at, row.payload)?)
            };
            Ok((row.tenant_id.into(), news))
        })
        .collect()
}

#[derive(Deserialize)]
struct Figures {
    used: i64,
    reserved: i64,
    resumed_version: Option<String>,
}

fn counter(name: &str, revision: i64, period_start: DateTime<Utc>, figures: Value) -> Result<Counter, DbError> {
    let Figures { used, reserved, resumed_version } = serde_json::from_value(figures)
        .map_err(|_shape: serde_json::Error| DbError::Corrupt("billing.poll_streams"))?;
    Ok(Counter { meter: meter(name)?, period_start, revision, used, reserved, resumed_version })
}

fn meter(name: &str) -> Result<MeterName, DbError> {
    MeterName::parse(name)
        .map_err(|_name: crate::domain::meter::MeterNameError| DbError::Corrupt("usage_counters.meter"))
}
