//! Turning a tenant's signing keys over, by the clock and in an emergency. Each in one transaction, with its audit rows; a lock
//! keeps two nodes, or a node and an admin, from doing it at once.

use serde_json::json;

use super::SecretsContext;
use super::keys::{KeysError, NewTenantSigningKey, make_signing_key};
use super::messages::ReplaceKeys;
use crate::clock;
use crate::db::signing_keys::NewSigningKey;
use crate::db::{TenantTx, audit, data_keys, signing_keys};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::TenantId;
use crate::domain::key_rotation::{RotationStep, due, next_due};

/// Does what is due of the tenant's rotation; returns the number of steps.
pub(super) async fn advance(context: &SecretsContext, tenant: TenantId) -> Result<usize, KeysError> {
    let policy = &context.policy;
    let mut tx = TenantTx::begin_secrets(&context.db, tenant).await?;
    signing_keys::lock(&mut tx).await?;
    let steps = due(&signing_keys::list_times(&mut tx).await?, policy, clock::now());
    for step in &steps {
        let (action, kid) = match step {
            RotationStep::Publish => {
                let new = make(context, &mut tx).await?;
                signing_keys::insert_pending(&mut tx, &row(&new)).await?;
                ("signing_key.publish", new.kid)
            }
            RotationStep::Activate { kid } => {
                signing_keys::activate(&mut tx, kid).await?;
                ("signing_key.activate", kid.clone())
            }
            RotationStep::Remove { kid } => {
                signing_keys::delete(&mut tx, kid).await?;
                ("signing_key.remove", kid.clone())
            }
        };
        let event = event(AuditActor::System, action, kid, AuditSource::default());
        audit::insert(&mut tx, &event).await?;
    }
    // Last: every change of a key has them looked at soon.
    let next = next_due(&signing_keys::list_times(&mut tx).await?, policy, clock::now());
    signing_keys::schedule(&mut tx, next).await?;
    tx.commit().await?;
    Ok(steps.len())
}

/// Drops all keys of the tenant and has a new one sign at once; returns its id.
pub(super) async fn replace(context: &SecretsContext, message: ReplaceKeys) -> Result<String, KeysError> {
    let ReplaceKeys { tenant, actor, source } = message;
    let mut tx = TenantTx::begin_secrets(&context.db, tenant).await?;
    signing_keys::lock(&mut tx).await?;
    let new = make(context, &mut tx).await?;
    signing_keys::delete_all(&mut tx).await?;
    signing_keys::insert_active(&mut tx, &row(&new)).await?;
    audit::insert(&mut tx, &event(actor, "signing_key.replace_all", new.kid.clone(), source)).await?;
    tx.commit().await?;
    Ok(new.kid)
}

async fn make(context: &SecretsContext, tx: &mut TenantTx) -> Result<NewTenantSigningKey, KeysError> {
    let data_keys = data_keys::list(tx).await?;
    make_signing_key(&context.master, tx.tenant(), &data_keys, context.algorithm)
}

fn row(new: &NewTenantSigningKey) -> NewSigningKey<'_> {
    NewSigningKey {
        kid: &new.kid,
        algorithm: new.algorithm,
        public_jwk: &new.public_jwk,
        private_key_enc: &new.private_key_enc,
    }
}

fn event(actor: AuditActor, action: &'static str, kid: String, source: AuditSource) -> AuditEvent {
    AuditEvent {
        actor,
        action,
        target_kind: "signing_key",
        target_id: Some(kid),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: json!({}),
    }
}
