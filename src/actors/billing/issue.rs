//! How an invoice is issued: with its number, its mail, and all that says that it is there, in one transaction.

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::document::PAYS_BY_CARD;
use super::parties::{self, Parties};
use crate::clock;
use crate::config::Settings;
use crate::db::invoices::{self, InvoiceKind, NewInvoice};
use crate::db::pending_items::{self, NewPendingItem, PendingKind};
use crate::db::{DbError, TenantTx, audit, stream_events};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::closing::Closed;
use crate::domain::ids::InvoiceId;
use crate::domain::period::Period;

/// An invoice to be issued.
pub(in crate::actors) struct Issue<'a> {
    /// What kind it is.
    pub(in crate::actors) kind: InvoiceKind,
    /// What it is among the tenant's: of one name, credit is carried once.
    pub(in crate::actors) key: String,
    /// The time that it is for.
    pub(in crate::actors) period: Period,
    /// What is on it.
    pub(in crate::actors) closed: &'a Closed,
    /// Pending items that are billed with it.
    pub(in crate::actors) items: &'a [Uuid],
}

/// How an invoice is paid, as it is known when it is issued. Its document says so for ever, and so does its mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settling {
    /// There is nothing to pay, or it was paid before it was issued.
    Paid,
    /// Stripe charges the card that is known.
    ByCard,
    /// By whatever means the tenant chooses, until it is due.
    ByTransfer,
}

impl Settling {
    fn of(kind: InvoiceKind, total_minor: i64, has_card: bool) -> Self {
        match kind {
            // What a checkout has paid is on it, and marked as paid in the same transaction.
            InvoiceKind::Interim => Self::Paid,
            InvoiceKind::Cycle | InvoiceKind::CreditNote if total_minor == 0 => Self::Paid,
            InvoiceKind::Cycle | InvoiceKind::CreditNote if has_card => Self::ByCard,
            InvoiceKind::Cycle | InvoiceKind::CreditNote => Self::ByTransfer,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::ByCard => "card",
            Self::ByTransfer => "transfer",
        }
    }
}

/// Writes an invoice and all that says that it is there. Late in its transaction: numbers are taken in the order of commits.
///
/// # Errors
/// [`DbError`].
pub(in crate::actors) async fn issue(
    tx: &mut TenantTx,
    settings: &Settings,
    Issue { kind, key, period, closed, items }: &Issue<'_>,
) -> Result<InvoiceId, DbError> {
    let (id, now) = (clock::new_id::<InvoiceId>(), clock::now());
    let Parties { seller, mut buyer, recipients, has_card } = parties::of(tx, settings).await?;
    let settling = Settling::of(*kind, closed.totals.total_minor, has_card);
    if let (Settling::ByCard, Some(buyer)) = (settling, buyer.as_object_mut()) {
        buyer.insert(PAYS_BY_CARD.to_owned(), true.into());
    }
    let due_at = now + TimeDelta::days(i64::from(settings.billing.payment_days));
    let new = NewInvoice {
        id,
        prefix: &settings.billing.invoice_prefix,
        kind: *kind,
        period: *period,
        lines: &closed.lines,
        totals: &closed.totals,
        issued_at: now,
        due_at,
        seller,
        buyer,
        credits: None,
    };
    let number = invoices::insert(tx, &new).await?;
    pending_items::set_billed(tx, items, id.uuid()).await?;
    let currency = closed.totals.currency.code();
    if closed.carried_minor > 0 {
        let credit = NewPendingItem {
            key: format!("carried:{key}"),
            kind: PendingKind::OneOff,
            description: format!("Credit carried from invoice {number}"),
            amount_minor: -closed.carried_minor,
            currency: currency.to_owned(),
            period: Period::containing(period.end),
        };
        pending_items::insert(tx, &credit).await?;
    }
    let facts = json!({
        "invoice": id,
        "number": number,
        "period": period.name(),
        "total_minor": closed.totals.total_minor,
        "currency": currency,
        "due_at": due_at,
        "settling": settling.as_str(),
    });
    let event = AuditEvent {
        actor: AuditActor::System,
        action: "invoice.issued",
        target_kind: "invoice",
        target_id: Some(id.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: AuditSource::default(),
        detail: facts.clone(),
    };
    audit::insert(tx, &event).await?;
    parties::announce(tx, &facts, &recipients).await?;
    stream_events::append(tx, "invoice.created", &facts).await?;
    Ok(id)
}
