//! The inbox: events are taken in as they come, and mean that an object is to be looked at.
//!
//! Order, repetition and delay of events do not matter, because nothing but the object's id is read of them. What matters is that
//! an older picture of the object does not replace a newer one: a picture is stored only over the one that was known before it was
//! fetched.

use chrono::DateTime;
use serde_json::Value;

use super::apply::apply;
use super::{Desk, PaymentError};
use crate::clock;
use crate::db::stripe_events::{self, DueObject, NewStripeEvent};
use crate::db::{DbError, SystemReason, SystemTx, TenantTx, stripe_customers, stripe_objects};
use crate::domain::ids::TenantId;
use crate::domain::stripe::facts::id_at;

/// Objects that are looked at in one go.
const OBJECTS: i64 = 100;
/// Times that an object is fetched anew because somebody else stored it meanwhile.
const N_ATTEMPTS: usize = 10;
/// Events that are forgotten in one go.
const FORGET: i64 = 10_000;

impl Desk {
    /// Takes an event in, whatever its shape; false if it is here already. `raw` is at most 1 MiB.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn take_in(&self, raw: &[u8]) -> Result<bool, DbError> {
        let event: Value = serde_json::from_slice(raw).unwrap_or_default();
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        // What has no id is known by its bytes.
        let digest = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, raw));
        let created = event.get("created").and_then(Value::as_i64).and_then(|at| DateTime::from_timestamp(at, 0));
        let new = NewStripeEvent {
            id: text("/id").filter(|id| (1..=255).contains(&id.len())).unwrap_or(&digest),
            kind: text("/type").filter(|kind| !kind.is_empty()).unwrap_or("unknown"),
            object_kind: text("/data/object/object"),
            object_id: text("/data/object/id"),
            occurred_at: created.unwrap_or_else(clock::now),
            raw,
        };
        let mut tx = TenantTx::begin(&self.db, self.platform).await?;
        let is_new = stripe_events::insert(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(is_new)
    }

    /// Looks at every object that something happened to; returns how many events that settles. One that fails is put off, and the
    /// others have their turn.
    ///
    /// # Errors
    /// [`PaymentError::Db`]; [`PaymentError::Locked`], because no other would fare better.
    pub async fn process_due(&self) -> Result<u64, PaymentError> {
        let mut n_settled = 0;
        loop {
            let mut tx = TenantTx::begin_read(&self.db, self.platform).await?;
            let due = stripe_events::list_due(&mut tx, OBJECTS).await?;
            tx.finish();
            if due.is_empty() {
                return Ok(n_settled);
            }
            for object in due {
                let (n, is_answered) = self.process(&object).await?;
                n_settled += n;
                // Where Stripe does not answer at all, each object would wait as long as this one.
                if !is_answered {
                    return Ok(n_settled);
                }
            }
        }
    }

    /// Looks at one object; returns how many events that settles, and whether Stripe answered.
    async fn process(&self, due: &DueObject) -> Result<(u64, bool), PaymentError> {
        let looked_at = match (&due.kind, &due.id) {
            (Some(kind), Some(id)) => self.look_at(kind, id).await,
            _ => Ok(false),
        };
        let mut tx = TenantTx::begin(&self.db, self.platform).await?;
        let n_settled = match &looked_at {
            Ok(is_known) => {
                let status = if *is_known { "done" } else { "ignored" };
                stripe_events::settle(&mut tx, &due.events, status).await?
            }
            Err(error) => {
                tracing::warn!(
                    object = due.id,
                    error = error as &dyn std::error::Error,
                    "an object of Stripe's is looked at later"
                );
                stripe_events::put_off(&mut tx, &due.events, &error.to_string()).await?;
                0
            }
        };
        tx.commit().await?;
        match looked_at {
            Err(error @ (PaymentError::Db(DbError::Unavailable(_) | DbError::Silent) | PaymentError::Locked)) => {
                Err(error)
            }
            Err(PaymentError::Unsettled(Some(_))) => Ok((n_settled, false)),
            Ok(_) | Err(_) => Ok((n_settled, true)),
        }
    }

    /// Fetches an object and notes what it says; false if it is of a kind that says nothing, gone, or nobody's of ours.
    pub(super) async fn look_at(&self, kind: &str, id: &str) -> Result<bool, PaymentError> {
        let Some(path) = path_of(kind, id) else { return Ok(false) };
        let Some(mut object) = self.fetch(&path).await? else { return Ok(false) };
        let Some(tenant) = self.tenant_of(&object).await? else { return Ok(false) };
        let mut is_fresh = false;
        for _ in 0..N_ATTEMPTS {
            let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
            let before = stripe_objects::find(&mut tx, id).await?;
            tx.finish();
            // Over one that is known goes only what was fetched after it was read.
            if before.is_some() || is_fresh {
                let Some(again) = self.fetch(&path).await? else { return Ok(false) };
                object = again;
            }
            is_fresh = true;
            let revision = before.as_ref().map(|row| row.revision);
            let mut tx = TenantTx::begin(&self.db, tenant).await?;
            stripe_objects::lock(&mut tx, id).await?;
            if stripe_objects::replace(&mut tx, id, kind, &object, revision).await? {
                let known = before.as_ref().map(|row| &row.data);
                apply(&mut tx, known, &object, revision.unwrap_or(0) + 1).await?;
                tx.commit().await?;
                return Ok(true);
            }
            tx.commit().await?;
        }
        Err(PaymentError::Unsettled(None))
    }

    /// Whose an object is: only what belongs to a customer that we made is anybody's.
    async fn tenant_of(&self, object: &Value) -> Result<Option<TenantId>, PaymentError> {
        let is_customer = object.get("object").and_then(Value::as_str) == Some("customer");
        let direct = id_at(object, if is_customer { "/id" } else { "/customer" });
        let customer = match (direct, id_at(object, "/charge")) {
            (Some(customer), _) => Some(customer.to_owned()),
            // A dispute names its charge.
            (None, Some(charge)) => {
                let charge = self.fetch(&format!("/v1/charges/{charge}")).await?;
                charge.as_ref().and_then(|charge| id_at(charge, "/customer")).map(str::to_owned)
            }
            (None, None) => None,
        };
        let Some(customer) = customer else { return Ok(None) };
        let system = SystemTx::new(&self.db, SystemReason::StripeWebhook);
        Ok(stripe_customers::find_tenant(&system, &customer).await?)
    }

    /// Deletes events that were settled long ago; returns how many.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn forget_events(&self) -> Result<u64, DbError> {
        let mut tx = TenantTx::begin(&self.db, self.platform).await?;
        let n = stripe_events::delete_old(&mut tx, FORGET).await?;
        tx.commit().await?;
        Ok(n)
    }
}

/// Where an object is fetched, if its kind says something about money; `docs/stripe-events.md` says why others do not. Its id goes into a path, so it must be one.
fn path_of(kind: &str, id: &str) -> Option<String> {
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let list = match kind {
        "checkout.session" => "checkout/sessions",
        "subscription" => "subscriptions",
        "invoice" => "invoices",
        "charge" => "charges",
        "dispute" => "disputes",
        "credit_note" => "credit_notes",
        "customer" => "customers",
        _ => return None,
    };
    Some(format!("/v1/{list}/{id}"))
}

#[cfg(test)]
mod tests {
    use super::path_of;

    /// Every event that a program like this one is advised to handle, in alphabetical order.
    const EVENTS: [&str; 40] = [
        "billing.alert.triggered",
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.refunded",
        "checkout.session.async_payment_failed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "checkout.session.expired",
        "credit_note.created",
        "credit_note.voided",
        "customer.deleted",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "customer.tax_id.updated",
        "customer.updated",
        "entitlements.active_entitlement_summary.updated",
        "invoice.created",
        "invoice.finalization_failed",
        "invoice.finalized",
        "invoice.marked_uncollectible",
        "invoice.overdue",
        "invoice.paid",
        "invoice.payment_action_required",
        "invoice.payment_failed",
        "invoice.upcoming",
        "invoice.updated",
        "invoice.voided",
        "invoice_payment.paid",
        "payment_method.attached",
        "payment_method.automatically_updated",
        "payment_method.detached",
        "setup_intent.succeeded",
        "v1.billing.meter.error_report_triggered",
        "v1.billing.meter.no_meter_found",
        "charge.succeeded",
        "payment_intent.succeeded",
    ];

    #[test]
    fn of_every_event_it_is_written_down_whether_its_object_is_looked_at() {
        let table = include_str!("../../../docs/stripe-events.md").lines().filter(|line| line.starts_with("| `"));
        let mut named = Vec::new();
        for row in table {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            let [_, event, object, done, why, _] = cells[..] else { panic!("{row}") };
            let is_looked_at = path_of(object, "x_1").is_some();
            assert_eq!(done, if is_looked_at { "looked at" } else { "kept" }, "{row}");
            assert!(!why.is_empty(), "{row}");
            named.push(event);
        }
        let mut events = EVENTS.to_vec();
        events.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, events);
    }

    #[test]
    fn only_ids_of_kinds_that_matter_become_paths() {
        assert_eq!(path_of("invoice", "in_1").as_deref(), Some("/v1/invoices/in_1"));
        for (kind, id) in [("coffee", "x_1"), ("invoice", "../charges/ch_1"), ("invoice", "in_1?expand[]=x")] {
            assert_eq!(path_of(kind, id), None, "{kind} {id}");
        }
    }
}
