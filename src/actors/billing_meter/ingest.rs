//! Taking in a batch of one tenant's events: resolve the tenant, count in one transaction, tell the supervisor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::count::{self, Counted};
use super::messages::RecordUsageError;
use super::metrics::{MeterMetrics, Via};
use super::spool::Spool;
use crate::actors::ask::ActorRef;
use crate::actors::tenant::registry::RegistryActor;
use crate::actors::tenant::{ResolveError, TenantHandle, TenantRegistry, UsageCounted, Wanted};
use crate::clock;
use crate::config::Settings;
use crate::db::{Db, DbError};
use crate::domain::ids::TenantId;
use crate::domain::quota::Quotas;
use crate::domain::usage::{UsageAnswer, UsageEvent};
use crate::domain::usage_intake::{IntakeRules, MeterRule};

/// A transaction that had to give way is tried so often.
const ATTEMPTS: usize = 4;
/// Longest wait for all of them: statements have deadlines in the database, but a database whose machine has vanished keeps none.
const LONGEST: Duration = Duration::from_secs(60);

/// What it takes to count.
#[derive(Debug)]
pub struct MeterContext {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub db: Db,
    /// Finds tenants: their plans.
    pub registry: Arc<TenantRegistry>,
    /// Starts those that are not active.
    pub registry_actor: ActorRef<RegistryActor>,
    /// Where the gateway writes down what was used.
    pub spool: Arc<Spool>,
    /// What is counted of it.
    pub metrics: MeterMetrics,
    /// Which events are taken in.
    pub rules: IntakeRules,
}

/// The rules as the settings have them.
#[must_use]
pub fn rules_of(settings: &Settings) -> IntakeRules {
    let rule = |meter: &crate::config::MeterSettings| MeterRule {
        aggregation: meter.aggregation,
        unique_by: meter.unique_by.clone(),
    };
    IntakeRules {
        meters: settings.meters.iter().map(|(name, meter)| (name.clone(), rule(meter))).collect(),
        max_age: chrono::TimeDelta::days(i64::from(settings.metering.max_age_days)),
        late_grace: chrono::TimeDelta::hours(i64::from(settings.metering.late_grace_h)),
    }
}

impl MeterContext {
    /// Counts a batch; returns what became of each event, in their order, after the commit.
    pub(super) async fn take_in(
        &self,
        via: Via,
        tenant: TenantId,
        events: &[&UsageEvent],
    ) -> Result<Vec<UsageAnswer>, RecordUsageError> {
        let handle =
            self.registry.resolve(&self.registry_actor, Wanted::Id(tenant)).await.map_err(|error| match error {
                ResolveError::Unknown => RecordUsageError::Gone,
                ResolveError::Unavailable => RecordUsageError::Unavailable,
            })?;
        let started = Instant::now();
        let counted = tokio::time::timeout(LONGEST, self.attempt(via, &handle, events)).await;
        let counted = counted.unwrap_or(Err(DbError::Silent)).map_err(|error| outward(tenant, &error))?;
        self.metrics.transactions.observe(started.elapsed().as_secs_f64());
        self.metrics.count(via, &counted.answers);
        tell(&handle, counted.quotas);
        Ok(counted.answers)
    }

    async fn attempt(&self, via: Via, handle: &TenantHandle, events: &[&UsageEvent]) -> Result<Counted, DbError> {
        let mut n_left = ATTEMPTS;
        loop {
            n_left -= 1;
            match count::count(self, via, handle, events, clock::now()).await {
                Err(DbError::GaveWay(_)) if n_left > 0 => {}
                other => return other,
            }
        }
    }
}

/// Lets this process's gateway see the new figures. Whoever misses this reads them from the database.
fn tell(handle: &TenantHandle, quotas: Quotas) {
    if quotas.is_empty() {
        return;
    }
    if let Some(supervisor) = handle.supervisor()
        && let Err(error) = supervisor.tell(UsageCounted { quotas })
    {
        tracing::warn!(tenant.id = %handle.id(), %error, "the tenant's supervisor did not hear of counted usage");
    }
}

fn outward(tenant: TenantId, error: &DbError) -> RecordUsageError {
    let cause = error as &dyn std::error::Error;
    match error {
        DbError::Busy => RecordUsageError::Overloaded,
        DbError::Unavailable(_)
        | DbError::Silent
        | DbError::Timeout(_)
        | DbError::GaveWay(_)
        | DbError::OutcomeUnknown(_) => {
            tracing::warn!(tenant.id = %tenant, error = cause, "usage could not be counted");
            RecordUsageError::Unavailable
        }
        DbError::Corrupt(_) | DbError::Statement(_) => {
            tracing::error!(tenant.id = %tenant, error = cause, "the database refuses to count usage");
            RecordUsageError::Broken
        }
        DbError::Constraint { .. } | DbError::BadValue(_) => {
            tracing::error!(tenant.id = %tenant, error = cause, "usage could not be counted");
            RecordUsageError::Failed
        }
    }
}
