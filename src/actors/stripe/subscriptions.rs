//! Changes of subscriptions that Stripe collects for.

use serde_json::{Value, json};

use super::{Desk, PaymentError};
use crate::domain::ids::TenantId;
use crate::domain::stripe::intent::{Intent, Operation};

/// When a subscription is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// With its period.
    WithPeriod,
    /// It goes on.
    Never,
    /// It goes on, although the portal had it end at a time.
    NeverAfterAll,
}

/// A change of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// Stripe's subscription.
    pub subscription: String,
    /// What it is to be made of beside what stays: (id of the item that it replaces, none for a new one; id of its price).
    pub items: Vec<(Option<String>, String)>,
    /// Items that go.
    pub removed: Vec<String>,
    /// When it ends.
    pub ends: Ends,
    /// The fact of the business, at most 100 characters: the same fact, the same change.
    pub key: String,
}

impl Desk {
    /// Changes what a subscription is made of. Stripe works out no difference: that is on our invoices.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn change_subscription(
        &self,
        tenant: TenantId,
        change: &SubscriptionChange,
    ) -> Result<Value, PaymentError> {
        let SubscriptionChange { subscription, items, removed, ends, key } = change;
        let kept = items.iter().map(|(id, price)| json!({ "id": id, "price": price }));
        let gone = removed.iter().map(|id| json!({ "id": id, "deleted": true }));
        let items: Vec<Value> = kept.chain(gone).collect();
        let mut params = match ends {
            Ends::WithPeriod => json!({ "cancel_at_period_end": true }),
            Ends::Never => json!({ "cancel_at_period_end": false }),
            // Empty text unsets it.
            Ends::NeverAfterAll => json!({ "cancel_at": "" }),
        };
        if let Some(params) = params.as_object_mut() {
            params.insert("proration_behavior".to_owned(), "none".into());
        }
        if let (false, Some(params)) = (items.is_empty(), params.as_object_mut()) {
            params.insert("items".to_owned(), items.into());
        }
        let intent = Intent {
            operation: Operation::UpdateSubscription,
            target: Some(subscription.clone()),
            params,
            key: format!("sub:change:{key}"),
        };
        match self.perform(tenant, &intent).await {
            // It was begun on another state of theirs: that one goes on, and whoever looks again sees what is missing.
            Err(PaymentError::KeyTaken(key)) => self.resume(tenant, &key).await,
            other => other,
        }
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
}
