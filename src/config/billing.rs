//! `[metering]`, `[meters]` and `[plans]`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::meter::{Aggregation, MeterName};
use crate::domain::quota::OnExceed;

/// Longest time, in seconds, for which the rest of an answer is read after its client has left.
pub const MAX_REST_S: u64 = 300;

/// `[metering]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeteringSettings {
    /// How often what the gateway counted is taken from its files into the database, in milliseconds.
    pub flush_ms: u64,
    /// Largest size of those files together, in bytes; when they are full, metered routes answer 503.
    pub spool_max_bytes: u64,
    /// An event may be so many days old.
    pub max_age_days: u32,
    /// A period is closed so many hours after its end; later events are billed with the next one.
    pub late_grace_h: u32,
    /// Events are kept for so many months; the figures of hours and periods are kept for good.
    pub event_retention_months: u32,
    /// An event is known again for so many days: 35 more than it may be old.
    pub dedup_retention_days: u32,
    /// Life of usage that is set aside for a call, in seconds: longer than any call.
    pub reservation_ttl_s: u64,
    /// Usage events a minute that one tenant may post to this process, all of which may come at once; more are refused with 429. At
    /// least 1,000, which is what one call may bring.
    pub events_per_minute: u32,
}

/// `[meters.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterSettings {
    /// How a period's events become its figure.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// The dimension whose different values are counted; for `unique` only.
    pub unique_by: Option<String>,
}

/// `[plans.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSettings {
    /// Version of the plan's figures. What was once sold under a number stays what it was: other figures need a higher one.
    #[serde(default = "first_version")]
    pub version: u32,
    /// What invoices and price lists call it; none = its name.
    pub title: Option<String>,
    /// Price of a month, in the currency's smallest unit; 0 = free.
    #[serde(default)]
    pub price_minor: i64,
    /// Days for which a new subscriber pays nothing.
    #[serde(default)]
    pub trial_days: u32,
    /// Requests a minute; none = `limits.tenant_per_minute`.
    pub requests_per_minute: Option<u32>,
    /// Usage events a minute that may be posted; none = `metering.events_per_minute`.
    pub events_per_minute: Option<u32>,
    /// Modules included; a route that belongs to another module is refused with the upgrade link.
    pub modules: Vec<String>,
    /// Limits by meter; a meter that is not named is counted and not limited.
    #[serde(default)]
    pub meters: BTreeMap<MeterName, PlanMeterSettings>,
}

/// `[plans.NAME.meters.METER]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanMeterSettings {
    /// What the plan's price includes, in the meter's unit.
    #[serde(default)]
    pub included: i64,
    /// Price of each unit beyond what is included, a decimal number of the currency's smallest unit; none = more is not billed.
    pub overage_unit_price: Option<String>,
    /// Where `on_exceed` begins; none = no such limit.
    pub soft_limit: Option<i64>,
    /// What is never passed; none = no such limit.
    pub hard_limit: Option<i64>,
    /// Percentages of the soft limit, else of the hard one, that are announced.
    #[serde(default = "default_thresholds")]
    pub thresholds: Vec<u16>,
    /// What happens at the soft limit.
    #[serde(default)]
    pub on_exceed: OnExceed,
    /// Calls a minute while throttled.
    #[serde(default = "default_throttle")]
    pub throttle_per_minute: u32,
}

fn first_version() -> u32 {
    1
}

fn default_thresholds() -> Vec<u16> {
    vec![50, 80, 100, 120]
}

fn default_throttle() -> u32 {
    10
}
