//! The scribe: writes down what requests note in passing, so that no request waits for it. That is when an API key was last
//! used, and who was refused. Both notes are bounded. A process that is killed loses those of the last moments; an orderly stop
//! writes them.

mod denials;
mod key_uses;

use std::sync::Arc;
use std::time::Duration;

pub use denials::{Denials, Tally};
pub use key_uses::KeyUses;

use super::ask::{ChildActor, Ctx};
use crate::db::{Db, DbError, TenantTx, api_keys, audit, scim_tokens};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::{ApiKeyId, ScimTokenId, TenantId};

/// How often refusals are written.
const DENIALS_EVERY: Duration = Duration::from_secs(1);

/// What requests note.
#[derive(Debug)]
pub struct Notes {
    /// When API keys were last used.
    pub key_uses: KeyUses<ApiKeyId>,
    /// When tokens of identity providers were last used.
    pub scim_uses: KeyUses<ScimTokenId>,
    /// Who was refused.
    pub denials: Denials,
}

impl Notes {
    /// Empty notes that keep `denials_per_minute` refusals of each tenant a minute.
    #[must_use]
    pub fn new(denials_per_minute: u32) -> Self {
        Self { key_uses: KeyUses::default(), scim_uses: KeyUses::default(), denials: Denials::new(denials_per_minute) }
    }
}

/// Writes the notes.
pub struct Scribe {
    db: Db,
    notes: Arc<Notes>,
    key_uses_every: Duration,
}

impl Scribe {
    /// A scribe that writes the uses of keys so often.
    #[must_use]
    pub fn new(db: Db, notes: Arc<Notes>, key_uses_every: Duration) -> Self {
        Self { db, notes, key_uses_every }
    }

    fn write_denials(&mut self, ctx: &mut Ctx<'_, Self>) {
        let (db, notes) = (self.db.clone(), Arc::clone(&self.notes));
        ctx.spawn(async move { write_denials(&db, &notes).await }, |_actor, (), ctx| {
            ctx.run_later(DENIALS_EVERY, Self::write_denials);
        });
    }

    fn write_key_uses(&mut self, ctx: &mut Ctx<'_, Self>) {
        let (db, notes) = (self.db.clone(), Arc::clone(&self.notes));
        ctx.spawn(async move { write_key_uses(&db, &notes).await }, |actor, (), ctx| {
            ctx.run_later(actor.key_uses_every, Self::write_key_uses);
        });
    }
}

impl ChildActor for Scribe {
    const KIND: &'static str = "scribe";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        ctx.run_later(DENIALS_EVERY, Self::write_denials);
        ctx.run_later(self.key_uses_every, Self::write_key_uses);
    }

    async fn stopping(self) {
        write_denials(&self.db, &self.notes).await;
        write_key_uses(&self.db, &self.notes).await;
    }
}

async fn write_key_uses(db: &Db, notes: &Notes) {
    for (tenant, uses) in notes.key_uses.take() {
        let work = async {
            let mut tx = TenantTx::begin(db, tenant).await?;
            let uses: Vec<(ApiKeyId, _)> = uses;
            api_keys::record_uses(&mut tx, &uses).await?;
            tx.commit().await
        };
        if let Err(error) = work.await {
            tracing::warn!(tenant.id = %tenant, %error, "when API keys were last used was not written");
        }
    }
    for (tenant, uses) in notes.scim_uses.take() {
        let work = async {
            let mut tx = TenantTx::begin(db, tenant).await?;
            scim_tokens::record_uses(&mut tx, &uses).await?;
            tx.commit().await
        };
        if let Err(error) = work.await {
            tracing::warn!(tenant.id = %tenant, %error, "when SCIM tokens were last used was not written");
        }
    }
}

async fn write_denials(db: &Db, notes: &Notes) {
    for (tenant, tally) in notes.denials.take(crate::clock::now_s()) {
        let n = tally.events.len();
        if let Err(error) = write_tally(db, tenant, tally).await {
            tracing::warn!(tenant.id = %tenant, %error, n, "refusals were not written to the audit log");
        }
    }
}

async fn write_tally(db: &Db, tenant: TenantId, tally: Tally) -> Result<(), DbError> {
    let Tally { events, n_left_out } = tally;
    let mut tx = TenantTx::begin(db, tenant).await?;
    for event in &events {
        audit::insert(&mut tx, event).await?;
    }
    if n_left_out > 0 {
        audit::insert(&mut tx, &left_out(n_left_out)).await?;
    }
    tx.commit().await
}

/// The row that stands for the refusals that have none of their own.
fn left_out(n: u64) -> AuditEvent {
    AuditEvent {
        actor: AuditActor::System,
        action: "request.deny_more",
        target_kind: "route",
        target_id: None,
        outcome: AuditOutcome::Denied,
        code: None,
        source: AuditSource::default(),
        detail: serde_json::json!({ "n_left_out": n }),
    }
}
