//! Invoices are taken back by credit notes, as a whole or in part: transactions, not an actor.

use serde_json::json;

use super::dunning;
use super::parties::{self, Parties};
use super::payment::{self, By, SettleError, note};
use crate::clock;
use crate::config::Settings;
use crate::db::invoices::{self, InvoiceKind, InvoiceRow, NewInvoice};
use crate::db::stripe_collections::{self, CollectionState};
use crate::db::stripe_refunds::{self, RefundSource};
use crate::db::{Db, DbError, TenantTx, payment_events, stream_events, tenants};
use crate::domain::crediting::{self, Billed, Part};
use crate::domain::ids::{CollectionId, InvoiceId, TenantId};
use crate::domain::invoice::Totals;
use crate::domain::period::Period;

/// A credit note, and the way that the money goes back.
#[derive(Debug, Clone)]
pub struct Credited {
    /// The credit note.
    pub note: InvoiceRow,
    /// What goes back to the card by Stripe, in the currency's smallest unit.
    pub refund_minor: i64,
    /// What was paid by other means and is to be paid back by hand, in the currency's smallest unit.
    pub transfer_minor: i64,
}

/// Takes `parts` of an invoice back, or all that is left of it: a credit note with its own number says why. What is not paid yet is
/// not to be paid any more; what is paid goes back. With parts, `seen_minor` is what credit notes took back before, as whoever asks has
/// seen it: so whoever asks twice is refused the second time.
///
/// # Errors
/// [`SettleError`].
pub async fn credit(
    db: &Db,
    settings: &Settings,
    tenant: TenantId,
    id: InvoiceId,
    (parts, seen_minor): (Option<&[Part]>, Option<i64>),
    reason: &str,
    by: By,
) -> Result<Credited, SettleError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    tenants::lock_plan(&mut tx).await?;
    let invoice = invoices::find(&mut tx, id).await?.ok_or(SettleError::Unknown)?;
    if invoice.credits_id.is_some() {
        return Err(SettleError::NotOpen);
    }
    // First of all: what is asked for twice may be refused for what the first time has changed.
    if parts.is_some() && seen_minor != Some(invoice.credited_minor) {
        return Err(SettleError::Changed { credited_minor: invoice.credited_minor });
    }
    let mut before = Vec::new();
    for earlier in invoices::list_credit_notes(&mut tx, id).await? {
        before.push(read(&mut tx, &earlier).await?);
    }
    let billed = crediting::credit(&read(&mut tx, &invoice).await?, &before, parts)?;
    let total_minor = billed.totals.total_minor;
    let is_whole = total_minor == invoice.due_minor();
    let (note_id, now) = (clock::new_id::<InvoiceId>(), clock::now());
    let new = NewInvoice {
        id: note_id,
        prefix: &settings.billing.credit_note_prefix,
        kind: InvoiceKind::CreditNote,
        period: Period { start: invoice.period_start, end: invoice.period_end },
        lines: &billed.lines,
        totals: &billed.totals,
        issued_at: now,
        due_at: now,
        // To whom and by whom it was, not who they are by now.
        seller: invoice.seller.clone(),
        buyer: invoice.buyer.clone(),
        credits: Some((id, reason)),
    };
    let number = invoices::insert(&mut tx, &new).await?;
    let is_paid = invoice.status == "paid";
    let given_back = if is_whole {
        invoices::set_credited(&mut tx, id).await?;
        let to_card = stripe_collections::sum_paid(&mut tx, invoice.id).await?;
        stripe_collections::withdraw(&mut tx, id, true).await?;
        GivenBack { by_stripe: to_card, to_card }
    } else {
        let given_back = give_back(&mut tx, &invoice, note_id, total_minor).await?;
        let left = invoice.due_minor() - total_minor;
        if !is_paid && left > 0 && stripe_collections::sum_paid(&mut tx, invoice.id).await? >= left {
            // What is left was paid before, so no payment will come to say so.
            payment::pay(&mut tx, settings, id, now, None, by.clone()).await?;
        }
        given_back
    };
    let refund_minor = given_back.to_card;
    let transfer_minor = if is_paid { total_minor - given_back.by_stripe } else { 0 };
    let facts = json!({
        "invoice": note_id,
        "number": number,
        "credits": invoice.number,
        "total_minor": total_minor,
        "is_whole": total_minor == invoice.total_minor,
        "currency": invoice.currency,
        "reason": reason,
        "refund_minor": refund_minor,
        "transfer_minor": transfer_minor,
    });
    note(&mut tx, "invoice.credited", id, by, &facts).await?;
    dunning::restate(&mut tx, settings, now, "an invoice was taken back").await?;
    let Parties { recipients, .. } = parties::of(&mut tx, settings).await?;
    parties::announce(&mut tx, &facts, &recipients).await?;
    stream_events::append(&mut tx, "invoice.credited", &facts).await?;
    let note = invoices::find(&mut tx, note_id).await?.ok_or(SettleError::Unknown)?;
    tx.commit().await?;
    Ok(Credited { note, refund_minor, transfer_minor })
}

async fn read(tx: &mut TenantTx, row: &InvoiceRow) -> Result<Billed, DbError> {
    let totals = Totals {
        currency: row.currency()?,
        subtotal_minor: row.subtotal_minor,
        discount_minor: row.discount_minor,
        taxes: invoices::list_taxes(tx, row.invoice_id()).await?,
        tax_minor: row.tax_minor,
        total_minor: row.total_minor,
    };
    Ok(Billed { lines: invoices::list_lines(tx, row.invoice_id()).await?, totals })
}

/// What of a sum goes back at Stripe.
struct GivenBack {
    /// All that is taken off what Stripe collects or has collected.
    by_stripe: i64,
    /// What of it was paid, and goes back to the card.
    to_card: i64,
}

/// Notes from what the sum goes back at Stripe.
async fn give_back(
    tx: &mut TenantTx,
    invoice: &InvoiceRow,
    note: InvoiceId,
    total_minor: i64,
) -> Result<GivenBack, SettleError> {
    let (mut left, mut to_card) = (total_minor, 0);
    for collection in stripe_collections::list_of(tx, invoice.invoice_id()).await? {
        let state = collection.state()?;
        match state {
            // How much it collects in the end is not known.
            CollectionState::Wanted | CollectionState::Drafted if !collection.is_withdrawn => {
                return Err(SettleError::InTransit);
            }
            CollectionState::Placed | CollectionState::Paid if !collection.is_withdrawn => {
                let amount = left.min(collection.amount_minor - collection.refunded_minor);
                if amount > 0 {
                    let source = RefundSource::Collection(CollectionId::from(collection.id));
                    stripe_refunds::insert(tx, note, &source, amount).await?;
                    left -= amount;
                    to_card += if state == CollectionState::Paid { amount } else { 0 };
                }
            }
            _ => {}
        }
    }
    // What was paid at a checkout has no collection.
    if let (true, Some(payment)) = (left > 0, &invoice.payment_reference)
        && let Some(paid_minor) = payment_events::find_checkout_sum(tx, payment).await?
    {
        let amount = left.min(paid_minor - stripe_refunds::sum_of_payment(tx, payment).await?);
        if amount > 0 {
            stripe_refunds::insert(tx, note, &RefundSource::Payment(payment.clone()), amount).await?;
            left -= amount;
            to_card += amount;
        }
    }
    Ok(GivenBack { by_stripe: total_minor - left, to_card })
}
