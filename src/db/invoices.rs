//! Invoices: `billing.invoices` with their lines and taxes. What is issued is never changed but by its payment.

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::error::DbError;
use super::tx::{SystemTx, TenantTx};
use crate::domain::ids::{InvoiceId, TenantId};
use crate::domain::invoice::{Line, LineKind, Totals};
use crate::domain::money::Currency;
use crate::domain::period::Period;
use crate::domain::price::UnitPrice;
use crate::domain::tax::{TaxCategory, TaxGroup, TaxRate, Taxation};

/// What kind of document it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceKind {
    /// The invoice of a period.
    Cycle,
    /// What is paid beside the periods' ends: at a checkout, for instance.
    Interim,
    /// What takes one back.
    CreditNote,
}

impl InvoiceKind {
    /// Its name in the database and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::Interim => "interim",
            Self::CreditNote => "credit_note",
        }
    }
}

/// An invoice to be issued.
#[derive(Debug)]
pub struct NewInvoice<'a> {
    /// Id.
    pub id: InvoiceId,
    /// Prefix of its number, such as `INV`: numbers have no gaps for each prefix and year.
    pub prefix: &'a str,
    /// Kind.
    pub kind: InvoiceKind,
    /// The period that it closes.
    pub period: Period,
    /// Its lines, at least one.
    pub lines: &'a [Line],
    /// What they come to.
    pub totals: &'a Totals,
    /// When it is issued.
    pub issued_at: DateTime<Utc>,
    /// When it is to be paid.
    pub due_at: DateTime<Utc>,
    /// Seller.
    pub seller: Value,
    /// Buyer.
    pub buyer: Value,
    /// What a credit note takes back, and why.
    pub credits: Option<(InvoiceId, &'a str)>,
}

/// An invoice, without its lines.
#[derive(Debug, Clone)]
pub struct InvoiceRow {
    /// Id.
    pub id: Uuid,
    /// Number.
    pub number: String,
    /// `cycle`, `interim` or `credit_note`.
    pub kind: String,
    /// `open`, `paid` or `credited`.
    pub status: String,
    /// The period that it closes.
    pub period_start: DateTime<Utc>,
    /// The first instant after that.
    pub period_end: DateTime<Utc>,
    /// Currency (ISO 4217).
    pub currency: String,
    /// Sum of the lines.
    pub subtotal_minor: i64,
    /// What is taken off.
    pub discount_minor: i64,
    /// Tax.
    pub tax_minor: i64,
    /// What is to be paid.
    pub total_minor: i64,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// When it is to be paid.
    pub due_at: DateTime<Utc>,
    /// Seller, as it was then.
    pub seller: Value,
    /// Buyer, as it was then.
    pub buyer: Value,
    /// What a credit note takes back.
    pub credits_id: Option<Uuid>,
    /// Why.
    pub reason: Option<String>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// What the payment says.
    pub payment_reference: Option<String>,
    /// What of it credit notes take back.
    pub credited_minor: i64,
}

/// Issues an invoice in the transaction that closes its period, and returns its number. Numbers are taken in the order of commits: the
/// series is locked until the transaction's end, so do it late.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewInvoice<'_>) -> Result<String, DbError> {
    let tenant = tx.tenant().uuid();
    let series = format!("{}-{}", new.prefix, new.issued_at.year());
    let taken = sqlx::query_scalar!(r#"SELECT billing.take_invoice_number($1) AS "number!""#, series)
        .fetch_one(tx.connection()?)
        .await?;
    let number = format!("{series}-{taken:06}");
    let Totals { currency, subtotal_minor, discount_minor, taxes: _, tax_minor, total_minor } = new.totals;
    // There is nothing to wait for.
    let is_paid = *total_minor == 0 && new.kind != InvoiceKind::CreditNote;
    let status = match (new.kind, is_paid) {
        (InvoiceKind::CreditNote, _) => "credited",
        (InvoiceKind::Cycle | InvoiceKind::Interim, true) => "paid",
        (InvoiceKind::Cycle | InvoiceKind::Interim, false) => "open",
    };
    sqlx::query!(
        "INSERT INTO billing.invoices (tenant_id, id, number, kind, status, period_start, period_end, currency, subtotal_minor,
                                       discount_minor, tax_minor, total_minor, issued_at, due_at, seller, buyer, credits_id,
                                       reason, paid_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        tenant,
        new.id.uuid(),
        number,
        new.kind.as_str(),
        status,
        new.period.start,
        new.period.end,
        currency.code(),
        *subtotal_minor,
        *discount_minor,
        *tax_minor,
        *total_minor,
        new.issued_at,
        new.due_at,
        new.seller,
        new.buyer,
        new.credits.map(|(id, _)| id.uuid()),
        new.credits.map(|(_, reason)| reason),
        is_paid.then_some(new.issued_at)
    )
    .execute(tx.connection()?)
    .await?;
    insert_lines(tx, new.id, new.lines).await?;
    insert_taxes(tx, new.id, &new.totals.taxes).await?;
    Ok(number)
}

async fn insert_lines(tx: &mut TenantTx, id: InvoiceId, lines: &[Line]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let texts = |of: fn(&Line) -> String| lines.iter().map(of).collect::<Vec<String>>();
    let numbers = |of: fn(&Line) -> i64| lines.iter().map(of).collect::<Vec<i64>>();
    let times = |of: fn(&Line) -> DateTime<Utc>| lines.iter().map(of).collect::<Vec<DateTime<Utc>>>();
    let rates: Vec<i32> = lines.iter().map(|line| rate(line.taxation)).collect();
    sqlx::query!(
        "INSERT INTO billing.invoice_lines (tenant_id, invoice_id, position, key, kind, description, quantity, unit_price,
                                            amount_minor, period_start, period_end, tax_category, tax_rate)
         SELECT $1, $2, position::integer, key, kind, description, quantity, unit_price, amount_minor, period_start, period_end,
                tax_category, tax_rate
         FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::timestamptz[],
                     $10::timestamptz[], $11::text[], $12::integer[])
              WITH ORDINALITY AS line (key, kind, description, quantity, unit_price, amount_minor, period_start, period_end,
                                       tax_category, tax_rate, position)",
        tenant,
        id.uuid(),
        &texts(|line| line.key.clone()),
        &texts(|line| line.kind.as_str().to_owned()),
        &texts(|line| line.description.clone()),
        &numbers(|line| line.quantity),
        &texts(|line| line.unit_price.to_string()),
        &numbers(|line| line.amount_minor),
        &times(|line| line.period.start),
        &times(|line| line.period.end),
        &texts(|line| line.taxation.category.code().to_owned()),
        &rates
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

async fn insert_taxes(tx: &mut TenantTx, id: InvoiceId, taxes: &[TaxGroup]) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    let categories: Vec<String> = taxes.iter().map(|group| group.taxation.category.code().to_owned()).collect();
    let rates: Vec<i32> = taxes.iter().map(|group| rate(group.taxation)).collect();
    let bases: Vec<i64> = taxes.iter().map(|group| group.basis_minor).collect();
    let amounts: Vec<i64> = taxes.iter().map(|group| group.amount_minor).collect();
    sqlx::query!(
        "INSERT INTO billing.invoice_taxes (tenant_id, invoice_id, category, rate, basis_minor, amount_minor)
         SELECT $1, $2, tax.* FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::bigint[]) AS tax",
        tenant,
        id.uuid(),
        &categories,
        &rates,
        &bases,
        &amounts
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// In millionths; a rate is a million at most.
fn rate(taxation: Taxation) -> i32 {
    i32::try_from(taxation.rate.millionths()).unwrap_or(i32::MAX)
}

/// Whole rows of the tenant's invoices.
macro_rules! invoices {
    ($rest:literal, $($value:expr),+) => {
        sqlx::query_as!(
            InvoiceRow,
            r#"SELECT id, number, kind, status, period_start, period_end, currency, subtotal_minor, discount_minor, tax_minor,
                      total_minor, issued_at, due_at, seller, buyer, credits_id, reason, paid_at, payment_reference,
                      (SELECT coalesce(sum(n.total_minor), 0)::bigint FROM billing.invoices n
                       WHERE n.tenant_id = $1 AND n.credits_id = i.id) AS "credited_minor!"
               FROM billing.invoices i WHERE tenant_id = $1 AND "# + $rest,
            $($value),+
        )
    };
}

/// The tenant's invoices, newest first: up to `n` of them, behind `after` if it is given.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, after: Option<InvoiceId>, n: i64) -> Result<Vec<InvoiceRow>, DbError> {
    let tenant = tx.tenant().uuid();
    let after = after.map(InvoiceId::uuid);
    Ok(invoices!("($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3", tenant, after, n)
        .fetch_all(tx.connection()?)
        .await?)
}

/// One invoice.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: InvoiceId) -> Result<Option<InvoiceRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(invoices!("id = $2", tenant, id.uuid()).fetch_optional(tx.connection()?).await?)
}

/// The credit notes of an invoice, the first issued first.
///
/// # Errors
/// [`DbError`].
pub async fn list_credit_notes(tx: &mut TenantTx, id: InvoiceId) -> Result<Vec<InvoiceRow>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(invoices!("credits_id = $2 ORDER BY id", tenant, id.uuid()).fetch_all(tx.connection()?).await?)
}

/// The invoice that closed the period which begins at `start`.
///
/// # Errors
/// [`DbError`].
pub async fn find_cycle(tx: &mut TenantTx, start: DateTime<Utc>) -> Result<Option<InvoiceId>, DbError> {
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        "SELECT id FROM billing.invoices WHERE tenant_id = $1 AND kind = 'cycle' AND period_start = $2",
        tenant,
        start
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(id.map(InvoiceId::from))
}

/// Open invoices that are to be collected and are not yet: issued since the tenant's card is known.
///
/// # Errors
/// [`DbError`].
pub async fn list_uncollected(tx: &mut TenantTx) -> Result<Vec<InvoiceId>, DbError> {
    let tenant = tx.tenant().uuid();
    let ids = sqlx::query_scalar!(
        "SELECT i.id FROM billing.invoices i JOIN billing.stripe_customers c ON c.tenant_id = i.tenant_id
         WHERE i.tenant_id = $1 AND i.status = 'open' AND i.kind <> 'credit_note' AND c.payment_method IS NOT NULL
           AND i.issued_at >= c.charged_since
           AND NOT EXISTS (SELECT FROM billing.stripe_collections l WHERE l.tenant_id = $1 AND l.invoice_id = i.id)
         ORDER BY i.id",
        tenant
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(ids.into_iter().map(InvoiceId::from).collect())
}

/// The lines of an invoice, in their order.
///
/// # Errors
/// [`DbError`].
pub async fn list_lines(tx: &mut TenantTx, id: InvoiceId) -> Result<Vec<Line>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT key, kind, description, quantity, unit_price, amount_minor, period_start, period_end, tax_category, tax_rate
         FROM billing.invoice_lines WHERE tenant_id = $1 AND invoice_id = $2 ORDER BY position",
        tenant,
        id.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Line {
                key: row.key,
                kind: LineKind::parse(&row.kind).ok_or(DbError::Corrupt("invoice_lines.kind"))?,
                description: row.description,
                quantity: row.quantity,
                unit_price: UnitPrice::parse(&row.unit_price)
                    .map_err(|_price: crate::domain::money::MoneyError| DbError::Corrupt("invoice_lines.unit_price"))?,
                amount_minor: row.amount_minor,
                period: Period { start: row.period_start, end: row.period_end },
                taxation: taxation(&row.tax_category, row.tax_rate)?,
            })
        })
        .collect()
}

/// The taxes of an invoice.
///
/// # Errors
/// [`DbError`].
pub async fn list_taxes(tx: &mut TenantTx, id: InvoiceId) -> Result<Vec<TaxGroup>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "SELECT category, rate, basis_minor, amount_minor FROM billing.invoice_taxes
         WHERE tenant_id = $1 AND invoice_id = $2 ORDER BY category, rate",
        tenant,
        id.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?;
    rows.into_iter()
        .map(|row| {
            let taxation = taxation(&row.category, row.rate)?;
            Ok(TaxGroup { taxation, basis_minor: row.basis_minor, amount_minor: row.amount_minor })
        })
        .collect()
}

fn taxation(category: &str, rate: i32) -> Result<Taxation, DbError> {
    let category = TaxCategory::parse(category).ok_or(DbError::Corrupt("invoices' tax category"))?;
    let rate =
        u32::try_from(rate).ok().and_then(TaxRate::of_millionths).ok_or(DbError::Corrupt("invoices' tax rate"))?;
    Ok(Taxation { category, rate })
}

impl InvoiceRow {
    /// Its id.
    #[must_use]
    pub fn invoice_id(&self) -> InvoiceId {
        self.id.into()
    }

    /// What is still to be paid of it, in the currency's smallest unit.
    #[must_use]
    pub fn due_minor(&self) -> i64 {
        if self.status == "open" { self.total_minor.saturating_sub(self.credited_minor) } else { 0 }
    }

    /// Its currency.
    ///
    /// # Errors
    /// [`DbError::Corrupt`].
    pub fn currency(&self) -> Result<Currency, DbError> {
        Currency::parse(&self.currency)
            .map_err(|_code: crate::domain::money::MoneyError| DbError::Corrupt("invoices.currency"))
    }
}

/// Marks an open invoice as paid; `false` if it is not open.
///
/// # Errors
/// [`DbError`].
pub async fn set_paid(
    tx: &mut TenantTx,
    id: InvoiceId,
    at: DateTime<Utc>,
    reference: Option<&str>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.invoices SET status = 'paid', paid_at = $3, payment_reference = $4
         WHERE tenant_id = $1 AND id = $2 AND status = 'open'",
        tenant,
        id.uuid(),
        at,
        reference
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Marks an open invoice as taken back; `false` if it is not open.
///
/// # Errors
/// [`DbError`].
pub async fn set_credited(tx: &mut TenantTx, id: InvoiceId) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE billing.invoices SET status = 'credited' WHERE tenant_id = $1 AND id = $2 AND status = 'open'",
        tenant,
        id.uuid()
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// When the tenant's oldest open invoice was or is due.
///
/// # Errors
/// [`DbError`].
pub async fn find_oldest_due(tx: &mut TenantTx) -> Result<Option<DateTime<Utc>>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_scalar!("SELECT min(due_at) FROM billing.invoices WHERE tenant_id = $1 AND status = 'open'", tenant)
        .fetch_one(tx.connection()?)
        .await?)
}

/// Whose invoice it is.
///
/// # Errors
/// [`DbError`].
pub async fn find_tenant(tx: &SystemTx<'_>, id: InvoiceId) -> Result<Option<TenantId>, DbError> {
    let tenant = sqlx::query_scalar!("SELECT billing.find_invoice_tenant($1)", id.uuid()).fetch_one(tx.pool).await?;
    Ok(tenant.map(TenantId::from))
}

/// An invoice as the directory knows it.
#[derive(Debug, Clone)]
pub struct DirectoryInvoice {
    /// Whose it is.
    pub tenant_id: Uuid,
    /// Id.
    pub invoice_id: Uuid,
    /// Number.
    pub number: String,
    /// `open`, `paid` or `credited`.
    pub status: String,
    /// When it is to be paid.
    pub due_at: DateTime<Utc>,
}

/// Up to `n` invoices of a status, those that were due first before the others, behind one of them if it is given.
///
/// # Errors
/// [`DbError`].
pub async fn list_directory(
    tx: &SystemTx<'_>,
    status: &str,
    after: Option<(DateTime<Utc>, InvoiceId)>,
    n: i64,
) -> Result<Vec<DirectoryInvoice>, DbError> {
    let (due, id) = after.map_or((DateTime::<Utc>::UNIX_EPOCH, Uuid::nil()), |(due, id)| (due, id.uuid()));
    Ok(sqlx::query_as!(
        DirectoryInvoice,
        r#"SELECT tenant_id AS "tenant_id!", invoice_id AS "invoice_id!", number AS "number!", status AS "status!",
                  due_at AS "due_at!"
           FROM billing.list_invoice_directory($1, $2, $3, $4)"#,
        status,
        due,
        id,
        n
    )
    .fetch_all(tx.pool)
    .await?)
}
