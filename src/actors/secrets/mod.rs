//! The secrets actor: the only part of the program that reads keys, on connections of its own (role `app_secrets`).

mod keys;
mod messages;

use std::sync::Arc;

pub use keys::{KeysError, NewTenantKeys, TenantKeys, make_tenant_keys};
pub use messages::UnlockTenant;

use super::ask::{ChildActor, Ctx, Handle, Responder};
use crate::clients::kms::MasterKey;
use crate::db::{Db, TenantTx, data_keys, signing_keys};
use crate::domain::ids::TenantId;

/// Opens tenants' keys with the master key.
#[derive(Debug)]
pub struct SecretsActor {
    db: Db,
    master: Arc<MasterKey>,
}

impl SecretsActor {
    /// An actor over the pool of role `app_secrets`.
    #[must_use]
    pub fn new(db: Db, master: Arc<MasterKey>) -> Self {
        Self { db, master }
    }
}

impl ChildActor for SecretsActor {
    const KIND: &'static str = "secrets";
}

impl Handle<UnlockTenant> for SecretsActor {
    fn handle(&mut self, message: UnlockTenant, responder: Responder<UnlockTenant>, ctx: &mut Ctx<'_, Self>) {
        let (db, master) = (self.db.clone(), Arc::clone(&self.master));
        let work = async move { unlock(&db, &master, message.tenant).await };
        ctx.spawn(work, |_actor, keys, _ctx| responder.answer(keys));
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
    tx.finish();
    TenantKeys::open(master, tenant, &data_keys, &signing_keys)
}
