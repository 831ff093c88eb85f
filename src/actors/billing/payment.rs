//! Invoices are paid: transactions, not an actor.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::dunning;
use crate::clock;
use crate::config::Settings;
use crate::db::invoices::{self, InvoiceRow};
use crate::db::{Db, DbError, TenantTx, audit, stream_events, stripe_collections, tenants};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::crediting::CreditError;
use crate::domain::ids::{InvoiceId, TenantId};

/// Why an invoice was not settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// There is none of that id.
    #[error("there is no such invoice")]
    Unknown,
    /// It is not open: it was paid, or taken back, or is a credit note.
    #[error("the invoice is not open")]
    NotOpen,
    /// What is to be taken back is not there.
    #[error(transparent)]
    Credit(#[from] CreditError),
    /// Another credit note was issued than whoever asks knows of.
    #[error("credit notes take {credited_minor} minor units of the invoice back already")]
    Changed {
        /// What they take back, in the currency's smallest unit.
        credited_minor: i64,
    },
    /// Stripe is just told of it; a moment later it can be taken back in part.
    #[error("the invoice is on its way to Stripe")]
    InTransit,
    /// The database did not do it.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Who settles, for the audit trail.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub actor: AuditActor,
    /// From where.
    pub source: AuditSource,
}

/// Notes that an open invoice was paid at `at`; `reference` is what the payment says. A second time is refused. What the gateway had
/// closed for want of it is open again.
///
/// # Errors
/// [`SettleError`].
pub async fn mark_paid(
    db: &Db,
    settings: &Settings,
    tenant: TenantId,
    id: InvoiceId,
    at: DateTime<Utc>,
    reference: Option<&str>,
    by: By,
) -> Result<InvoiceRow, SettleError> {
    let mut tx = TenantTx::begin(db, tenant).await?;
    tenants::lock_plan(&mut tx).await?;
    // Whatever collects it has nothing left to collect.
    stripe_collections::withdraw(&mut tx, id, false).await?;
    if !pay(&mut tx, settings, id, at, reference, by).await? {
        return Err(refusal(&mut tx, id).await);
    }
    let row = invoices::find(&mut tx, id).await?.ok_or(SettleError::Unknown)?;
    tx.commit().await?;
    Ok(row)
}

/// The same as a part of a transaction; false if the invoice is not open.
///
/// # Errors
/// [`DbError`].
pub(in crate::actors) async fn pay(
    tx: &mut TenantTx,
    settings: &Settings,
    id: InvoiceId,
    at: DateTime<Utc>,
    reference: Option<&str>,
    by: By,
) -> Result<bool, DbError> {
    if !invoices::set_paid(tx, id, at, reference).await? {
        return Ok(false);
    }
    let Some(row) = invoices::find(tx, id).await? else { return Ok(false) };
    let facts = json!({
        "invoice": id,
        "number": row.number,
        "total_minor": row.total_minor,
        "currency": row.currency,
        "paid_at": at,
        "reference": reference,
    });
    note(tx, "invoice.paid", id, by, &facts).await?;
    dunning::restate(tx, settings, clock::now(), "an invoice was paid").await?;
    stream_events::append(tx, "invoice.paid", &facts).await?;
    Ok(true)
}

async fn refusal(tx: &mut TenantTx, id: InvoiceId) -> SettleError {
    match invoices::find(tx, id).await {
        Ok(Some(_)) => SettleError::NotOpen,
        Ok(None) => SettleError::Unknown,
        Err(error) => error.into(),
    }
}

pub(super) async fn note(
    tx: &mut TenantTx,
    action: &'static str,
    id: InvoiceId,
    by: By,
    facts: &Value,
) -> Result<(), DbError> {
    let By { actor, source } = by;
    let event = AuditEvent {
        actor,
        action,
        target_kind: "invoice",
        target_id: Some(id.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: facts.clone(),
    };
    audit::insert(tx, &event).await
}
