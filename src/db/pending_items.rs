//! What a tenant's next invoice has besides prices and usage: `billing.pending_items`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::period::Period;

/// What an item is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingKind {
    /// What is left of a price that was replaced within a period; negative.
    ProrationCredit,
    /// The price of the rest of a period; positive.
    ProrationCharge,
    /// Something else, once.
    OneOff,
    /// Usage that came in after its period was closed.
    LateUsage,
}

impl PendingKind {
    const ALL: [Self; 4] = [Self::ProrationCredit, Self::ProrationCharge, Self::OneOff, Self::LateUsage];

    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProrationCredit => "proration_credit",
            Self::ProrationCharge => "proration_charge",
            Self::OneOff => "one_off",
            Self::LateUsage => "late_usage",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An item to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPendingItem {
    /// What it is: a second one of the same key is not added.
    pub key: String,
    /// What it is for.
    pub kind: PendingKind,
    /// What the invoice says, 1 to 500 characters.
    pub description: String,
    /// In the currency's smallest unit; negative for what is given back.
    pub amount_minor: i64,
    /// The currency (ISO 4217).
    pub currency: String,
    /// The time that it is for.
    pub period: Period,
}

/// An item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingItem {
    /// Its id.
    pub id: Uuid,
    /// When it was added.
    pub created_at: DateTime<Utc>,
    /// The rest.
    pub item: NewPendingItem,
}

/// Adds an item; false if there is one of its key.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, item: &NewPendingItem) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let NewPendingItem { key, kind, description, amount_minor, currency, period } = item;
    let result = sqlx::query!(
        "INSERT INTO billing.pending_items
                (tenant_id, id, key, kind, description, amount_minor, currency, period_start, period_end)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant_id, key) DO NOTHING",
        tenant,
        clock::new_id::<Uuid>(),
        key,
        kind.as_str(),
        description,
        amount_minor,
        currency,
        period.start,
        period.end
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The items that are on no invoice, in the order in which they were added. They stay locked until the transaction's end, so that two
/// invoices do not both have them.
///
/// # Errors
/// [`DbError`].
pub async fn lock_unbilled(tx: &mut TenantTx) -> Result<Vec<PendingItem>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT id, key, kind, description, amount_minor, currency, period_start, period_end, created_at
         FROM billing.pending_items WHERE tenant_id = $1 AND invoice_id IS NULL
         ORDER BY created_at, id FOR NO KEY UPDATE",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let item = NewPendingItem {
                key: row.key,
                kind: PendingKind::parse(&row.kind).ok_or(DbError::Corrupt("pending_items.kind"))?,
                description: row.description,
                amount_minor: row.amount_minor,
                currency: row.currency,
                period: Period { start: row.period_start, end: row.period_end },
            };
            Ok(PendingItem { id: row.id, created_at: row.created_at, item })
        })
        .collect()
}

/// Says which invoice items are on; returns how many were on none before.
///
/// # Errors
/// [`DbError`].
pub async fn set_billed(tx: &mut TenantTx, ids: &[Uuid], invoice: Uuid) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.pending_items SET invoice_id = $3
         WHERE tenant_id = $1 AND id = ANY ($2) AND invoice_id IS NULL",
        tenant,
        ids,
        invoice
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}

/// What all items that are on no invoice come to, in the currency's smallest unit.
///
/// # Errors
/// [`DbError`].
pub async fn sum_unbilled(tx: &mut TenantTx) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(sum(amount_minor), 0)::bigint AS "sum!" FROM billing.pending_items
           WHERE tenant_id = $1 AND invoice_id IS NULL"#,
        tenant
    )
    .fetch_one(tx.connection()?)
    .await?)
}
