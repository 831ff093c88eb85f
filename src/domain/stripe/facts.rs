//! What an object of Stripe's says about a tenant's money. Facts are read off the object as it is now, compared with how it was
//! known before, and never off the event that told of it: events come late, twice and in any order.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactKind {
    /// A checkout was completed: its subscription is in the detail.
    CheckoutCompleted,
    /// A checkout can be paid no more.
    CheckoutExpired,
    /// A subscription's state, prices or end have changed: its new state is in the detail.
    SubscriptionChanged,
    /// Stripe has begun an invoice that is still a draft: our lines are wanted on it.
    InvoiceDrafted,
    /// An invoice is owed.
    InvoiceOpened,
    /// An invoice is paid.
    InvoicePaid,
    /// An attempt to collect an invoice failed.
    PaymentFailed,
    /// An invoice was voided.
    InvoiceVoided,
    /// An invoice was given up.
    InvoiceUncollectible,
    /// More of a charge was given back than was known: the amount is what was given back altogether.
    ChargeRefunded,
    /// A charge is disputed by the card's holder.
    DisputeOpened,
    /// A dispute has ended: how is in the detail.
    DisputeClosed,
    /// A credit note was issued.
    CreditNoteIssued,
    /// A credit note was voided.
    CreditNoteVoided,
    /// The tenant's customer was deleted at Stripe, by hand.
    CustomerDeleted,
    /// The customer's invoices are charged to another card.
    CardChanged,
}

impl FactKind {
    /// Its name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CheckoutCompleted => "checkout_completed",
            Self::CheckoutExpired => "checkout_expired",
            Self::SubscriptionChanged => "subscription_changed",
            Self::InvoiceDrafted => "invoice_drafted",
            Self::InvoiceOpened => "invoice_opened",
            Self::InvoicePaid => "invoice_paid",
            Self::PaymentFailed => "payment_failed",
            Self::InvoiceVoided => "invoice_voided",
            Self::InvoiceUncollectible => "invoice_uncollectible",
            Self::ChargeRefunded => "charge_refunded",
            Self::DisputeOpened => "dispute_opened",
            Self::DisputeClosed => "dispute_closed",
            Self::CreditNoteIssued => "credit_note_issued",
            Self::CreditNoteVoided => "credit_note_voided",
            Self::CustomerDeleted => "customer_deleted",
            Self::CardChanged => "card_changed",
        }
    }
}

/// One thing that happened. Of one object, kind and occurrence there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What.
    pub kind: FactKind,
    /// To which object of Stripe's.
    pub object_id: String,
    /// Which one of its kind; empty where there can be only one.
    pub occurrence: String,
    /// Minor units and ISO 4217 code.
    pub amount: Option<(i64, String)>,
    /// When, as far as the object says.
    pub occurred_at: DateTime<Utc>,
    /// What it takes to act on it.
    pub detail: Value,
}

/// What `object` says that `before` did not; `revision` is the number of the picture that `object` will be, and `now` is the time
/// of a fact whose object names none.
#[must_use]
pub fn facts(before: Option<&Value>, object: &Value, revision: i64, now: DateTime<Utc>) -> Vec<Fact> {
    let Some(id) = text(object, "/id") else { return Vec::new() };
    let seen = Seen { before, object, id, revision, now };
    if object.get("deleted").and_then(Value::as_bool) == Some(true) {
        return match text(object, "/object") {
            Some("customer") => vec![seen.fact(FactKind::CustomerDeleted, None, None, json!({}))],
            _ => Vec::new(),
        };
    }
    match text(object, "/object") {
        Some("checkout.session") => seen.checkout(),
        Some("subscription") => seen.subscription(),
        Some("invoice") => seen.invoice(),
        Some("charge") => seen.charge(),
        Some("dispute") => seen.dispute(),
        Some("credit_note") => seen.credit_note(),
        Some("customer") => seen.customer(),
        _ => Vec::new(),
    }
}

/// The card that a customer's invoices are charged to, if nothing else is said of them.
#[must_use]
pub fn default_card(customer: &Value) -> Option<&str> {
    id_at(customer, "/invoice_settings/default_payment_method")
}

/// The id of a field that holds an id or the object itself.
#[must_use]
pub fn id_at<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    let field = object.pointer(pointer)?;
    field.as_str().or_else(|| text(field, "/id"))
}

/// What is compared.
struct Seen<'a> {
    before: Option<&'a Value>,
    object: &'a Value,
    id: &'a str,
    revision: i64,
    now: DateTime<Utc>,
}

impl Seen<'_> {
    fn fact(&self, kind: FactKind, amount: Option<&str>, at: Option<&str>, detail: Value) -> Fact {
        let amount = amount.and_then(|pointer| self.object.pointer(pointer)).and_then(Value::as_i64);
        let currency = text(self.object, "/currency").map(str::to_ascii_uppercase);
        Fact {
            kind,
            object_id: self.id.to_owned(),
            occurrence: String::new(),
            amount: amount.zip(currency),
            occurred_at: at.and_then(|pointer| time(self.object, pointer)).unwrap_or(self.now),
            detail,
        }
    }

    fn status(&self) -> Option<&str> {
        text(self.object, "/status")
    }

    fn checkout(&self) -> Vec<Fact> {
        let payment_status = text(self.object, "/payment_status");
        let detail = json!({
            "payment_status": payment_status, "payment_intent": id_at(self.object, "/payment_intent"),
            "setup_intent": id_at(self.object, "/setup_intent"), "metadata": self.object.get("metadata"),
            "customer": id_at(self.object, "/customer"),
        });
        match self.status() {
            // Some ways to pay take days: until then, nothing is paid.
            Some("complete") if payment_status == Some("unpaid") => Vec::new(),
            Some("complete") => vec![self.fact(FactKind::CheckoutCompleted, Some("/amount_total"), None, detail)],
            Some("expired") => vec![self.fact(FactKind::CheckoutExpired, None, Some("/expires_at"), detail)],
            _ => Vec::new(),
        }
    }

    fn subscription(&self) -> Vec<Fact> {
        let state = subscription_state(self.object);
        if self.before.map(subscription_state).as_ref() == Some(&state) {
            return Vec::new();
        }
        let fact = self.fact(FactKind::SubscriptionChanged, None, None, state);
        vec![Fact { occurrence: self.revision.to_string(), ..fact }]
    }

    fn invoice(&self) -> Vec<Fact> {
        let detail = json!({
            "subscription": id_at(self.object, "/parent/subscription_details/subscription"),
            "billing_reason": text(self.object, "/billing_reason"),
            "period_start": self.object.get("period_start"), "period_end": self.object.get("period_end"),
            "attempt_count": self.object.get("attempt_count"),
            "next_payment_attempt": self.object.get("next_payment_attempt"),
            "metadata": self.object.get("metadata"),
        });
        let fact = |kind, amount, at| self.fact(kind, Some(amount), Some(at), detail.clone());
        let opened = || fact(FactKind::InvoiceOpened, "/total", "/status_transitions/finalized_at");
        match self.status() {
            Some("draft") => vec![fact(FactKind::InvoiceDrafted, "/total", "/created")],
            Some("open") => {
                let n_attempts = self.object.get("attempt_count").and_then(Value::as_i64).unwrap_or(0);
                let mut facts = vec![opened()];
                if n_attempts > 0 {
                    let failed = fact(FactKind::PaymentFailed, "/amount_remaining", "/none");
                    facts.push(Fact { occurrence: n_attempts.to_string(), ..failed });
                }
                facts
            }
            // Opened and paid before anybody looked: both happened.
            Some("paid") => {
                vec![opened(), fact(FactKind::InvoicePaid, "/amount_paid", "/status_transitions/paid_at")]
            }
            Some("void") => vec![fact(FactKind::InvoiceVoided, "/total", "/status_transitions/voided_at")],
            Some("uncollectible") => {
                let at = "/status_transitions/marked_uncollectible_at";
                vec![opened(), fact(FactKind::InvoiceUncollectible, "/amount_remaining", at)]
            }
            _ => Vec::new(),
        }
    }

    fn charge(&self) -> Vec<Fact> {
        let refunded = self.object.get("amount_refunded").and_then(Value::as_i64).unwrap_or(0);
        if refunded == 0 {
            return Vec::new();
        }
        let detail = json!({ "payment_intent": id_at(self.object, "/payment_intent") });
        let fact = self.fact(FactKind::ChargeRefunded, Some("/amount_refunded"), None, detail);
        vec![Fact { occurrence: refunded.to_string(), ..fact }]
    }

    fn dispute(&self) -> Vec<Fact> {
        let status = self.status();
        let detail = json!({
            "charge": id_at(self.object, "/charge"), "reason": text(self.object, "/reason"), "status": status,
        });
        let mut facts = vec![self.fact(FactKind::DisputeOpened, Some("/amount"), Some("/created"), detail.clone())];
        if let Some("won" | "lost" | "warning_closed" | "prevented") = status {
            facts.push(self.fact(FactKind::DisputeClosed, Some("/amount"), None, detail));
        }
        facts
    }

    fn customer(&self) -> Vec<Fact> {
        let Some(card) = default_card(self.object) else { return Vec::new() };
        if self.before.and_then(default_card) == Some(card) {
            return Vec::new();
        }
        let fact = self.fact(FactKind::CardChanged, None, None, json!({ "payment_method": card }));
        vec![Fact { occurrence: self.revision.to_string(), ..fact }]
    }

    fn credit_note(&self) -> Vec<Fact> {
        let detail = json!({
            "invoice": id_at(self.object, "/invoice"), "number": text(self.object, "/number"),
            "metadata": self.object.get("metadata"),
        });
        let mut facts = vec![self.fact(FactKind::CreditNoteIssued, Some("/total"), Some("/created"), detail.clone())];
        if self.status() == Some("void") {
            facts.push(self.fact(FactKind::CreditNoteVoided, Some("/total"), Some("/voided_at"), detail));
        }
        facts
    }
}

/// What matters about a subscription.
fn subscription_state(object: &Value) -> Value {
    let items = object.pointer("/items/data").and_then(Value::as_array).into_iter().flatten();
    let items: Vec<Value> = items
        .map(|item| {
            json!({
                "id": item.get("id"), "price": id_at(item, "/price"), "lookup_key": text(item, "/price/lookup_key"),
                "quantity": item.get("quantity"),
                "current_period_start": item.get("current_period_start"), "current_period_end": item.get("current_period_end"),
            })
        })
        .collect();
    json!({
        "status": object.get("status"), "cancel_at_period_end": object.get("cancel_at_period_end"),
        "cancel_at": object.get("cancel_at"), "ended_at": object.get("ended_at"), "trial_end": object.get("trial_end"),
        "items": items, "metadata": object.get("metadata"),
    })
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer)?.as_str()
}

fn time(object: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(object.pointer(pointer)?.as_i64()?, 0)
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
