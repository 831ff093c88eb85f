//! Our lines on Stripe's drafts. Ours is the invoice, Stripe's collects it: so what is on it must be ours to the last minor unit
//! before it is owed.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, PaymentError};
use crate::domain::ids::TenantId;
use crate::domain::period::Period;
use crate::domain::stripe::intent::{self, Intent, Operation, Sign};

/// A line of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceItem {
    /// Which line of the invoice it is, at most 100 characters, such as `usage:ai_tokens`.
    pub line_key: String,
    /// What it is for, as on our invoice.
    pub description: String,
    /// Net amount, in minor units; negative for a credit.
    pub amount_minor: i64,
    /// The time that it is for.
    pub period: Option<Period>,
}

/// A draft of Stripe's that our lines are to be put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftInvoice {
    /// Stripe's invoice.
    pub invoice: String,
    /// Its customer.
    pub customer: String,
    /// ISO 4217, capitals.
    pub currency: String,
    /// Number of our invoice; none where nothing is owed.
    pub number: Option<String>,
    /// Our lines, without those that Stripe has from the subscription itself.
    pub items: Vec<InvoiceItem>,
    /// What the whole invoice is to come to, tax included, in minor units.
    pub total_minor: i64,
}

impl Desk {
    /// Puts our lines on a draft, compares the sums and ends the draft, from when on it is owed and collected. Done again it changes
    /// nothing: each line and the end are requests of their own, known by invoice and line.
    ///
    /// # Errors
    /// [`PaymentError::SumsDiffer`] if Stripe's sum is not ours: the invoice stays a draft; [`PaymentError`].
    pub async fn bill(&self, tenant: TenantId, draft: &DraftInvoice) -> Result<Value, PaymentError> {
        for item in &draft.items {
            self.perform(tenant, &line(draft, item)).await?;
        }
        let path = format!("/v1/invoices/{}", draft.invoice);
        let invoice = self.fetch(&path).await?.ok_or(PaymentError::Malformed("invoice"))?;
        let theirs = invoice.get("total").and_then(Value::as_i64).ok_or(PaymentError::Malformed("invoice"))?;
        let is_ours =
            invoice.get("currency").and_then(Value::as_str) == Some(draft.currency.to_ascii_lowercase().as_str());
        if theirs != draft.total_minor || !is_ours {
            let (invoice, ours) = (draft.invoice.clone(), draft.total_minor);
            return Err(PaymentError::SumsDiffer { invoice, ours, theirs });
        }
        match self.perform(tenant, &end(&draft.invoice)).await {
            // Stripe ends a draft by itself after an hour: with our sum, that is what was wanted.
            Err(refused @ PaymentError::Refused { .. }) => match self.fetch(&path).await? {
                Some(invoice) if intent::tells(&invoice, Sign::StatusIsNot("draft"), Uuid::nil()) => {
                    Ok(intent::kept(&invoice))
                }
                Some(_) | None => Err(refused),
            },
            ended => ended,
        }
    }
}

fn line(draft: &DraftInvoice, item: &InvoiceItem) -> Intent {
    let period = item.period.map(|period| json!({ "start": period.start.timestamp(), "end": period.end.timestamp() }));
    Intent {
        operation: Operation::CreateInvoiceItem,
        target: None,
        params: json!({
            "customer": draft.customer, "invoice": draft.invoice, "amount": item.amount_minor,
            "currency": draft.currency.to_ascii_lowercase(), "description": item.description, "period": period,
            "metadata": { "number": draft.number, "line_key": item.line_key },
        }),
        key: format!("ii:{}:{}", draft.invoice, item.line_key),
    }
}

fn end(invoice: &str) -> Intent {
    Intent {
        operation: Operation::FinalizeInvoice,
        target: Some(invoice.to_owned()),
        params: json!({ "auto_advance": true }),
        key: format!("inv:finalize:{invoice}"),
    }
}
