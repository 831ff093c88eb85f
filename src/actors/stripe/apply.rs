//! From an object of Stripe's to facts in our books.

use serde_json::{Value, json};

use crate::clock;
use crate::db::{DbError, TenantTx, audit, payment_events, stripe_checkouts};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::stripe::facts::{Fact, FactKind, facts};

/// Notes what `object` says that `before` did not, in the transaction that stores the object; returns how many facts are new.
///
/// # Errors
/// [`DbError`].
pub(super) async fn apply(
    tx: &mut TenantTx,
    before: Option<&Value>,
    object: &Value,
    revision: i64,
) -> Result<u64, DbError> {
    let mut n_new = 0;
    for fact in facts(before, object, revision, clock::now()) {
        if let FactKind::CheckoutCompleted | FactKind::CheckoutExpired = fact.kind {
            stripe_checkouts::close_session(tx, &fact.object_id).await?;
        }
        if payment_events::insert(tx, &fact).await? {
            audit::insert(tx, &told(&fact)).await?;
            n_new += 1;
        }
    }
    Ok(n_new)
}

fn told(fact: &Fact) -> AuditEvent {
    let (minor, currency) = fact.amount.as_ref().map(|(minor, currency)| (minor, currency)).unzip();
    AuditEvent {
        actor: AuditActor::System,
        action: "payment.note",
        target_kind: "stripe_object",
        target_id: Some(fact.object_id.clone()),
        outcome: AuditOutcome::Success,
        code: None,
        source: AuditSource::default(),
        detail: json!({ "kind": fact.kind.as_str(), "amount_minor": minor, "currency": currency }),
    }
}
