//! The night's reconciliation: what webhooks did not tell is read from Stripe's own lists.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Desk, PaymentError};
use crate::clock;
use crate::db::{TenantTx, stripe_events};

/// Name of the cursor.
const EVENTS: &str = "events";
/// Stripe lists events for so many days.
const KEPT_DAYS: i64 = 30;
/// Events may appear in the list so much later than they say, and clocks differ.
const OVERLAP: TimeDelta = TimeDelta::hours(1);

impl Desk {
    /// Takes in every event since the last time that did not come by webhook, and looks at every invoice that is a draft or owed;
    /// returns how many of either there were.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn reconcile(&self) -> Result<u64, PaymentError> {
        let now = clock::now();
        let mut n_found = self.catch_up(now).await?;
        for status in ["draft", "open"] {
            n_found += self.look_at_invoices(status).await?;
        }
        Ok(n_found)
    }

    async fn catch_up(&self, now: DateTime<Utc>) -> Result<u64, PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, self.platform).await?;
        let cursor = stripe_events::find_cursor(&mut tx, EVENTS).await?;
        tx.finish();
        let oldest = now - TimeDelta::days(KEPT_DAYS);
        let since = cursor.map_or(oldest, |at| (at - OVERLAP).max(oldest));
        let query = json!({ "created": { "gte": since.timestamp() } });
        let (mut after, mut n_new) = (None, 0);
        loop {
            let page = self.page("/v1/events", &query, after.as_deref()).await?;
            for event in &page.data {
                if self.take_in(event.to_string().as_bytes()).await? {
                    n_new += 1;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        // Only when all of them are here: a run that was broken off begins where the one before it did.
        let mut tx = TenantTx::begin(&self.db, self.platform).await?;
        stripe_events::upsert_cursor(&mut tx, EVENTS, now).await?;
        tx.commit().await?;
        if n_new > 0 {
            tracing::warn!(n_new, "events of Stripe's had not come by webhook");
        }
        Ok(n_new)
    }

    async fn look_at_invoices(&self, status: &str) -> Result<u64, PaymentError> {
        let (query, mut after, mut n_looked_at) = (json!({ "status": status }), None, 0);
        loop {
            let page = self.page("/v1/invoices", &query, after.as_deref()).await?;
            for invoice in &page.data {
                let id = invoice.get("id").and_then(Value::as_str).ok_or(PaymentError::Malformed("invoice"))?;
                if self.look_at("invoice", id).await? {
                    n_looked_at += 1;
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(n_looked_at),
            }
        }
    }
}
