//! Who has work at Stripe that waits: `billing.stripe_queue`, which triggers fill and empty.

use chrono::{DateTime, Utc};

use super::error::DbError;
use super::tx::SystemTx;
use crate::domain::ids::TenantId;

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StripeWork {
    /// A request whose outcome nobody knows.
    Request,
    /// A fact that our books have not followed.
    PaymentEvent,
    /// A subscription of ours that Stripe's is to follow.
    Subscription,
    /// An open invoice that nobody collects.
    Invoice,
    /// A collection that is not placed.
    Collection,
    /// A dispute that is not won.
    Dispute,
}

impl StripeWork {
    fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::PaymentEvent => "payment_event",
            Self::Subscription => "subscription",
            Self::Invoice => "invoice",
            Self::Collection => "collection",
            Self::Dispute => "dispute",
        }
    }
}

/// Up to `n` tenants with work of a kind that is due, the longest waiting first.
///
/// # Errors
/// [`DbError`].
pub async fn list_tenants(tx: &SystemTx<'_>, work: StripeWork, n: i64) -> Result<Vec<TenantId>, DbError> {
    let rows = sqlx::query_scalar!(
        r#"SELECT tenant_id AS "tenant_id!" FROM billing.list_tenants_with_stripe_work($1, $2)"#,
        work.as_str(),
        n
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}

/// Puts off for a minute what of a tenant was due at `looked_at` and is still there.
///
/// # Errors
/// [`DbError`].
pub async fn put_off(tx: &SystemTx<'_>, tenant: TenantId, looked_at: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("SELECT billing.put_off_stripe_work($1, $2)", tenant.uuid(), looked_at).execute(tx.pool).await?;
    Ok(())
}
