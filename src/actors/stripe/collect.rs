//! Which invoice of Stripe's collects which of ours.
//!
//! Stripe's subscription drafts an invoice for each period; ours of the period goes onto it. Ours that none was drafted for (the last
//! one after the end, one whose draft ran out before our lines were on it) are collected by an invoice of their own. Every decision is a
//! row before anything is asked of Stripe.

use std::collections::BTreeSet;

use chrono::DateTime;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};

use super::{Desk, PaymentError, text};
use crate::actors::billing::close;
use crate::actors::tenants_in_turn::{ChoreError, note};
use crate::clock;
use crate::db::invoices::{self, InvoiceRow};
use crate::db::stripe_collections::{self, CollectionState, NewCollection};
use crate::db::stripe_queue::{self, StripeWork};
use crate::db::{DbError, SystemReason, SystemTx, TenantTx, stripe_customers, tenants};
use crate::domain::ids::{InvoiceId, TenantId};
use crate::domain::period::Period;
use crate::domain::stripe::facts::id_at;

/// Tenants of one run, for each kind of work.
const TENANTS: i64 = 200;
/// Tenants that are looked after at the same time.
const AT_ONCE: usize = 4;

impl Desk {
    /// Does for all tenants what is to be done: our books follow the facts, invoices are collected, Stripe's subscriptions follow
    /// ours. Returns how many tenants had something. A tenant that fails is left to the next run.
    ///
    /// # Errors
    /// [`ChoreError`].
    pub async fn keep_books(&self) -> Result<u64, ChoreError> {
        let system = SystemTx::new(&self.db, SystemReason::StripeWebhook);
        let mut due = BTreeSet::new();
        for work in [StripeWork::PaymentEvent, StripeWork::Invoice, StripeWork::Collection, StripeWork::Subscription] {
            due.extend(stripe_queue::list_tenants(&system, work, TENANTS).await?);
        }
        let kept = stream::iter(due).map(async |tenant| {
            let looked_at = clock::now();
            let kept = self.keep_books_of(tenant).await;
            // What could not be done keeps nobody else waiting.
            let put_off = stripe_queue::put_off(&system, tenant, looked_at).await;
            (tenant, kept.and(put_off.map_err(PaymentError::from)))
        });
        let mut kept = kept.buffer_unordered(AT_ONCE);
        let (mut n_done, mut n_failed) = (0, 0);
        while let Some((tenant, kept)) = kept.next().await {
            match kept {
                Ok(()) => n_done += 1,
                Err(PaymentError::Db(error)) => {
                    note(tenant, error)?;
                    n_failed += 1;
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(tenant.id = %tenant, error, "our books and Stripe's are not together yet; it is tried again");
                    n_failed += 1;
                }
            }
        }
        ChoreError::unless_none(n_failed, n_done)
    }

    /// The same for one tenant. What one part cannot do keeps no other from being done.
    ///
    /// # Errors
    /// [`PaymentError`], the first.
    pub async fn keep_books_of(&self, tenant: TenantId) -> Result<(), PaymentError> {
        let followed = self.follow_facts(tenant).await.map(|_n| ());
        let collected = self.collect(tenant).await;
        let placed = self.place_all(tenant).await;
        let refunded = self.refund_all(tenant).await;
        let followed_by = self.follow(tenant).await;
        followed.and(collected).and(placed).and(refunded).and(followed_by)
    }

    /// Sees to it that every invoice that is to be collected is.
    async fn collect(&self, tenant: TenantId) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let uncollected = invoices::list_uncollected(&mut tx).await?;
        let customer = stripe_customers::find(&mut tx).await?;
        tx.finish();
        let Some(customer) = customer else { return Ok(()) };
        for id in uncollected {
            if let Some(subscription) = &customer.subscription_id {
                self.look_for_draft(tenant, subscription, id).await?;
            }
            let mut tx = TenantTx::begin(&self.db, tenant).await?;
            tenants::lock_plan(&mut tx).await?;
            if let Some(ours) = open_and_uncollected(&mut tx, id).await? {
                let new = NewCollection {
                    invoice: Some(id),
                    stripe_invoice: None,
                    base_minor: 0,
                    amount_minor: ours.due_minor(),
                    excess_minor: 0,
                    state: CollectionState::Wanted,
                };
                stripe_collections::insert(&mut tx, &new).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// An invoice may have been drafted for ours of which no event has told.
    async fn look_for_draft(&self, tenant: TenantId, subscription: &str, id: InvoiceId) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let ours = invoices::find(&mut tx, id).await?;
        tx.finish();
        let Some(ours) = ours.filter(|ours| ours.kind == "cycle") else { return Ok(()) };
        let query = json!({ "subscription": subscription, "created": { "gte": ours.period_end.timestamp() } });
        for theirs in self.page("/v1/invoices", &query, None).await?.data {
            if ended_period(&theirs).is_some_and(|period| period.start == ours.period_start) {
                self.look_at("invoice", &text(&theirs, "id", "invoice")?).await?;
                self.follow_facts(tenant).await?;
            }
        }
        Ok(())
    }

    /// Notes what an invoice that Stripe's subscription made is to collect. The period before it is closed first, without waiting for
    /// late events: a draft lives for an hour.
    pub(super) async fn match_invoice(&self, tenant: TenantId, theirs: &Value) -> Result<(), PaymentError> {
        let id = text(theirs, "id", "invoice")?;
        let status = theirs.get("status").and_then(Value::as_str).unwrap_or_default();
        let is_draft = status == "draft";
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let known = stripe_collections::find(&mut tx, &id).await?;
        tx.finish();
        // Of any subscription, the present one or one that has ended since: whatever it charges is charged to this tenant.
        let subscription = id_at(theirs, "/parent/subscription_details/subscription");
        if known.is_some() || subscription.is_none() || matches!(status, "void" | "uncollectible") {
            return Ok(());
        }
        let ended = ended_period(theirs);
        if let Some(ended) = ended {
            // Stripe's test clocks run ahead of everybody's.
            let is_test = theirs.get("livemode").and_then(Value::as_bool) == Some(false);
            let now = if is_test { clock::now().max(ended.end) } else { clock::now() };
            if ended.end <= now {
                close::close_until(&self.db, &self.settings, tenant, ended.end, now).await?;
            }
        }
        let total = theirs.get("total").and_then(Value::as_i64).ok_or(PaymentError::Malformed("invoice"))?;
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        tenants::lock_plan(&mut tx).await?;
        let ours = match ended {
            Some(ended) => match invoices::find_cycle(&mut tx, ended.start).await? {
                Some(ours) => open_and_uncollected(&mut tx, ours).await?,
                None => None,
            },
            None => None,
        };
        let owed = ours.as_ref().map_or(0, InvoiceRow::due_minor);
        let new = NewCollection {
            invoice: ours.as_ref().map(InvoiceRow::invoice_id),
            stripe_invoice: Some(&id),
            base_minor: total,
            amount_minor: if is_draft { owed } else { owed.min(total) },
            excess_minor: if is_draft { 0 } else { (total - owed).max(0) },
            state: if is_draft { CollectionState::Drafted } else { CollectionState::Placed },
        };
        if stripe_collections::insert(&mut tx, &new).await? && !is_draft {
            want_rest(&mut tx, ours.as_ref(), &id, owed, total).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// What an invoice of Stripe's that has an end without our lines does not collect is collected by another one.
pub(super) async fn want_rest(
    tx: &mut TenantTx,
    ours: Option<&InvoiceRow>,
    theirs: &str,
    owed: i64,
    total: i64,
) -> Result<(), DbError> {
    if total != owed {
        let tenant = tx.tenant();
        tracing::warn!(tenant.id = %tenant, stripe_invoice = theirs, owed, total, "Stripe collects another sum than is owed; the difference is settled");
    }
    if let Some(ours) = ours
        && total < owed
    {
        let new = NewCollection {
            invoice: Some(ours.invoice_id()),
            stripe_invoice: None,
            base_minor: 0,
            amount_minor: owed - total,
            excess_minor: 0,
            state: CollectionState::Wanted,
        };
        stripe_collections::insert(tx, &new).await?;
    }
    Ok(())
}

/// An invoice of ours, if it is to be collected.
async fn open_and_uncollected(tx: &mut TenantTx, id: InvoiceId) -> Result<Option<InvoiceRow>, DbError> {
    if stripe_collections::is_collected(tx, id).await? {
        return Ok(None);
    }
    Ok(invoices::find(tx, id).await?.filter(|ours| ours.status == "open"))
}

/// The period whose end an invoice of Stripe's subscription was made for.
fn ended_period(theirs: &Value) -> Option<Period> {
    let is_cycle = theirs.get("billing_reason").and_then(Value::as_str) == Some("subscription_cycle");
    let created = theirs.get("created").and_then(Value::as_i64).filter(|_| is_cycle)?;
    Some(Period::containing(DateTime::from_timestamp(created, 0)?).previous())
}
