//! Plans: what a tenant may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalogue::PlanFigures;
use super::meter::MeterName;
use super::quota::MeterLimits;

/// A plan's figures, resolved for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// Usage events a minute that may be posted.
    pub events_per_minute: u32,
    /// Modules: those of the plan, and those that the tenant has taken beside it.
    pub modules: Vec<String>,
    /// Limits by meter; a meter that is not named is counted and not limited.
    pub meters: BTreeMap<MeterName, Arc<MeterLimits>>,
}

/// The platform's figures, for plans that name none.
#[derive(Debug, Clone, Copy)]
pub struct PlanDefaults {
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// Usage events a minute that may be posted.
    pub events_per_minute: u32,
}

impl Plan {
    /// What a version of a plan allows, with further modules.
    #[must_use]
    pub fn resolve<'a>(
        name: &str,
        version: u32,
        figures: &PlanFigures,
        further_modules: impl Iterator<Item = &'a str>,
        defaults: PlanDefaults,
    ) -> Self {
        let limit_version: Arc<str> = format!("{name}@{version}").into();
        let limits = |figures: &super::catalogue::MeterFigures| Arc::new(figures.limits(&limit_version));
        let mut modules = figures.modules.clone();
        modules.extend(further_modules.map(str::to_owned));
        Self {
            name: name.to_owned(),
            requests_per_minute: figures.requests_per_minute.unwrap_or(defaults.requests_per_minute),
            events_per_minute: figures.events_per_minute.unwrap_or(defaults.events_per_minute),
            modules,
            meters: figures.meters.iter().map(|(meter, figures)| (meter.clone(), limits(figures))).collect(),
        }
    }

    /// Whether the plan includes a module.
    #[must_use]
    pub fn includes(&self, module: &str) -> bool {
        self.modules.iter().any(|name| name == module)
    }
}
