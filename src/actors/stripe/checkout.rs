//! Checkouts: pages of Stripe's on which a tenant subscribes and pays.
//!
//! Two open pages could both be paid. So a tenant has at most one: the one before is ended first, and if it cannot be ended
//! because it was paid, there is nothing more to pay.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Desk, PaymentError, text};
use crate::clock;
use crate::db::stripe_checkouts::{self, OpenCheckoutRow};
use crate::db::{DbError, TenantTx};
use crate::domain::ids::{CheckoutId, TenantId};
use crate::domain::stripe::intent::{Intent, Operation};

/// A page lives for so many minutes; Stripe asks for 30 at least, from when it reads the request.
const LIFE_MIN: i64 = 40;

/// What is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The tenant's customer.
    pub customer: String,
    /// Ids of prices: the plan's and the modules'.
    pub prices: Vec<String>,
    /// Where the browser goes when it is paid.
    pub success_url: String,
    /// Where it goes when it is left.
    pub cancel_url: String,
    /// Days before the first payment, 1 to 730.
    pub trial_days: Option<u32>,
    /// Stripe's coupon.
    pub coupon: Option<String>,
    /// What the subscription carries besides the tenant's id, to be known again by.
    pub metadata: Vec<(String, String)>,
}

impl Checkout {
    /// Periods are calendar months in UTC, as ours are; what is left of the present month is paid at once, in proportion.
    fn params(&self, tenant: TenantId) -> Value {
        let lines: Vec<Value> = self.prices.iter().map(|price| json!({ "price": price, "quantity": 1 })).collect();
        let mut metadata = serde_json::Map::from_iter([("tenant_id".to_owned(), Value::from(tenant.to_string()))]);
        metadata.extend(self.metadata.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))));
        let mut params = json!({
            "mode": "subscription", "customer": self.customer, "client_reference_id": tenant.to_string(),
            "line_items": lines, "success_url": self.success_url, "cancel_url": self.cancel_url,
            "expires_at": (clock::now() + TimeDelta::minutes(LIFE_MIN)).timestamp(),
            "metadata": metadata,
            "subscription_data": {
                "metadata": metadata, "trial_period_days": self.trial_days,
                "billing_mode": { "type": "flexible" },
                "billing_cycle_anchor_config": { "day_of_month": 1, "hour": 0, "minute": 0, "second": 0 },
            },
        });
        if let (Some(coupon), Some(fields)) = (&self.coupon, params.as_object_mut()) {
            fields.insert("discounts".to_owned(), json!([{ "coupon": coupon }]));
        }
        params
    }
}

impl Desk {
    /// Opens a checkout, after ending the one that the tenant had open; returns the page's URL.
    ///
    /// # Errors
    /// [`PaymentError::CheckoutCompleted`] if the one before was paid; [`PaymentError`].
    pub async fn open_checkout(&self, tenant: TenantId, checkout: &Checkout) -> Result<String, PaymentError> {
        let params = checkout.params(tenant);
        // Somebody else may begin one at the same time: theirs is ended, and then ours is the one.
        for _ in 0..3 {
            self.close_checkout(tenant).await?;
            let mut tx = TenantTx::begin(&self.db, tenant).await?;
            let id = stripe_checkouts::insert(&mut tx, &params).await?;
            tx.commit().await?;
            if let Some(id) = id {
                let session = self.make_session(tenant, id, params).await?;
                return text(&session, "url", "checkout session");
            }
        }
        Err(DbError::Busy.into())
    }

    /// Ends the checkout that the tenant has open, if there is one. To be done before anything else is charged.
    ///
    /// # Errors
    /// [`PaymentError::CheckoutCompleted`] if it was paid; [`PaymentError`].
    pub async fn close_checkout(&self, tenant: TenantId) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let open = stripe_checkouts::find_open(&mut tx).await?;
        tx.finish();
        let Some(OpenCheckoutRow { id, session_id, params }) = open else { return Ok(()) };
        let session = match session_id {
            Some(session) => session,
            // Begun, and nobody knows how far it came: only who goes on with it learns its id.
            None => match self.make_session(tenant, CheckoutId::from(id), params).await {
                Ok(session) => text(&session, "id", "checkout session")?,
                Err(PaymentError::Refused { .. }) => return Ok(()),
                Err(error) => return Err(error),
            },
        };
        let path = format!("/v1/checkout/sessions/{session}");
        let now = self.fetch(&path).await?;
        match now.as_ref().and_then(|session| session.get("status")).and_then(Value::as_str) {
            Some("complete") => return Err(PaymentError::CheckoutCompleted),
            Some("open") => {
                let intent = Intent {
                    operation: Operation::ExpireCheckoutSession,
                    target: Some(session.clone()),
                    params: json!({}),
                    key: format!("checkout:expire:{session}"),
                };
                match self.perform(tenant, &intent).await {
                    Ok(ended) if ended.get("status").and_then(Value::as_str) == Some("expired") => {}
                    // It was paid in the meantime, or ran out.
                    Ok(_) | Err(PaymentError::Refused { .. }) => return self.close_ended(tenant, &session).await,
                    Err(error) => return Err(error),
                }
            }
            Some(_) | None => {}
        }
        self.note_closed(tenant, &session).await
    }

    /// Closes a checkout that Stripe would not end.
    async fn close_ended(&self, tenant: TenantId, session: &str) -> Result<(), PaymentError> {
        let now = self.fetch(&format!("/v1/checkout/sessions/{session}")).await?;
        match now.as_ref().and_then(|session| session.get("status")).and_then(Value::as_str) {
            Some("complete") => Err(PaymentError::CheckoutCompleted),
            Some("expired") | None => self.note_closed(tenant, session).await,
            Some(_) => Err(PaymentError::Unsettled(None)),
        }
    }

    async fn note_closed(&self, tenant: TenantId, session: &str) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        stripe_checkouts::close_session(&mut tx, session).await?;
        Ok(tx.commit().await?)
    }

    async fn make_session(&self, tenant: TenantId, id: CheckoutId, params: Value) -> Result<Value, PaymentError> {
        let intent =
            Intent { operation: Operation::CreateCheckoutSession, target: None, params, key: format!("checkout:{id}") };
        let made = self.perform(tenant, &intent).await;
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        match &made {
            Ok(session) => {
                stripe_checkouts::set_session(&mut tx, id, &text(session, "id", "checkout session")?).await?
            }
            Err(PaymentError::Refused { .. }) => stripe_checkouts::close_unmade(&mut tx, id).await?,
            Err(_) => {}
        }
        tx.commit().await?;
        made
    }
}
