//! The audit log: `platform.audit_log`, written in the transaction of what it tells.

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::audit::{AuditEvent, AuditSource};
use crate::domain::ids::AuditId;

/// Adds an event to the transaction's tenant.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, event: &AuditEvent) -> Result<(), DbError> {
    let AuditEvent { actor, action, target_kind, target_id, outcome, code, source, detail } = event;
    let AuditSource { ip, user_agent, request_id } = source;
    let tenant = tx.tenant().uuid();
    let (actor_kind, actor_id) = actor.parts();
    let ip = ip.map(|ip| ip.to_string());
    sqlx::query!(
        "INSERT INTO platform.audit_log (tenant_id, id, actor_kind, actor_id, action, target_kind, target_id, outcome,
                                         code, source_ip, user_agent, request_id, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::inet, $11, $12, $13)",
        tenant,
        clock::new_id::<AuditId>().uuid(),
        actor_kind,
        actor_id,
        *action,
        *target_kind,
        target_id.as_deref(),
        outcome.as_str(),
        *code,
        ip.as_deref(),
        user_agent.as_deref(),
        request_id.as_deref(),
        detail
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
