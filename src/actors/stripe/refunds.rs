//! Money back, and credit notes.

use serde_json::{Value, json};

use super::{Desk, PaymentError};
use crate::domain::ids::TenantId;
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
