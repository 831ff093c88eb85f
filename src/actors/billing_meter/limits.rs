//! What is made of counted usage, in the transaction that counts it.

use crate::actors::tenant::TenantView;
use crate::db::usage_counters::CounterChange;
use crate::db::{DbError, TenantTx};

/// Announces the thresholds that `changes` crossed under the tenant's plan, each once.
///
/// # Errors
/// [`DbError`]; then nothing of the transaction may be committed.
pub async fn announce(tx: &mut TenantTx, view: &TenantView, changes: &[CounterChange]) -> Result<(), DbError> {
    let _ = (tx, view, changes);
    Ok(())
}
