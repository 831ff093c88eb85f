//! Rotates signing keys when they are due, for all tenants and all nodes.
//!
//! A reconciler: it asks the directory which tenants are due, which claims them for a minute so that other nodes leave them
//! alone, and has the secrets actor do what each one needs. Whatever fails or dies half-way is due again after that minute.

use std::time::Duration;

use super::ask::{ActorRef, ChildActor, Ctx};
use super::secrets::{AdvanceKeys, SecretsActor};
use crate::db::{Db, DbError, SystemReason, SystemTx, signing_keys};

/// Tenants that are claimed at once: all of them are done well within the minute of the claim.
const BATCH: i64 = 20;
/// Rest between two batches, so that many due tenants leave the secrets actor to those who wait for keys.
const REST: Duration = Duration::from_millis(50);
/// Longest wait for one tenant's rotation.
const ADVANCE_DEADLINE: Duration = Duration::from_secs(5);

/// Has due keys rotated.
#[derive(Debug)]
pub struct KeyRotator {
    db: Db,
    secrets: ActorRef<SecretsActor>,
    every: Duration,
}

impl KeyRotator {
    /// A rotator that looks `every` so often.
    #[must_use]
    pub fn new(db: Db, secrets: ActorRef<SecretsActor>, every: Duration) -> Self {
        Self { db, secrets, every }
    }

    fn look(&mut self, ctx: &mut Ctx<'_, Self>) {
        let (db, secrets) = (self.db.clone(), self.secrets.clone());
        ctx.spawn(async move { rotate_due(&db, &secrets).await }, |actor, done, ctx| {
            let pause = match done {
                Ok(n) if n == BATCH => REST,
                Ok(_) => actor.every,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "due signing keys cannot be found");
                    actor.every
                }
            };
            ctx.run_later(pause, Self::look);
        });
    }
}

/// One batch; returns how many tenants were in it.
async fn rotate_due(db: &Db, secrets: &ActorRef<SecretsActor>) -> Result<i64, DbError> {
    let system = SystemTx::new(db, SystemReason::RotateKeys);
    let due = signing_keys::claim_due(&system, BATCH).await?;
    let mut n = 0;
    for tenant in due {
        n += 1;
        match secrets.ask(AdvanceKeys { tenant }, ADVANCE_DEADLINE).await {
            Ok(0) => {}
            Ok(n_steps) => tracing::info!(tenant.id = %tenant, n_steps, "the tenant's signing keys were rotated"),
            Err(error) => tracing::warn!(tenant.id = %tenant, %error, "signing keys wait for their rotation"),
        }
    }
    Ok(n)
}

impl ChildActor for KeyRotator {
    const KIND: &'static str = "key_rotator";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        ctx.run_later(self.every, Self::look);
    }
}
