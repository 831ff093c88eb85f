//! Usage is set aside before a call and given back when the call is counted or given up: transactions, not an actor.
//!
//! Nothing is remembered in the process. What a killed process has set aside is given back when its time is over.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::actors::tenant::TenantView;
use crate::actors::tenants_in_turn::{ChoreError, note};
use crate::clock;
use crate::db::reservations::{self, NewReservation};
use crate::db::{Db, DbError, SystemReason, SystemTx, TenantTx, usage_counters};
use crate::domain::ids::{ReservationId, TenantId};
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::{QuotaStatus, standing};

/// Tenants of one look for expired reservations.
const TENANTS_AT_ONCE: i64 = 100;
/// Reservations of one transaction.
const RESERVATIONS_AT_ONCE: i64 = 1_000;

/// Usage was set aside, or need not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// What was set aside; None: the plan has no hard limit for the meter, and the database was not asked.
    pub id: Option<ReservationId>,
    /// The counter after it.
    pub quota: Option<QuotaStatus>,
}

/// Usage was not set aside.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// It would pass the hard limit.
    #[error("the hard limit of {limit} would be passed: {used} are used and {reserved} set aside")]
    Exceeded {
        /// The hard limit.
        limit: i64,
        /// Used in the period.
        used: i64,
        /// Set aside for other calls.
        reserved: i64,
        /// The period.
        period: Period,
    },
    /// The database did not do it.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Sets `quantity` (0 and up, in the meter's unit) aside under the plan's hard limit, for at most `ttl`. Used and set aside never pass
/// the limit together, however many calls ask at once and of whichever process.
///
/// # Errors
/// [`ReserveError`].
pub async fn reserve(
    db: &Db,
    view: &TenantView,
    meter: &MeterName,
    quantity: i64,
    ttl: Duration,
) -> Result<Reserved, ReserveError> {
    let limits = view.plan.meters.get(meter);
    let Some(hard) = limits.and_then(|limits| limits.hard) else {
        return Ok(Reserved { id: None, quota: None });
    };
    let now = clock::now();
    let id: ReservationId = clock::new_id();
    let new = NewReservation { id, meter, period: Period::containing(now), quantity, hard, ttl };
    let mut tx = TenantTx::begin(db, view.tenant.id).await?;
    if let Some(quota) = reservations::insert(&mut tx, &new).await? {
        tx.commit().await?;
        return Ok(Reserved { id: Some(id), quota: Some(quota) });
    }
    let quotas = usage_counters::list_current(&mut tx, now).await?;
    tx.finish();
    let stands = standing(limits, quotas.get(meter), now);
    Err(ReserveError::Exceeded { limit: hard, used: stands.used, reserved: stands.reserved, period: stands.period })
}

/// Gives back what was set aside for a call that will not be counted. Once; a second time changes nothing.
///
/// # Errors
/// [`DbError`]; then it is given back when its time is over.
pub async fn release(db: &Db, tenant: TenantId, id: ReservationId) -> Result<(), DbError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    reservations::give_back(&mut tx, &[id]).await?;
    tx.commit().await
}

/// Gives back everything whose time is over, of all tenants; returns how many reservations. Any number of processes may do it at
/// once. A tenant that fails is left to the next run, and the others have their turn.
///
/// # Errors
/// [`ChoreError`]; what was given back besides stays so.
pub async fn sweep(db: &Db) -> Result<u64, ChoreError> {
    let system = SystemTx::new(db, SystemReason::SweepReservations);
    let (mut n_swept, mut failed) = (0, BTreeSet::new());
    loop {
        // Those that failed are due still, and stand before the others.
        let n_wanted = TENANTS_AT_ONCE.saturating_add(i64::try_from(failed.len()).unwrap_or(i64::MAX));
        let mut n_of_round = 0;
        for tenant in reservations::list_tenants_with_expired(&system, n_wanted).await? {
            if failed.contains(&tenant) {
                continue;
            }
            match sweep_some_of(db, tenant).await {
                Ok(n) => n_of_round += n,
                Err(error) => {
                    note(tenant, error)?;
                    failed.insert(tenant);
                }
            }
        }
        n_swept += n_of_round;
        // Nothing was due, or somebody else was faster everywhere.
        if n_of_round == 0 {
            return ChoreError::unless_none(failed.len(), n_swept);
        }
    }
}

async fn sweep_some_of(db: &Db, tenant: TenantId) -> Result<u64, DbError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    let n = reservations::give_back_expired(&mut tx, RESERVATIONS_AT_ONCE).await?;
    tx.commit().await?;
    Ok(n)
}
