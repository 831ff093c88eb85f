//! Money back, and credit notes.

use serde_json::{Value, json};

use super::{Desk, PaymentError};
use crate::db::TenantTx;
use crate::db::stripe_refunds::{self, RefundRow};
use crate::db::stripe_requests;
use crate::domain::ids::{RefundId, TenantId};
use crate::domain::stripe::intent::{Intent, Operation};

/// Money that goes back to a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The payment of Stripe's that it is taken from.
    pub payment_intent: String,
    /// How much, in minor units of the payment's currency; more than 0.
    pub amount_minor: i64,
    /// The fact of the business, at most 100 characters: the same fact, the same refund.
    pub key: String,
}

/// A credit note on an invoice of Stripe's. What it takes off an open invoice is not collected; of a paid one, `refund_minor` goes
/// back to the card and the rest is the customer's credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditNote {
    /// Stripe's invoice.
    pub invoice: String,
    /// How much, tax included, in minor units; more than 0.
    pub amount_minor: i64,
    /// How much of it goes back to the card; 0 on an open invoice.
    pub refund_minor: i64,
    /// Number of our credit note.
    pub number: String,
}

impl Desk {
    /// Gives back what credit notes say.
    ///
    /// # Errors
    /// [`PaymentError`], the first.
    pub(super) async fn refund_all(&self, tenant: TenantId) -> Result<(), PaymentError> {
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        let undone = stripe_refunds::list_undone(&mut tx).await?;
        tx.finish();
        let mut first_error = None;
        for refund in undone {
            if let Err(error) = self.refund_one(tenant, &refund).await {
                first_error = first_error.or(Some(error));
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn refund_one(&self, tenant: TenantId, row: &RefundRow) -> Result<(), PaymentError> {
        let RefundRow { id, stripe_invoice_id, payment_intent, amount_minor } = row;
        if let Some(payment_intent) = payment_intent {
            let (payment_intent, key) = (payment_intent.clone(), id.to_string());
            self.refund(tenant, &Refund { payment_intent, amount_minor: *amount_minor, key }).await?;
        } else if let Some(theirs) = stripe_invoice_id {
            self.give_back(tenant, theirs, *amount_minor, &format!("refund:{id}")).await?;
        }
        let mut tx = TenantTx::begin(&self.db, tenant).await?;
        stripe_refunds::set_done(&mut tx, RefundId::from(*id)).await?;
        Ok(tx.commit().await?)
    }

    /// Takes a sum back from an invoice of Stripe's that is not a draft: it is not collected any more, or goes back to the card. Once for
    /// each `what`.
    pub(super) async fn give_back(
        &self,
        tenant: TenantId,
        theirs: &str,
        amount_minor: i64,
        what: &str,
    ) -> Result<(), PaymentError> {
        // It was asked for as one thing or as the other; what became of that is to be known first, and once is enough.
        self.settle_first(tenant, &format!("credit:{what}:")).await?;
        let mut tx = TenantTx::begin_read(&self.db, tenant).await?;
        for status in ["open", "paid"] {
            let before = stripe_requests::find(&mut tx, &format!("credit:{what}:{status}")).await?;
            if before.is_some_and(|before| before.state == "done") {
                tx.finish();
                return Ok(());
            }
        }
        tx.finish();
        let path = format!("/v1/invoices/{theirs}");
        // It may be paid between the look and the deed, and what is refused as one thing is asked for as the other.
        for _ in 0..2 {
            let now = self.fetch(&path).await?.ok_or(PaymentError::Malformed("invoice"))?;
            let status = now.get("status").and_then(Value::as_str).unwrap_or_default();
            match status {
                "open" | "paid" => {}
                // Nothing is owed on it any more.
                "void" => return Ok(()),
                // What is given up may be paid yet.
                _ => return Err(PaymentError::Unsettled(None)),
            }
            let is_paid = status == "paid";
            let note = CreditNote {
                invoice: theirs.to_owned(),
                amount_minor,
                refund_minor: if is_paid { amount_minor } else { 0 },
                number: format!("{what}:{status}"),
            };
            match self.credit_note(tenant, &note).await {
                Ok(_) => return Ok(()),
                Err(PaymentError::Refused { .. }) if !is_paid => {}
                Err(error) => return Err(error),
            }
        }
        Err(PaymentError::Unsettled(None))
    }

    /// Gives money back.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn refund(&self, tenant: TenantId, refund: &Refund) -> Result<Value, PaymentError> {
        let intent = Intent {
            operation: Operation::CreateRefund,
            target: None,
            params: json!({ "payment_intent": refund.payment_intent, "amount": refund.amount_minor }),
            key: format!("refund:{}", refund.key),
        };
        self.perform(tenant, &intent).await
    }

    /// Issues a credit note.
    ///
    /// # Errors
    /// [`PaymentError`].
    pub async fn credit_note(&self, tenant: TenantId, note: &CreditNote) -> Result<Value, PaymentError> {
        let mut params = json!({
            "invoice": note.invoice, "amount": note.amount_minor, "metadata": { "number": note.number },
        });
        if let (true, Some(fields)) = (note.refund_minor > 0, params.as_object_mut()) {
            fields.insert("refund_amount".to_owned(), note.refund_minor.into());
            let credit = note.amount_minor - note.refund_minor;
            fields.insert("credit_amount".to_owned(), if credit > 0 { credit.into() } else { Value::Null });
        }
        let intent = Intent {
            operation: Operation::CreateCreditNote,
            target: None,
            params,
            key: format!("credit:{}", note.number),
        };
        self.perform(tenant, &intent).await
    }
}
