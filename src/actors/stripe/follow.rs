//! Stripe's subscription follows ours: it has the prices of the next period, ends when ours does, and works nothing out by itself.
//!
//! It is there so that Stripe drafts an invoice for each period, shows the tenant what it pays for, and collects.

use serde_json::{Value, json};

use super::books::is_ending;
use super::{CatalogueItem, Desk, Ends, PaymentError, SubscriptionChange, text};
use crate::actors::subscriptions;
use crate::db::stripe_customers::StripeCustomerRow;
use crate::db::{TenantTx, stripe_customers, subscriptions as rows, tenants};
use crate::domain::ids::TenantId;
use crate::domain::stripe::intent::{Intent, Operation};
use crate::domain::subscription::{Stage, Subscription, Terms};

/// Times that it is followed anew because ours was changed meanwhile.
const N_ATTEMPTS: usize = 5;

/// What Stripe's subscription is to be.
struct Wanted {
    items: Vec<CatalogueItem>,
    /// It ends with its period.
    is_ending: bool,
    /// Revision of ours.
    revision: i64,
}

impl Desk {
    /// Makes Stripe's subscription what ours is.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub(super) async fn follow(&self, tenant: TenantId) -> Result<(), PaymentError> {
        self.settle_first(tenant, "sub:").await?;
        for _ in 0..N_ATTEMPTS {
            let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
            let customer = stripe_customers::find(&mut tx).await?;
            let ours = rows::find(&mut tx).await?;
            tx.finish();
            let (Some(customer), Some(ours)) = (customer, ours) else { return Ok(()) };
            if !self.make_follow(tenant, &customer, &ours).await? {
                continue;
            }
            let mut tx = TenantTx::begin(&self.db, tenant).await?;
            tenants::lock_plan(&mut tx).await?;
            let now = rows::lock(&mut tx).await?;
            if now.is_some_and(|now| now.revision == ours.revision) {
                stripe_customers::set_followed(&mut tx).await?;
                tx.commit().await?;
                return Ok(());
            }
            tx.finish();
        }
        Err(PaymentError::Unsettled(None))
    }

    /// One step; true if nothing was left to be done.
    async fn make_follow(
        &self,
        tenant: TenantId,
        customer: &StripeCustomerRow,
        ours: &Subscription,
    ) -> Result<bool, PaymentError> {
        match (self.wanted(ours), &customer.subscription_id, &customer.payment_method) {
            (None, None, _) | (Some(_), None, None) => Ok(true),
            (None, Some(id), _) => {
                // One that has ended cannot be ended: either way it is over.
                match self.cancel_now(tenant, id).await {
                    Ok(_) | Err(PaymentError::Refused { .. }) => {
                        let mut tx = TenantTx::begin(&self.db, tenant).await?;
                        stripe_customers::end_subscription(&mut tx, id).await?;
                        tx.commit().await?;
                        Ok(true)
                    }
                    Err(error) => Err(error),
                }
            }
            (Some(wanted), None, Some(card)) => {
                self.begin(tenant, customer, card, &wanted).await?;
                // It may have been begun long ago, for other terms: that is looked at next.
                Ok(false)
            }
            (Some(wanted), Some(id), _) => self.adjust(tenant, customer, id, &wanted).await,
        }
    }

    /// What it is to be; `None` if nothing is paid for.
    fn wanted(&self, ours: &Subscription) -> Option<Wanted> {
        let scheduled = ours.scheduled.as_ref();
        let terms = match scheduled {
            Some(scheduled) if !scheduled.is_end => &scheduled.terms,
            Some(_) | None => &ours.terms,
        };
        let items = self.items(terms, &ours.figures.currency);
        if ours.stage() == Stage::Ended || items.is_empty() {
            return None;
        }
        let is_ending = scheduled.is_some_and(|scheduled| scheduled.is_end);
        Some(Wanted { items, is_ending, revision: ours.revision })
    }

    fn items(&self, terms: &Terms, currency: &str) -> Vec<CatalogueItem> {
        let plan = CatalogueItem {
            code: terms.plan.clone(),
            name: subscriptions::title(&self.settings, &Terms { add_ons: Vec::new(), ..terms.clone() }),
            version: Some(terms.version),
            amount_minor: terms.price_minor,
            currency: currency.to_owned(),
        };
        let add_ons = terms.add_ons.iter().map(|add_on| self.module(&add_on.name, add_on.price_minor, currency));
        std::iter::once(plan).chain(add_ons).filter(|item| item.amount_minor > 0).collect()
    }

    async fn begin(
        &self,
        tenant: TenantId,
        customer: &StripeCustomerRow,
        card: &str,
        wanted: &Wanted,
    ) -> Result<(), PaymentError> {
        let Wanted { items, is_ending, revision } = wanted;
        let charged = Intent {
            operation: Operation::UpdateCustomer,
            target: Some(customer.customer_id.clone()),
            params: json!({ "invoice_settings": { "default_payment_method": card } }),
            key: format!("customer:card:{revision}:{card}"),
        };
        self.perform(tenant, &charged).await?;
        let mut prices = Vec::with_capacity(items.len());
        for item in items {
            prices.push(json!({ "price": self.ensure_price(item).await? }));
        }
        let begun = Intent {
            operation: Operation::CreateSubscription,
            target: None,
            params: json!({
                "customer": customer.customer_id, "items": prices, "cancel_at_period_end": is_ending,
                "collection_method": "charge_automatically", "off_session": true, "proration_behavior": "none",
                "billing_mode": { "type": "flexible" },
                "billing_cycle_anchor_config": { "day_of_month": 1, "hour": 0, "minute": 0, "second": 0 },
                "metadata": { "tenant_id": tenant.to_string() },
            }),
            // There is one of its number, whatever the terms are by the time it is known that it was begun.
            key: format!("sub:create:{}:{card}", customer.n_subscriptions),
        };
        let begun = match self.perform(tenant, &begun).await {
            Err(PaymentError::KeyTaken(key)) => self.resume(tenant, &key).await?,
            other => other?,
        };
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        let begun = text(&begun, "id", "subscription")?;
        stripe_customers::set_subscription(&mut tx, &customer.customer_id, &begun, *is_ending).await?;
        Ok(tx.commit().await?)
    }

    /// Makes it what is wanted; true if it was.
    async fn adjust(
        &self,
        tenant: TenantId,
        customer: &StripeCustomerRow,
        id: &str,
        wanted: &Wanted,
    ) -> Result<bool, PaymentError> {
        let theirs = self.fetch(&format!("/v1/subscriptions/{id}")).await?;
        let status = theirs.as_ref().and_then(|theirs| theirs.get("status")).and_then(Value::as_str);
        let Some(theirs) = theirs.as_ref().filter(|_| status != Some("canceled")) else {
            // It was ended there, and nobody has told yet: so does ours end, before anything is followed.
            self.look_at("subscription", id).await?;
            self.follow_facts(tenant).await?;
            return Ok(false);
        };
        let is_ending = is_ending(theirs);
        if is_ending && !customer.is_ending && !wanted.is_ending {
            // Somebody had it end there, and nobody has told yet.
            self.end_with_theirs(tenant, wanted.revision).await?;
            return Ok(false);
        }
        let mut there: Vec<(String, String)> = Vec::new();
        for item in theirs.pointer("/items/data").and_then(Value::as_array).into_iter().flatten() {
            let key = item.pointer("/price/lookup_key").and_then(Value::as_str).unwrap_or_default();
            there.push((text(item, "id", "subscription item")?, key.to_owned()));
        }
        let missing: Vec<&CatalogueItem> =
            wanted.items.iter().filter(|item| !there.iter().any(|(_, key)| *key == item.lookup_key())).collect();
        let mut spare = there.into_iter().filter(|(_, key)| !wanted.items.iter().any(|item| item.lookup_key() == *key));
        let mut items = Vec::with_capacity(missing.len());
        for item in missing {
            // In place of one that goes, so that a subscription is never without any.
            items.push((spare.next().map(|(id, _)| id), self.ensure_price(item).await?));
        }
        let removed: Vec<String> = spare.map(|(id, _)| id).collect();
        if items.is_empty() && removed.is_empty() && is_ending == wanted.is_ending {
            self.note_ending(tenant, wanted).await?;
            return Ok(true);
        }
        // That theirs ends is known to be our wish from before it is made to until after it is not any more: who finds it ending in
        // between takes that for nobody else's.
        if wanted.is_ending && !self.note_ending(tenant, wanted).await? {
            return Ok(false);
        }
        let change = SubscriptionChange {
            subscription: id.to_owned(),
            items,
            removed,
            ends: match (wanted.is_ending, theirs.get("cancel_at_period_end").and_then(Value::as_bool)) {
                (true, _) => Ends::WithPeriod,
                (false, Some(false)) if is_ending => Ends::NeverAfterAll,
                (false, _) => Ends::Never,
            },
            key: wanted.revision.to_string(),
        };
        self.change_subscription(tenant, &change).await?;
        if !wanted.is_ending {
            self.note_ending(tenant, wanted).await?;
        }
        Ok(false)
    }

    /// Notes whether theirs is to end; false, and nothing is noted, if ours was changed meanwhile.
    async fn note_ending(&self, tenant: TenantId, wanted: &Wanted) -> Result<bool, PaymentError> {
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        tenants::lock_plan(&mut tx).await?;
        let is_wanted = rows::lock(&mut tx).await?.is_some_and(|now| now.revision == wanted.revision);
        if is_wanted {
            stripe_customers::set_ending(&mut tx, wanted.is_ending).await?;
        }
        tx.commit().await?;
        Ok(is_wanted)
    }
}
