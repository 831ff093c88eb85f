//! How an invoice is issued: with its number, its mail, and all that says that it is there, in one transaction.

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

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
    let Parties { seller, buyer, recipients } = parties::of(tx, settings).await?;
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
