//! Changes of subscriptions that Stripe collects for.

use serde_json::{Value, json};

use super::{Desk, PaymentError};
use crate::domain::ids::TenantId;
use crate::domain::stripe::intent::{Intent, Operation};

/// Who works out what a change in the middle of a period costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proration {
    /// We do: a line on our invoice.
    Ours,
    /// Stripe does, and collects at once.
    Stripes,
}

/// A change of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// Stripe's subscription.
    pub subscription: String,
    /// What it is to be made of, in place of what it is made of now: (id of the item, none for a new one; id of its price).
    pub items: Vec<(Option<String>, String)>,
    /// Items that go.
    pub removed: Vec<String>,
    /// Who works out the difference.
    pub proration: Proration,
    /// The fact of the business, at most 100 characters: the same fact, the same change.
    pub key: String,
}

impl Desk {
    /// Changes what a subscription is made of.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn change_subscription(
        &self,
        tenant: TenantId,
        change: &SubscriptionChange,
    ) -> Result<Value, PaymentError> {
        let SubscriptionChange { subscription, items, removed, proration, key } = change;
        let kept = items.iter().map(|(id, price)| json!({ "id": id, "price": price }));
        let gone = removed.iter().map(|id| json!({ "id": id, "deleted": true }));
        let behavior = match proration {
            Proration::Ours => "none",
            Proration::Stripes => "always_invoice",
        };
        let params = json!({ "items": kept.chain(gone).collect::<Vec<_>>(), "proration_behavior": behavior });
        self.update_subscription(tenant, subscription, params, format!("sub:change:{key}")).await
    }

    /// Has a subscription end with its period, or (`false`) go on after all. `key` is the fact of the business, at most 100
    /// characters.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn cancel_at_period_end(
        &self,
        tenant: TenantId,
        subscription: &str,
        is_ending: bool,
        key: &str,
    ) -> Result<Value, PaymentError> {
        let params = json!({ "cancel_at_period_end": is_ending });
        self.update_subscription(tenant, subscription, params, format!("sub:ending:{key}")).await
    }

    /// Ends a subscription at once. Nothing is charged or given back for it.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn cancel_now(&self, tenant: TenantId, subscription: &str) -> Result<Value, PaymentError> {
        let intent = Intent {
            operation: Operation::CancelSubscription,
            target: Some(subscription.to_owned()),
            params: json!({ "invoice_now": false, "prorate": false }),
            key: format!("sub:cancel:{subscription}"),
        };
        self.perform(tenant, &intent).await
    }

    async fn update_subscription(
        &self,
        tenant: TenantId,
        subscription: &str,
        params: Value,
        key: String,
    ) -> Result<Value, PaymentError> {
        let target = Some(subscription.to_owned());
        self.perform(tenant, &Intent { operation: Operation::UpdateSubscription, target, params, key }).await
    }
}
