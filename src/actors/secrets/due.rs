//! Rotates signing keys when they are due, for all tenants.
//!
//! The directory says which tenants are due and claims them for a minute, so that two processes never do the same ones. Whatever
//! fails or dies half-way is due again after that minute.

use std::time::Duration;

use super::{AdvanceKeys, SecretsActor};
use crate::actors::ask::ActorRef;
use crate::db::{Db, DbError, SystemReason, SystemTx, signing_keys};

/// Tenants that are claimed at once: all of them are done well within the minute of the claim.
const BATCH: i64 = 20;
/// Rest between two batches, so that many due tenants leave the secrets actor to those who wait for keys.
const REST: Duration = Duration::from_millis(50);
/// Longest wait for one tenant's rotation.
const ADVANCE_DEADLINE: Duration = Duration::from_secs(5);

/// Has the keys of all due tenants rotated; returns for how many tenants something was done.
///
/// # Errors
/// [`DbError`]: due tenants cannot be found. What was done before it is done.
pub async fn rotate_due(db: &Db, secrets: &ActorRef<SecretsActor>) -> Result<u64, DbError> {
    let system = SystemTx::new(db, SystemReason::RotateKeys);
    let mut n_rotated = 0;
    loop {
        let due = signing_keys::claim_due(&system, BATCH).await?;
        if due.is_empty() {
            return Ok(n_rotated);
        }
        for tenant in due {
            match secrets.ask(AdvanceKeys { tenant }, ADVANCE_DEADLINE).await {
                Ok(0) => {}
                Ok(n_steps) => {
                    n_rotated += 1;
                    tracing::info!(tenant.id = %tenant, n_steps, "the tenant's signing keys were rotated");
                }
                Err(error) => tracing::warn!(tenant.id = %tenant, %error, "signing keys wait for their rotation"),
            }
        }
        tokio::time::sleep(REST).await;
    }
}
