//! Our books follow what happened at Stripe: each fact once, in the transaction that notes that they have.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, PaymentError, text};
use crate::actors::billing::dunning;
use crate::actors::billing::issue::{Issue, issue};
use crate::actors::billing::payment::{By, pay};
use crate::actors::subscriptions::{self, SubscribeError, due};
use crate::clock;
use crate::db::invoices::{self, InvoiceKind};
use crate::db::payment_events::{self, PaymentEventRow};
use crate::db::stripe_collections::{self, CollectionState};
use crate::db::{
    DbError, TenantTx, stream_events, stripe_checkouts, stripe_customers, subscriptions as subscription_rows, tenants,
};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::ids::{CheckoutId, CollectionId, InvoiceId, PaymentEventId, TenantId};
use crate::domain::stripe::facts::default_card;

/// Facts that are followed in one go.
const FACTS: i64 = 100;

/// By whom what Stripe tells is done.
fn stripe() -> By {
    By { actor: AuditActor::System, source: AuditSource::default() }
}

impl Desk {
    /// Follows what is noted of a tenant, in order; returns how many facts.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn follow_facts(&self, tenant: TenantId) -> Result<u64, PaymentError> {
        let mut n_followed = 0;
        loop {
            let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
            let facts = payment_events::list_open(&mut tx, FACTS).await?;
            tx.finish();
            if facts.is_empty() {
                return Ok(n_followed);
            }
            // One that cannot be followed keeps no other waiting: their order does not matter.
            let mut first_error = None;
            for fact in facts {
                match self.follow_fact(tenant, &fact).await {
                    Ok(()) => n_followed += 1,
                    Err(error) => first_error = first_error.or(Some(error)),
                }
            }
            if let Some(error) = first_error {
                return Err(error);
            }
        }
    }

    async fn follow_fact(&self, tenant: TenantId, fact: &PaymentEventRow) -> Result<(), PaymentError> {
        match fact.kind.as_str() {
            "checkout_completed" => self.fulfil(tenant, fact).await,
            "invoice_drafted" | "invoice_opened" => {
                if let Some(theirs) = self.fetch(&format!("/v1/invoices/{}", fact.object_id)).await? {
                    self.match_invoice(tenant, &theirs).await?;
                }
                self.note_followed(tenant, fact, async |_tx| Ok(())).await
            }
            "invoice_paid" => self.note_paid(tenant, fact).await,
            "payment_failed" | "invoice_voided" | "invoice_uncollectible" | "dispute_opened" | "dispute_closed" => {
                self.note_trouble(tenant, fact).await
            }
            "subscription_changed" => self.follow_end(tenant, fact).await,
            "customer_deleted" => self.follow_loss(tenant, fact).await,
            "card_changed" => self.follow_card(tenant, fact).await,
            // What was done by hand at Stripe is in the audit trail, and changes no invoice of ours.
            _ => self.note_followed(tenant, fact, async |_tx| Ok(())).await,
        }
    }

    /// Does `work` and notes that a fact was followed, together; nothing if it was followed before.
    async fn note_followed(
        &self,
        tenant: TenantId,
        fact: &PaymentEventRow,
        work: impl AsyncFnOnce(&mut TenantTx) -> Result<(), PaymentError>,
    ) -> Result<(), PaymentError> {
        let id = PaymentEventId::from(fact.id);
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        if !payment_events::lock_open(&mut tx, id).await? {
            tx.finish();
            return Ok(());
        }
        work(&mut tx).await?;
        payment_events::mark_applied(&mut tx, id).await?;
        Ok(tx.commit().await?)
    }

    /// A checkout was paid: the subscription is what was ordered, and what was paid at once is on an invoice.
    async fn fulfil(&self, tenant: TenantId, fact: &PaymentEventRow) -> Result<(), PaymentError> {
        let id = fact.detail.pointer("/metadata/checkout_id").and_then(Value::as_str);
        let Some(checkout) = id.and_then(|id| id.parse::<Uuid>().ok()).map(CheckoutId::from) else {
            tracing::warn!(tenant.id = %tenant, session = fact.object_id, "a checkout was paid that is none of ours");
            return self.note_followed(tenant, fact, async |_tx| Ok(())).await;
        };
        let card = self.card_of(&fact.detail).await?;
        let reference = fact.detail.get("payment_intent").and_then(Value::as_str);
        let customer = fact.detail.get("customer").and_then(Value::as_str);
        let paid_minor = fact.amount_minor.unwrap_or(0);
        let paid_at = fact.occurred_at;
        self.note_followed(tenant, fact, async |tx| {
            let Some(order) = stripe_checkouts::find_order(tx, checkout).await? else {
                tracing::error!(tenant.id = %tenant, %checkout, "a checkout was paid of which no order is known");
                return Ok(());
            };
            let sums = |_sum: crate::domain::money::MoneyError| DbError::Corrupt("stripe_checkouts.bought");
            let due_minor = order.due_minor().map_err(sums)?;
            if paid_minor != due_minor {
                tracing::error!(tenant.id = %tenant, %checkout, paid_minor, due_minor, "a checkout was paid with another sum");
            }
            let is_charged = order.is_invoiced_at_once().map_err(sums)?;
            subscriptions::fulfil(tx, &self.settings, &order, is_charged, clock::now()).await?;
            if is_charged {
                let closed = order.invoice().map_err(sums)?;
                let new = Issue {
                    kind: InvoiceKind::Interim,
                    key: checkout.to_string(),
                    period: order.period(),
                    closed: &closed,
                    items: &[],
                };
                let invoice = issue(tx, &self.settings, &new).await?;
                pay(tx, &self.settings, invoice, paid_at, reference, stripe()).await?;
            }
            Ok(stripe_customers::set_payment_method(tx, &card, customer).await?)
        })
        .await
    }

    /// The card that was used or shown at a checkout.
    async fn card_of(&self, detail: &Value) -> Result<String, PaymentError> {
        let id = |name| detail.get(name).and_then(Value::as_str);
        let path = match (id("payment_intent"), id("setup_intent")) {
            (Some(payment), _) => format!("/v1/payment_intents/{payment}"),
            (None, Some(setup)) => format!("/v1/setup_intents/{setup}"),
            (None, None) => return Err(PaymentError::Malformed("checkout session")),
        };
        let intent = self.fetch(&path).await?.ok_or(PaymentError::Malformed("checkout session"))?;
        text(&intent, "payment_method", "payment intent")
    }

    /// An invoice of Stripe's was paid: so is ours, once everything that collects it is.
    async fn note_paid(&self, tenant: TenantId, fact: &PaymentEventRow) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let mut collection = stripe_collections::find(&mut tx, &fact.object_id).await?;
        tx.finish();
        if collection.is_none() {
            // What tells that it was drafted or opened may come later.
            if let Some(theirs) = self.fetch(&format!("/v1/invoices/{}", fact.object_id)).await? {
                self.match_invoice(tenant, &theirs).await?;
            }
            let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
            collection = stripe_collections::find(&mut tx, &fact.object_id).await?;
            tx.finish();
        }
        if let Some(drafted) = collection
            && drafted.state()? == CollectionState::Drafted
        {
            // Whether it collects what it should is not noted yet.
            self.place(tenant, &drafted).await?;
        }
        let paid_at = fact.occurred_at;
        self.note_followed(tenant, fact, async |tx| {
            // What is due is not changed by a credit note meanwhile.
            tenants::lock_plan(tx).await?;
            let Some(collection) = stripe_collections::find(tx, &fact.object_id).await? else { return Ok(()) };
            let id = CollectionId::from(collection.id);
            stripe_collections::set_paid(tx, id).await?;
            let Some(ours) = collection.invoice_id else { return Ok(()) };
            let Some(invoice) = invoices::find(tx, InvoiceId::from(ours)).await? else { return Ok(()) };
            if invoice.status != "open" {
                // It was paid by other means, or taken back: this money goes back to the card.
                stripe_collections::withdraw_one(tx, id).await?;
            } else if stripe_collections::sum_paid(tx, ours).await? >= invoice.due_minor() {
                let reference = Some(fact.object_id.as_str());
                pay(tx, &self.settings, invoice.invoice_id(), paid_at, reference, stripe()).await?;
            }
            // One that failed before is trouble no more, whether or not the whole is paid.
            dunning::restate(tx, &self.settings, clock::now(), "a payment came in").await?;
            Ok(())
        })
        .await
    }

    /// A payment failed or is disputed, or that is over: the subscription stands as the policy says.
    async fn note_trouble(&self, tenant: TenantId, fact: &PaymentEventRow) -> Result<(), PaymentError> {
        let (kind, reason) = (fact.kind.as_str(), fact.kind.replace('_', " "));
        self.note_followed(tenant, fact, async |tx| {
            dunning::restate(tx, &self.settings, clock::now(), &reason).await?;
            if kind == "payment_failed" || kind == "dispute_opened" {
                // A dispute names a charge and no invoice.
                let collection = stripe_collections::find(tx, &fact.object_id).await?;
                let facts = json!({
                    "invoice": collection.and_then(|collection| collection.invoice_id), "kind": kind,
                    "amount_minor": fact.amount_minor, "currency": fact.currency, "at": fact.occurred_at,
                });
                stream_events::append(tx, "invoice.failed", &facts).await?;
            }
            Ok(())
        })
        .await
    }

    /// Somebody ended Stripe's subscription there, by hand or on the portal: so does ours end.
    async fn follow_end(&self, tenant: TenantId, fact: &PaymentEventRow) -> Result<(), PaymentError> {
        self.change_due(tenant).await?;
        if fact.detail.get("status").and_then(Value::as_str) != Some("canceled") {
            if is_ending(&fact.detail) {
                self.follow_ending(tenant, &fact.object_id).await?;
            }
            return self.note_followed(tenant, fact, async |_tx| Ok(())).await;
        }
        let seconds = fact.detail.get("ended_at").and_then(Value::as_i64);
        let ended_at = seconds.and_then(|at| DateTime::from_timestamp(at, 0)).unwrap_or(fact.occurred_at);
        self.note_followed(tenant, fact, async |tx| {
            tenants::lock_plan(tx).await?;
            let customer = stripe_customers::find(tx).await?;
            if customer.is_none_or(|customer| customer.subscription_id.as_ref() != Some(&fact.object_id)) {
                return Ok(());
            }
            // What was agreed after that end is agreed: another subscription begins for it. Stripe tells whole seconds, so a
            // change in the same second counts as one before the end.
            let changed_at = subscription_rows::find_last_change(tx).await?.unwrap_or(ended_at);
            if changed_at.timestamp() <= ended_at.timestamp() {
                self.end_ours(tx, false, ended_at.max(changed_at).min(clock::now())).await?;
            }
            Ok(stripe_customers::end_subscription(tx, &fact.object_id).await?)
        })
        .await
    }

    /// It was said that theirs is to end: if it still is, and nobody here wanted that, ours ends with its period.
    async fn follow_ending(&self, tenant: TenantId, subscription: &str) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let customer = stripe_customers::find(&mut tx).await?;
        let ours = subscription_rows::find(&mut tx).await?;
        tx.finish();
        let is_followed = |theirs: &Option<String>| theirs.as_deref() == Some(subscription);
        let (Some(customer), Some(ours)) = (customer, ours) else { return Ok(()) };
        if customer.is_ending || !is_followed(&customer.subscription_id) {
            return Ok(());
        }
        let theirs = self.fetch(&format!("/v1/subscriptions/{subscription}")).await?;
        if theirs.as_ref().is_some_and(is_ending) {
            self.end_with_theirs(tenant, ours.revision).await?;
        }
        Ok(())
    }

    /// Ends ours with its period, as somebody had theirs end, together with noting that this is known; nothing if either is not what
    /// it was: what was wanted here after theirs was looked at is made so there, and theirs is looked at anew then.
    pub(super) async fn end_with_theirs(&self, tenant: TenantId, seen: i64) -> Result<(), PaymentError> {
        self.change_due(tenant).await?;
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        tenants::lock_plan(&mut tx).await?;
        let ours = subscription_rows::lock(&mut tx).await?;
        let customer = stripe_customers::find(&mut tx).await?;
        let is_as_seen = ours.is_some_and(|ours| ours.revision == seen);
        if is_as_seen && customer.is_some_and(|customer| !customer.is_ending) {
            self.end_ours(&mut tx, true, clock::now()).await?;
            stripe_customers::set_ending(&mut tx, true).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The tenant chose another card on the portal: that one is charged if another subscription begins.
    async fn follow_card(&self, tenant: TenantId, fact: &PaymentEventRow) -> Result<(), PaymentError> {
        // As it is now: facts are followed in any order.
        let theirs = self.fetch(&format!("/v1/customers/{}", fact.object_id)).await?;
        let card = theirs.as_ref().and_then(default_card);
        self.note_followed(tenant, fact, async |tx| {
            tenants::lock_plan(tx).await?;
            let Some(card) = card else { return Ok(()) };
            let Some(known) = stripe_customers::find(tx).await? else { return Ok(()) };
            // Without a subscription the next card is that of the checkout that begins one, and Stripe may not have it as the default yet.
            let is_followed = known.customer_id == fact.object_id && known.subscription_id.is_some();
            let is_another = known.payment_method.is_some_and(|charged| charged != card);
            if is_followed && is_another {
                stripe_customers::set_payment_method(tx, card, Some(&fact.object_id)).await?;
            }
            Ok(())
        })
        .await
    }

    /// Somebody deleted the customer there, and with it its card and its subscription, whichever of these is told first.
    async fn follow_loss(&self, tenant: TenantId, fact: &PaymentEventRow) -> Result<(), PaymentError> {
        self.change_due(tenant).await?;
        self.note_followed(tenant, fact, async |tx| {
            tenants::lock_plan(tx).await?;
            let customer = stripe_customers::find(tx).await?;
            let customer = customer.filter(|customer| customer.customer_id == fact.object_id);
            if customer.is_some_and(|customer| customer.subscription_id.is_some()) {
                self.end_ours(tx, false, clock::now()).await?;
            }
            Ok(stripe_customers::set_gone(tx, &fact.object_id).await?)
        })
        .await
    }

    /// What was to end by now has ended by itself.
    async fn change_due(&self, tenant: TenantId) -> Result<(), PaymentError> {
        due::change_due_of(&self.db, &self.settings, tenant, clock::now()).await?;
        Ok(())
    }

    /// Ends ours, with its period or at a moment, in a transaction that also notes why.
    async fn end_ours(&self, tx: &mut TenantTx, at_period_end: bool, at: DateTime<Utc>) -> Result<(), PaymentError> {
        let By { actor, source } = stripe();
        match subscriptions::cancel_within(tx, &self.settings, at_period_end, at, None, actor, source).await {
            Ok(_) => {
                tracing::info!(tenant.id = %tx.tenant(), at_period_end, %at, "a subscription ends, as it does at Stripe");
                Ok(())
            }
            Err(SubscribeError::NothingToCancel) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a subscription of Stripe's is to end: with its period, or, as its portal says it, at a time.
pub(super) fn is_ending(theirs: &Value) -> bool {
    let ends_with_period = theirs.get("cancel_at_period_end").and_then(Value::as_bool) == Some(true);
    ends_with_period || theirs.get("cancel_at").is_some_and(Value::is_i64)
}
