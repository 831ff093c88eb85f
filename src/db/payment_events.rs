//! What happened to a tenant's money at Stripe: `billing.payment_events`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::ids::PaymentEventId;
use crate::domain::stripe::facts::Fact;

/// A fact that our books have not followed yet.
#[derive(Debug, Clone)]
pub struct PaymentEventRow {
    /// Id: of two, the lower one was noted first.
    pub id: Uuid,
    /// What happened: see [`crate::domain::stripe::facts::FactKind`].
    pub kind: String,
    /// To which object of Stripe's.
    pub object_id: String,
    /// Amount, in minor units.
    pub amount_minor: Option<i64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// When, as Stripe says.
    pub occurred_at: DateTime<Utc>,
    /// What it takes to act on it.
    pub detail: Value,
}

/// Notes a fact, unless it is known; true if it is new.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, fact: &Fact) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let Fact { kind, object_id, occurrence, amount, occurred_at, detail } = fact;
    let (amount_minor, currency) = amount.as_ref().map(|(minor, currency)| (*minor, currency.as_str())).unzip();
    let result = sqlx::query!(
        "INSERT INTO billing.payment_events
             (tenant_id, id, kind, object_id, occurrence, amount_minor, currency, occurred_at, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, object_id, kind, occurrence) DO NOTHING",
        tenant,
        clock::new_id::<PaymentEventId>().uuid(),
        kind.as_str(),
        object_id,
        occurrence,
        amount_minor,
        currency,
        *occurred_at,
        detail
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Up to `n` facts that our books have not followed yet, the first noted first.
///
/// # Errors
/// [`DbError`].
pub async fn list_open(tx: &mut TenantTx, n: i64) -> Result<Vec<PaymentEventRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        PaymentEventRow,
        "SELECT id, kind, object_id, amount_minor, currency, occurred_at, detail
         FROM billing.payment_events WHERE tenant_id = $1 AND applied_at IS NULL ORDER BY id LIMIT $2",
        tenant,
        n
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Locks a fact until the transaction ends; false if our books have followed it. What is done about it and [`mark_applied`] are one.
///
/// # Errors
/// [`DbError`].
pub async fn lock_open(tx: &mut TenantTx, id: PaymentEventId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let open = sqlx::query_scalar!(
        "SELECT id FROM billing.payment_events WHERE tenant_id = $1 AND id = $2 AND applied_at IS NULL FOR UPDATE",
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(open.is_some())
}

/// Since when the tenant's money is in doubt: its oldest failed payment of an invoice that is still owed, here and there, or its oldest
/// dispute that is not over. One is over when it is won, or lost and followed by a payment.
///
/// # Errors
/// [`DbError`].
pub async fn find_oldest_trouble(tx: &mut TenantTx) -> Result<Option<DateTime<Utc>>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "SELECT min(e.occurred_at) FROM billing.payment_events e
         WHERE e.tenant_id = $1 AND e.kind IN ('payment_failed', 'dispute_opened') AND NOT EXISTS (
             SELECT FROM billing.payment_events o
             WHERE o.tenant_id = $1 AND o.object_id = e.object_id AND (
                 o.kind IN ('invoice_paid', 'invoice_voided')
                 OR o.kind = 'dispute_closed' AND (o.detail->>'status' <> 'lost' OR EXISTS (
                     SELECT FROM billing.payment_events p
                     WHERE p.tenant_id = $1 AND p.kind = 'invoice_paid' AND p.occurred_at > o.noted_at))))
           AND NOT EXISTS (
             SELECT FROM billing.stripe_collections l LEFT JOIN billing.invoices i ON i.tenant_id = $1 AND i.id = l.invoice_id
             WHERE l.tenant_id = $1 AND l.stripe_invoice_id = e.object_id
               AND (l.is_withdrawn OR i.status IS DISTINCT FROM 'open'))",
        tenant
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// What was paid at the checkout of a payment of Stripe's, in minor units; `None` if the tenant has none of that id.
///
/// # Errors
/// [`DbError`].
pub async fn find_checkout_sum(tx: &mut TenantTx, payment_intent: &str) -> Result<Option<i64>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        "SELECT max(amount_minor) FROM billing.payment_events
         WHERE tenant_id = $1 AND kind = 'checkout_completed' AND detail->>'payment_intent' = $2",
        tenant,
        payment_intent
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Notes that our books followed a fact.
///
/// # Errors
/// [`DbError`].
pub async fn mark_applied(tx: &mut TenantTx, id: PaymentEventId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.payment_events SET applied_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND applied_at IS NULL",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
