//! What happened to a tenant's money at Stripe: `billing.payment_events`.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::clock;
use crate::domain::ids::{PaymentEventId, TenantId};
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

/// Up to `n` facts that our books have not followed yet, the first noted first. Locked until the transaction ends, so that what is
/// done about one and [`mark_applied`] are one.
///
/// # Errors
/// [`DbError`].
pub async fn lock_open(tx: &mut TenantTx, n: i64) -> Result<Vec<PaymentEventRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        PaymentEventRow,
        "SELECT id, kind, object_id, amount_minor, currency, occurred_at, detail
         FROM billing.payment_events WHERE tenant_id = $1 AND applied_at IS NULL ORDER BY id LIMIT $2 FOR UPDATE",
        tenant,
        n
    )
    .fetch_all(tx.connection()?)
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

/// Tenants with facts that our books have not followed yet, the longest waiting first.
///
/// # Errors
/// [`DbError`].
pub async fn list_tenants_with_open(tx: &SystemTx<'_>, n: i64) -> Result<Vec<TenantId>, DbError> {
    let rows = sqlx::query_scalar!(
        r#"SELECT tenant_id AS "tenant_id!" FROM billing.list_tenants_with_stripe_work('payment_event', $1)"#,
        n
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows.into_iter().map(TenantId::from).collect())
}
