//! Plans: what a tenant may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::meter::MeterName;
use super::quota::MeterLimits;

/// A plan's figures, resolved from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// Usage events a minute that may be posted.
    pub events_per_minute: u32,
    /// Modules included.
    pub modules: Vec<String>,
    /// Limits by meter; a meter that is not named is counted and not limited.
    pub meters: BTreeMap<MeterName, Arc<MeterLimits>>,
}

impl Plan {
    /// Whether the plan includes a module.
    #[must_use]
    pub fn includes(&self, module: &str) -> bool {
        self.modules.iter().any(|name| name == module)
    }
}
