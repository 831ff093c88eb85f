//! What Stripe collects of which invoice of ours: `billing.stripe_collections`.

use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::clock;
use crate::domain::ids::{CollectionId, InvoiceId};

/// How far a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionState {
    /// Stripe's invoice is to be made.
    Wanted,
    /// Our lines are to be put on it.
    Drafted,
    /// It is owed.
    Placed,
    /// It is paid.
    Paid,
    /// It was taken back.
    Withdrawn,
}

impl CollectionState {
    const ALL: [Self; 5] = [Self::Wanted, Self::Drafted, Self::Placed, Self::Paid, Self::Withdrawn];

    fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Drafted => "drafted",
            Self::Placed => "placed",
            Self::Paid => "paid",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A collection to be.
#[derive(Debug, Clone)]
pub struct NewCollection<'a> {
    /// Our invoice; none = nothing is owed, and Stripe's draft is to come to nothing.
    pub invoice: Option<InvoiceId>,
    /// Stripe's invoice; none = one is to be made.
    pub stripe_invoice: Option<&'a str>,
    /// What stands on it without our lines, in minor units.
    pub base_minor: i64,
    /// What of our invoice it collects, in minor units.
    pub amount_minor: i64,
    /// What it collects beyond that, and is to be given back, in minor units.
    pub excess_minor: i64,
    /// How far it is.
    pub state: CollectionState,
}

/// A collection.
#[derive(Debug, Clone)]
pub struct CollectionRow {
    /// Id.
    pub id: Uuid,
    /// Our invoice.
    pub invoice_id: Option<Uuid>,
    /// Stripe's.
    pub stripe_invoice_id: Option<String>,
    /// What stood on Stripe's before any line of ours, in minor units.
    pub base_minor: i64,
    /// What of ours it collects, in minor units.
    pub amount_minor: i64,
    /// What it collects beyond that, and is to be given back, in minor units.
    pub excess_minor: i64,
    /// What of `amount_minor` credit notes took back, in minor units.
    pub refunded_minor: i64,
    /// Its state, as stored.
    pub state: String,
    /// Our invoice was taken back.
    pub is_withdrawn: bool,
}

/// Whole rows of the tenant's collections.
macro_rules! collections {
    ($rest:literal, $($value:expr),+) => {
        sqlx::query_as!(
            CollectionRow,
            r#"SELECT id, invoice_id, stripe_invoice_id, base_minor, amount_minor, excess_minor, state, is_withdrawn,
                      (SELECT coalesce(sum(r.amount_minor), 0)::bigint FROM billing.stripe_refunds r
                       WHERE r.tenant_id = $1 AND r.collection_id = l.id) AS "refunded_minor!"
               FROM billing.stripe_collections l WHERE tenant_id = $1 AND "# + $rest,
            $($value),+
        )
    };
}

impl CollectionRow {
    /// How far it is.
    ///
    /// # Errors
    /// [`DbError::Corrupt`].
    pub fn state(&self) -> Result<CollectionState, DbError> {
        let known = CollectionState::ALL.into_iter().find(|state| state.as_str() == self.state);
        known.ok_or(DbError::Corrupt("stripe_collections.state"))
    }
}

/// Notes a collection; false if there is one of that invoice of Stripe's.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewCollection<'_>) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let NewCollection { invoice, stripe_invoice, base_minor, amount_minor, excess_minor, state } = new;
    let result = sqlx::query!(
        "INSERT INTO billing.stripe_collections
             (tenant_id, id, invoice_id, stripe_invoice_id, base_minor, amount_minor, excess_minor, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, stripe_invoice_id) DO NOTHING",
        tenant,
        clock::new_id::<CollectionId>().uuid(),
        invoice.map(InvoiceId::uuid),
        *stripe_invoice,
        base_minor,
        amount_minor,
        excess_minor,
        state.as_str()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// The collection that an invoice of Stripe's is.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, stripe_invoice: &str) -> Result<Option<CollectionRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(collections!("stripe_invoice_id = $2", tenant, stripe_invoice).fetch_optional(tx.connection()?).await?)
}

/// Collections that something is to be done about, the first noted first: they are not placed yet, or to be taken back, or
/// collect too much.
///
/// # Errors
/// [`DbError`].
pub async fn list_undone(tx: &mut TenantTx) -> Result<Vec<CollectionRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(collections!(
        "(state IN ('wanted', 'drafted') OR is_withdrawn AND state <> 'withdrawn' OR excess_minor > 0) ORDER BY id",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// What collects an invoice of ours: what is not paid before what is.
///
/// # Errors
/// [`DbError`].
pub async fn list_of(tx: &mut TenantTx, invoice: InvoiceId) -> Result<Vec<CollectionRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(collections!("invoice_id = $2 ORDER BY state = 'paid', id", tenant, invoice.uuid())
        .fetch_all(tx.connection()?)
        .await?)
}

/// Whether an invoice of ours is collected.
///
/// # Errors
/// [`DbError`].
pub async fn is_collected(tx: &mut TenantTx, invoice: InvoiceId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM billing.stripe_collections WHERE tenant_id = $1 AND invoice_id = $2) AS "found!""#,
        tenant,
        invoice.uuid()
    )
    .fetch_one(tx.connection()?)
    .await?;
    Ok(found)
}

/// What of an invoice of ours is paid and not taken back, in minor units.
///
/// # Errors
/// [`DbError`].
pub async fn sum_paid(tx: &mut TenantTx, invoice: Uuid) -> Result<i64, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(sum(l.amount_minor - coalesce(
                      (SELECT sum(r.amount_minor) FROM billing.stripe_refunds r
                       WHERE r.tenant_id = $1 AND r.collection_id = l.id), 0)), 0)::bigint AS "sum!"
           FROM billing.stripe_collections l WHERE l.tenant_id = $1 AND l.invoice_id = $2 AND l.state = 'paid'"#,
        tenant,
        invoice
    )
    .fetch_one(tx.connection()?)
    .await?)
}

/// Notes the invoice of Stripe's that was made for a collection; false if it is not wanted any more.
///
/// # Errors
/// [`DbError`].
pub async fn set_drafted(tx: &mut TenantTx, id: CollectionId, stripe_invoice: &str) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.stripe_collections SET stripe_invoice_id = $3, state = 'drafted'
         WHERE tenant_id = $1 AND id = $2 AND state = 'wanted'",
        tenant,
        id.uuid(),
        stripe_invoice
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Notes that a collection is owed, what it collects, and what beyond that; false if that is noted already.
///
/// # Errors
/// [`DbError`].
pub async fn set_placed(
    tx: &mut TenantTx,
    id: CollectionId,
    amount_minor: i64,
    excess_minor: i64,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.stripe_collections SET amount_minor = $3, excess_minor = $4, state = 'placed'
         WHERE tenant_id = $1 AND id = $2 AND state = 'drafted'",
        tenant,
        id.uuid(),
        amount_minor,
        excess_minor
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Notes that nothing is to be collected for an invoice any more; with `is_paid_too`, what was collected is to go back.
///
/// # Errors
/// [`DbError`].
pub async fn withdraw(tx: &mut TenantTx, invoice: InvoiceId, is_paid_too: bool) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_collections SET is_withdrawn = true
         WHERE tenant_id = $1 AND invoice_id = $2 AND ($3 OR state <> 'paid')",
        tenant,
        invoice.uuid(),
        is_paid_too
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes that nothing is to be collected by a collection any more.
///
/// # Errors
/// [`DbError`].
pub async fn withdraw_one(tx: &mut TenantTx, id: CollectionId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_collections SET is_withdrawn = true WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes that what was collected too much was given back.
///
/// # Errors
/// [`DbError`].
pub async fn set_given_back(tx: &mut TenantTx, id: CollectionId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_collections SET excess_minor = 0 WHERE tenant_id = $1 AND id = $2",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes that a collection was taken back at Stripe, or never got there.
///
/// # Errors
/// [`DbError`].
pub async fn set_withdrawn(tx: &mut TenantTx, id: CollectionId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_collections SET state = 'withdrawn' WHERE tenant_id = $1 AND id = $2 AND is_withdrawn",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Notes that a collection is paid.
///
/// # Errors
/// [`DbError`].
pub async fn set_paid(tx: &mut TenantTx, id: CollectionId) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "UPDATE billing.stripe_collections SET state = 'paid' WHERE tenant_id = $1 AND id = $2 AND state = 'placed'",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}
