//! What a tenant has used in a period, by meter.

use crate::domain::meter::MeterName;
use crate::domain::quota::QuotaStatus;

/// A counter that a transaction has changed; its row stays locked until the transaction's end.
#[derive(Debug, Clone)]
pub struct CounterChange {
    /// The meter.
    pub meter: MeterName,
    /// Its figure before.
    pub before: i64,
    /// The row as it is now.
    pub now: QuotaStatus,
}
