//! The secrets actor: the only part of the program that reads keys, on connections of its own (role `app_secrets`), and the one
//! that turns signing keys over.

mod due;
mod keys;
mod messages;
mod rotation;
mod stored;

pub use due::rotate_due;
pub use keys::{KeysError, NewTenantKeys, NewTenantSigningKey, TenantKeys, make_tenant_keys};
pub use messages::{AdvanceKeys, OpenSecret, ReplaceKeys, SealSecret, StoredSecret, UnlockTenant};
pub use stored::seal_secret;

use std::sync::Arc;

use super::ask::{ChildActor, Ctx, Handle, Request, Responder};
use crate::clients::kms::MasterKey;
use crate::db::{Db, TenantTx, data_keys, signing_keys};
use crate::domain::ids::TenantId;
use crate::domain::key_rotation::RotationPolicy;
use crate::domain::token::KeyAlgorithm;

/// What the secrets actor works with.
#[derive(Debug, Clone)]
pub struct SecretsContext {
    /// The database.
    pub db: Db,
    /// Opens data keys.
    pub master: Arc<MasterKey>,
    /// How long signing keys live.
    pub policy: RotationPolicy,
    /// Algorithm of new signing keys.
    pub algorithm: KeyAlgorithm,
}

/// Opens tenants' keys with the master key.
#[derive(Debug)]
pub struct SecretsActor {
    context: SecretsContext,
}

impl SecretsActor {
    /// An actor over the pool of role `app_secrets`.
    #[must_use]
    pub fn new(context: SecretsContext) -> Self {
        Self { context }
    }

    /// Works on a message beside the mailbox.
    fn run<M, W>(
        &self,
        message: M,
        responder: Responder<M>,
        ctx: &mut Ctx<'_, Self>,
        work: impl FnOnce(SecretsContext, M) -> W,
    ) where
        M: Request<Refusal = KeysError>,
        W: Future<Output = Result<M::Reply, KeysError>> + 'static,
    {
        ctx.spawn(work(self.context.clone(), message), |_actor, result, _ctx| responder.answer(result));
    }
}

impl ChildActor for SecretsActor {
    const KIND: &'static str = "secrets";
}

impl Handle<UnlockTenant> for SecretsActor {
    fn handle(&mut self, message: UnlockTenant, responder: Responder<UnlockTenant>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move {
            unlock(&context.db, &context.master, message.tenant).await
        });
    }
}

impl Handle<SealSecret> for SecretsActor {
    fn handle(&mut self, message: SealSecret, responder: Responder<SealSecret>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move {
            seal_secret(&context.db, &context.master, message).await
        });
    }
}

impl Handle<OpenSecret> for SecretsActor {
    fn handle(&mut self, message: OpenSecret, responder: Responder<OpenSecret>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move { stored::open(&context, message).await });
    }
}

impl Handle<AdvanceKeys> for SecretsActor {
    fn handle(&mut self, message: AdvanceKeys, responder: Responder<AdvanceKeys>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move {
            rotation::advance(&context, message.tenant).await
        });
    }
}

impl Handle<ReplaceKeys> for SecretsActor {
    fn handle(&mut self, message: ReplaceKeys, responder: Responder<ReplaceKeys>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move { rotation::replace(&context, message).await });
    }
}

/// A tenant's keys, for commands that run without actors.
///
/// # Errors
/// [`KeysError`].
pub async fn unlock(db: &Db, master: &MasterKey, tenant: TenantId) -> Result<TenantKeys, KeysError> {
    let mut tx = TenantTx::begin_secrets(db, tenant).await?;
    let data_keys = data_keys::list(&mut tx).await?;
    let signing_keys = signing_keys::list(&mut tx).await?;
    let secrets = stored::open_of_tenant(&mut tx, master, &data_keys).await?;
    tx.finish();
    TenantKeys::open(master, tenant, &data_keys, &signing_keys, secrets)
}
