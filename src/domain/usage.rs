//! Usage events: what was used, said once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::ids::{ReservationId, TenantId};
use super::meter::MeterName;

/// Largest quantity of one event. A counter would need nine million of these to overflow.
pub const MAX_QUANTITY: i64 = 1_000_000_000_000;

/// One use of something that a meter counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageEvent {
    /// Who reports it; with `key` it says which event this is.
    pub source: String,
    /// The reporter's own name for the event: the same key again is the same event again.
    pub key: String,
    /// The meter.
    pub meter: MeterName,
    /// How much, in the meter's unit: 0 to [`MAX_QUANTITY`].
    pub quantity: i64,
    /// When. None = when it is taken in.
    pub occurred_at: Option<DateTime<Utc>>,
    /// What else is known of it.
    pub dims: BTreeMap<String, String>,
    /// What was set aside for it, to be given back when it is counted.
    pub reservation: Option<ReservationId>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageAnswer {
    /// It is counted, durably.
    Accepted,
    /// It had been counted before, and was not counted again.
    Duplicate,
    /// Another event has its source and key; nothing was counted.
    Conflict,
    /// It cannot be counted, and why.
    Rejected(String),
}

/// Usage that the gateway saw: what one line of the spool holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// Whose.
    pub tenant: TenantId,
    /// The meter.
    pub meter: MeterName,
    /// How much.
    pub quantity: i64,
    /// When the call was answered.
    pub occurred_at: DateTime<Utc>,
    /// Names the event, if it must stay one: reported by a service under a name of its own, or with a reservation. The others
    /// are added up before they are written.
    pub key: Option<String>,
    /// Who reports it: `gateway`, or `service:<prefix of the route>`.
    pub source: String,
    /// What else is known; only with a key.
    pub dims: BTreeMap<String, String>,
    /// What was set aside for it.
    pub reservation: Option<ReservationId>,
}
