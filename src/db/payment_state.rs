//! Where a subscription stands with its payments.

use serde_json::json;

use super::error::DbError;
use super::tx::TenantTx;
use super::{audit, subscriptions, tenants};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::subscription::{DunningPolicy, Subscription, SubscriptionStatus};

/// A subscription that stands otherwise than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusChange {
    /// Before.
    pub from: SubscriptionStatus,
    /// Now.
    pub to: SubscriptionStatus,
    /// Version of the tenant's configuration then: every node reads the tenant again.
    pub config_version: i64,
}

/// Makes the subscription stand as its oldest unpaid invoice says, which is so many days overdue (none = nothing is overdue), and
/// notes why in the audit trail; `None` if it stands so already, or if there is no subscription. May be called again and again, in any
/// order: only the facts count. Locks the tenant's row and its subscription.
///
/// # Errors
/// [`DbError`].
pub async fn set_payment_state(
    tx: &mut TenantTx,
    policy: &DunningPolicy,
    overdue_days: Option<u32>,
    reason: &str,
) -> Result<Option<StatusChange>, DbError> {
    let tenant = tenants::lock_plan(tx).await?;
    let Some(before) = subscriptions::lock(tx).await? else { return Ok(None) };
    let status = policy.status(before.stage(), overdue_days);
    if status == before.status {
        return Ok(None);
    }
    let from = before.status;
    let after = Subscription { status, revision: before.revision + 1, ..before };
    subscriptions::upsert(tx, &after).await?;
    let config_version = tenants::set_plan(tx, &tenant.plan).await?;
    let event = AuditEvent {
        actor: AuditActor::System,
        action: "subscription.status",
        target_kind: "subscription",
        target_id: Some(after.id.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: AuditSource::default(),
        detail: json!({ "from": from, "to": status, "overdue_days": overdue_days, "reason": reason }),
    };
    audit::insert(tx, &event).await?;
    Ok(Some(StatusChange { from, to: status, config_version }))
}
