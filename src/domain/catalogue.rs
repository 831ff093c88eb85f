//! What is for sale: plans in versions, modules beside them, coupons.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::meter::MeterName;
use super::price::UnitPrice;
use super::quota::{MeterLimits, OnExceed};
use super::rating::MeterPrice;

/// The figures of one version of a plan, as they were when it was first sold. They never change; a subscription points at them.
/// A figure that a later release adds has a default here, so that older records still read as what they said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanFigures {
    /// Price of a month, in the currency's smallest unit.
    pub price_minor: i64,
    /// The currency (ISO 4217) of all prices.
    pub currency: String,
    /// Days for which a new subscriber pays nothing.
    pub trial_days: u32,
    /// Requests a minute; none = the platform's figure, whatever it is at the time.
    pub requests_per_minute: Option<u32>,
    /// Usage events a minute that may be posted; none = the platform's figure.
    pub events_per_minute: Option<u32>,
    /// Modules included.
    pub modules: Vec<String>,
    /// By meter; one that is not named is counted, not limited and not billed.
    pub meters: BTreeMap<MeterName, MeterFigures>,
}

impl PlanFigures {
    /// Whether the plan itself costs nothing.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.price_minor == 0
    }
}

/// The figures of a plan for one meter, in the meter's unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MeterFigures {
    /// What the plan's price includes.
    pub included: i64,
    /// Price of each unit beyond that, a decimal number of the currency's smallest unit ([`super::price::UnitPrice`]); none = more is
    /// not billed.
    pub overage_unit_price: Option<String>,
    /// Where `on_exceed` begins.
    pub soft_limit: Option<i64>,
    /// What is never passed.
    pub hard_limit: Option<i64>,
    /// Percentages that are announced, ascending.
    pub thresholds: Vec<u16>,
    /// What happens at the soft limit.
    pub on_exceed: OnExceed,
    /// Calls a minute while throttled.
    pub throttle_per_minute: u32,
}

impl MeterFigures {
    /// What usage costs. Prices were read before they were written down.
    #[must_use]
    pub fn price(&self) -> MeterPrice {
        let overage = self.overage_unit_price.as_deref().and_then(|text| UnitPrice::parse(text).ok());
        MeterPrice { included: self.included, overage }
    }

    /// The limits, as those of a version of a plan (`free@1`).
    #[must_use]
    pub fn limits(&self, version: &Arc<str>) -> MeterLimits {
        MeterLimits {
            version: Arc::clone(version),
            included: self.included,
            soft: self.soft_limit,
            hard: self.hard_limit,
            thresholds: self.thresholds.clone(),
            on_exceed: self.on_exceed,
            throttle_per_minute: self.throttle_per_minute,
        }
    }
}

/// A module that a subscription has beside those of its plan, at the price of the day on which it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AddOn {
    /// The module.
    pub name: String,
    /// Price of a month, in the currency's smallest unit.
    pub price_minor: i64,
}

/// What a coupon takes off each invoice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discount {
    /// So many percent, 1 to 100.
    PercentOff(u8),
    /// So much, in the currency's smallest unit, and never more than there is to pay.
    AmountOffMinor(i64),
}
