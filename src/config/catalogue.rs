//! `[billing]`, `[modules]` and `[coupons]`, and what a plan's figures are as a record.

use serde::{Deserialize, Serialize};

use super::billing::{PlanMeterSettings, PlanSettings};
use crate::domain::catalogue::{Discount, MeterFigures, PlanFigures};
use crate::domain::invoice_document::Party;
use crate::domain::price::UnitPrice;
use crate::domain::subscription::DunningPolicy;

/// `[billing]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingSettings {
    /// Currency of all prices (ISO 4217).
    pub currency: String,
    /// Tax that is added to invoices, in percent: a decimal number from 0 to 100.
    pub tax_rate_percent: String,
    /// What invoices call the tax.
    pub tax_name: String,
    /// Days after which an invoice is due.
    pub payment_days: u32,
    /// Begins the numbers of invoices: `INV` makes `INV-2026-000001`.
    pub invoice_prefix: String,
    /// Begins the numbers of credit notes.
    pub credit_note_prefix: String,
    /// Paper of invoices: `A4` or `Letter`.
    pub paper: Paper,
    /// Who sells.
    pub seller: SellerSettings,
    /// What unpaid invoices lead to.
    pub dunning: DunningSettings,
}

/// Size of an invoice's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Paper {
    /// 210 by 297 millimetres (ISO 216).
    A4,
    /// 8.5 by 11 inches.
    Letter,
}

/// `[billing.seller]`: who sells, as invoices say. What is empty is left out.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SellerSettings {
    /// Name in law.
    pub legal_name: String,
    /// Street and the like.
    pub address_lines: Vec<String>,
    /// City.
    pub city: String,
    /// Postcode.
    pub postcode: String,
    /// Country (ISO 3166-1, two capitals).
    pub country: String,
    /// Number for value added or sales tax.
    pub tax_id: String,
    /// Number in the register of companies.
    pub registration: String,
    /// Address for questions.
    pub email: String,
    /// Website.
    pub website: String,
    /// Name of the bank.
    pub bank: String,
    /// Number of the account (ISO 13616).
    pub iban: String,
    /// Code of the bank (ISO 9362).
    pub bic: String,
    /// Colour of headings and rules, as `#rrggbb`.
    pub accent: String,
}

impl SellerSettings {
    /// The seller as documents name it.
    #[must_use]
    pub fn party(&self) -> Party {
        let Self { legal_name, address_lines, city, postcode, country, tax_id, registration, email, website, .. } =
            self.clone();
        let party = Party {
            name: legal_name,
            address_lines,
            city,
            postcode,
            country,
            registration,
            email,
            website,
            ..Party::default()
        };
        party.with_tax_id(tax_id)
    }
}

/// `[billing.dunning]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DunningSettings {
    /// Days overdue from which answers of the gateway say so.
    pub warn_days: u32,
    /// Days overdue from which routes with a module or a meter answer 402.
    pub restrict_days: u32,
    /// Days overdue from which nothing is served but signing in and paying.
    pub suspend_days: u32,
}

impl From<DunningSettings> for DunningPolicy {
    fn from(settings: DunningSettings) -> Self {
        let DunningSettings { warn_days, restrict_days, suspend_days } = settings;
        Self { warn_days, restrict_days, suspend_days }
    }
}

/// `[modules.NAME]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleSettings {
    /// What invoices and price lists call it.
    pub title: String,
    /// Price of a month beside a plan that does not include it, in the currency's smallest unit.
    pub price_minor: i64,
}

/// `[coupons.CODE]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CouponSettings {
    /// Percent off; this or `amount_off_minor`.
    pub percent_off: Option<u8>,
    /// Amount off, in the currency's smallest unit.
    pub amount_off_minor: Option<i64>,
    /// For so many calendar months, the present one included.
    pub months: u32,
}

impl CouponSettings {
    /// What it takes off; none if the settings are not valid.
    #[must_use]
    pub fn discount(&self) -> Option<Discount> {
        match (self.percent_off, self.amount_off_minor) {
            (Some(percent), None) => Some(Discount::PercentOff(percent)),
            (None, Some(amount)) => Some(Discount::AmountOffMinor(amount)),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

impl PlanSettings {
    /// The plan's figures as they are written down when it is first sold.
    #[must_use]
    pub fn figures(&self, currency: &str) -> PlanFigures {
        let Self {
            version: _,
            title: _,
            price_minor,
            trial_days,
            requests_per_minute,
            events_per_minute,
            modules,
            meters,
        } = self;
        PlanFigures {
            price_minor: *price_minor,
            currency: currency.to_owned(),
            trial_days: *trial_days,
            requests_per_minute: *requests_per_minute,
            events_per_minute: *events_per_minute,
            modules: modules.clone(),
            meters: meters.iter().map(|(meter, settings)| (meter.clone(), settings.figures())).collect(),
        }
    }
}

impl PlanMeterSettings {
    fn figures(&self) -> MeterFigures {
        let Self { included, overage_unit_price, soft_limit, hard_limit, thresholds, on_exceed, throttle_per_minute } =
            self;
        let mut thresholds = thresholds.clone();
        thresholds.sort_unstable();
        thresholds.dedup();
        // In its shortest form: 0.0020 is the same price as 0.002.
        let shortest =
            |text: &String| UnitPrice::parse(text).map_or_else(|_price| text.clone(), |price| price.to_string());
        MeterFigures {
            included: *included,
            overage_unit_price: overage_unit_price.as_ref().map(shortest),
            soft_limit: *soft_limit,
            hard_limit: *hard_limit,
            thresholds,
            on_exceed: *on_exceed,
            throttle_per_minute: *throttle_per_minute,
        }
    }
}
