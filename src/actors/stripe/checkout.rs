//! Checkouts: pages of Stripe's on which a tenant pays what it subscribes to, and leaves its card.
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
use crate::domain::money::{Currency, Money};
use crate::domain::order::Order;
use crate::domain::stripe::intent::{Intent, Operation};

/// A page lives for so many minutes; Stripe asks for 30 at least, from when it reads the request.
const LIFE_MIN: i64 = 40;

/// A page to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The tenant's customer.
    pub customer: String,
    /// What is bought.
    pub order: Order,
    /// What it is called, such as `Basic with CRM`.
    pub title: String,
    /// Where the browser goes when it is paid.
    pub success_url: String,
    /// Where it goes when it is left.
    pub cancel_url: String,
}

impl Checkout {
    /// What is left of the present period is paid at once, and the card is kept for the invoices that follow; where nothing is due at
    /// once, the card is only shown. Stripe's subscription begins afterwards: a page that began one would work out by itself what is
    /// due at once, and not as we do.
    fn params(&self, tenant: TenantId, id: CheckoutId) -> Result<Value, PaymentError> {
        let Self { customer, order, title, success_url, cancel_url } = self;
        let currency = order.currency.to_ascii_lowercase();
        let metadata = json!({ "tenant_id": tenant.to_string(), "checkout_id": id.to_string() });
        let mut params = json!({
            "customer": customer, "client_reference_id": tenant.to_string(), "success_url": success_url,
            "cancel_url": cancel_url, "expires_at": (clock::now() + TimeDelta::minutes(LIFE_MIN)).timestamp(),
            "metadata": metadata, "custom_text": { "submit": { "message": self.promise()? } },
        });
        let due_minor = order.due_minor()?;
        let rest = if due_minor == 0 {
            json!({
                "mode": "setup", "currency": currency, "allowed_payment_method_types": ["card"],
                "setup_intent_data": { "metadata": metadata },
            })
        } else {
            let until = (order.period().end - TimeDelta::nanoseconds(1)).date_naive();
            let name = format!("{title}, {} to {until}", order.at.date_naive());
            json!({
                // Ways to pay that take days would leave it open what holds until then.
                "allowed_payment_method_types": ["card"],
                "mode": "payment",
                "line_items": [{
                    "quantity": 1,
                    "price_data": { "currency": currency, "unit_amount": due_minor, "product_data": { "name": name } },
                }],
                "payment_intent_data": { "setup_future_usage": "off_session", "metadata": metadata },
            })
        };
        if let (Some(params), Value::Object(rest)) = (params.as_object_mut(), rest) {
            params.extend(rest);
        }
        Ok(params)
    }

    /// What the tenant agrees to, beside the button.
    fn promise(&self) -> Result<String, PaymentError> {
        let Self { order, title, .. } = self;
        let currency = Currency::parse(&order.currency)?;
        let monthly = Money { minor: order.terms.monthly_minor(), currency };
        let next = order.period().end.date_naive();
        Ok(format!(
            "{title}: {monthly} a month from {next} on, and usage beyond what is included, without tax, until you cancel."
        ))
    }
}

impl Desk {
    /// Opens a checkout, after ending the one that the tenant had open; returns the page's URL.
    ///
    /// # Errors
    /// [`PaymentError::CheckoutCompleted`] if the one before was paid; [`PaymentError`].
    pub async fn open_checkout(&self, tenant: TenantId, checkout: &Checkout) -> Result<String, PaymentError> {
        let id = clock::new_id::<CheckoutId>();
        let params = checkout.params(tenant, id)?;
        // Somebody else may begin one at the same time: theirs is ended, and then ours is the one.
        for _ in 0..3 {
            self.close_checkout(tenant).await?;
            let mut tx = TenantTx::begin(&self.db, tenant).await?;
            let is_ours = stripe_checkouts::insert(&mut tx, id, &params, &checkout.order).await?;
            tx.commit().await?;
            if is_ours {
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
            Some("complete") => {
                // Whatever became of the event: what it tells is known from now on.
                self.look_at("checkout.session", &session).await?;
                return Err(PaymentError::CheckoutCompleted);
            }
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
