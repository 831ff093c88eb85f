//! Money that goes back by Stripe because of credit notes: `billing.stripe_refunds`.

use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::ids::{CollectionId, InvoiceId, RefundId};

/// What money is taken from that goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundSource {
    /// What Stripe collects of the invoice: what is not paid is not collected, what is paid goes back to the card.
    Collection(CollectionId),
    /// A payment of Stripe's at a checkout.
    Payment(String),
}

/// A sum that is to go back.
#[derive(Debug, Clone)]
pub struct RefundRow {
    /// Id.
    pub id: Uuid,
    /// Stripe's invoice that it is taken from.
    pub stripe_invoice_id: Option<String>,
    /// Or Stripe's payment.
    pub payment_intent: Option<String>,
    /// How much, in minor units.
    pub amount_minor: i64,
}

/// Notes a sum that is to go back, more than 0.
///
/// # Errors
/// [`DbError`].
pub async fn insert(
    tx: &mut TenantTx,
    credit_note: InvoiceId,
    source: &RefundSource,
    amount_minor: i64,
) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let (collection, payment) = match source {
        RefundSource::Collection(id) => (Some(id.uuid()), None),
        RefundSource::Payment(payment) => (None, Some(payment.as_str())),
    };
    sqlx::query!(
        "INSERT INTO billing.stripe_refunds (tenant_id, id, credit_note_id, collection_id, payment_intent, amount_minor)
         VALUES ($1, $2, $3, $4, $5, $6)",
        tenant,
        clock::new_id::<RefundId>().uuid(),
        credit_note.uuid(),
        collection,
        payment,
        amount_minor
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// What is still to go back, the first noted first.
///
/// # Errors
/// [`DbError`].
pub async fn list_undone(tx: &mut TenantTx) -> Result<Vec<RefundRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        RefundRow,
        r#"SELECT r.id, l.stripe_invoice_id AS "stripe_invoice_id?", r.payment_intent, r.amount_minor
           FROM billing.stripe_refunds r
           LEFT JOIN billing.stripe_collections l ON l.tenant_id = r.tenant_id AND l.id = r.collection_id
           WHERE r.tenant_id = $1 AND NOT r.is_done ORDER BY r.id"#,
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Notes that a sum has gone back.
///
/// # Errors
/// [`DbError`].
pub async fn set_done(tx: &mut TenantTx, id: RefundId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_refunds SET is_done = true WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// What has gone or is to go back of a payment at a checkout, in minor units.
///
/// # Errors
/// [`DbError`].
pub async fn sum_of_payment(tx: &mut TenantTx, payment: &str) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(sum(amount_minor), 0)::bigint AS "sum!" FROM billing.stripe_refunds
           WHERE tenant_id = $1 AND payment_intent = $2"#,
        tenant,
        payment
    )
    .fetch_one(tx.connection()?)
    .await?)
}
