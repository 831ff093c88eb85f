//! The tenant's invoices.

use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::billing::close::{self, CloseError};
use crate::actors::billing::document::{self, DocumentError};
use crate::clock;
use crate::db::invoices::{self, InvoiceRow};
use crate::db::{DbError, TenantTx};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::Line;
use crate::domain::period::Period;
use crate::domain::tax::TaxGroup;
use crate::http::extract::{BillingUser, Page, PageQuery, Then};
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// An invoice or a credit note. Amounts are in the currency's smallest unit.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct InvoiceResponse {
    /// Id.
    #[schema(value_type = String)]
    id: InvoiceId,
    /// Number, without gaps for each year.
    #[schema(example = "INV-2026-000042")]
    number: String,
    /// `cycle`, the invoice of a period; `interim`, what was paid at once when subscribing; or `credit_note`.
    kind: String,
    /// `open`, `paid`, or `credited`: taken back by a credit note.
    #[schema(example = "open")]
    status: String,
    /// First instant of the period that it closes.
    period_start: DateTime<Utc>,
    /// The first instant after that.
    period_end: DateTime<Utc>,
    /// Currency (ISO 4217).
    #[schema(example = "USD")]
    currency: String,
    /// Sum of the lines.
    subtotal_minor: i64,
    /// What is taken off.
    discount_minor: i64,
    /// Tax.
    tax_minor: i64,
    /// What is to be paid, or is taken back.
    total_minor: i64,
    /// What of it credit notes take back.
    credited_minor: i64,
    /// What is still to be paid.
    due_minor: i64,
    /// When it was issued.
    issued_at: DateTime<Utc>,
    /// When it is due.
    due_at: DateTime<Utc>,
    /// When it was paid.
    paid_at: Option<DateTime<Utc>>,
    /// What the payment said.
    payment_reference: Option<String>,
    /// The invoice that a credit note takes back.
    #[schema(value_type = Option<String>)]
    credits: Option<InvoiceId>,
    /// Why.
    reason: Option<String>,
}

impl From<InvoiceRow> for InvoiceResponse {
    fn from(row: InvoiceRow) -> Self {
        let (id, due_minor) = (row.invoice_id(), row.due_minor());
        let InvoiceRow { number, kind, status, period_start, period_end, currency, .. } = row;
        Self {
            id,
            number,
            kind,
            status,
            period_start,
            period_end,
            currency,
            subtotal_minor: row.subtotal_minor,
            discount_minor: row.discount_minor,
            tax_minor: row.tax_minor,
            total_minor: row.total_minor,
            credited_minor: row.credited_minor,
            due_minor,
            issued_at: row.issued_at,
            due_at: row.due_at,
            paid_at: row.paid_at,
            payment_reference: row.payment_reference,
            credits: row.credits_id.map(InvoiceId::from),
            reason: row.reason,
        }
    }
}

/// A page of invoices.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct InvoicePage {
    /// Newest first.
    items: Vec<InvoiceResponse>,
    /// Value of `after` for the next page; null on the last.
    next: Option<String>,
}

/// A line of an invoice.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct InvoiceLine {
    /// Names it among the invoice's lines.
    key: String,
    /// `plan`, `module`, `usage`, `late_usage`, `proration`, `one_off` or `carried`.
    kind: &'static str,
    /// What it says.
    description: String,
    /// How many units; negative for a credit.
    quantity: i64,
    /// Price of one, a decimal number of the currency's smallest unit.
    #[schema(example = "0.002")]
    unit_price: String,
    /// What they cost, without tax.
    amount_minor: i64,
    /// The time that it is for.
    period_start: DateTime<Utc>,
    /// The first instant after that.
    period_end: DateTime<Utc>,
    /// Tax, in percent.
    #[schema(example = "19")]
    tax_percent: String,
}

impl From<Line> for InvoiceLine {
    fn from(line: Line) -> Self {
        let Line { key, kind, description, quantity, unit_price, amount_minor, period, taxation } = line;
        Self {
            key,
            kind: kind.as_str(),
            description,
            quantity,
            unit_price: unit_price.to_string(),
            amount_minor,
            period_start: period.start,
            period_end: period.end,
            tax_percent: taxation.rate.to_string(),
        }
    }
}

/// The tax on all lines that are taxed alike.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct InvoiceTax {
    /// Category, as UN/CEFACT's list 5305 has it: `S`, `Z`, `AE`, `E` or `O`.
    #[schema(example = "S")]
    category: &'static str,
    /// Rate, in percent.
    #[schema(example = "19")]
    percent: String,
    /// What is taxed.
    basis_minor: i64,
    /// The tax.
    amount_minor: i64,
}

impl From<TaxGroup> for InvoiceTax {
    fn from(group: TaxGroup) -> Self {
        let TaxGroup { taxation, basis_minor, amount_minor } = group;
        Self { category: taxation.category.code(), percent: taxation.rate.to_string(), basis_minor, amount_minor }
    }
}

/// An invoice with its lines.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct WholeInvoice {
    /// What it comes to.
    #[serde(flatten)]
    invoice: InvoiceResponse,
    /// Its lines, in order.
    lines: Vec<InvoiceLine>,
    /// Its taxes.
    taxes: Vec<InvoiceTax>,
}

/// The tenant's invoices and credit notes, newest first.
#[utoipa::path(get, path = "/billing/invoice", tag = "billing", operation_id = "billing.invoices.list", security(("bearer" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page of invoices", body = InvoicePage), 
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(in crate::http) async fn list_invoices(
    Then(user, query): Then<BillingUser, web::Query<PageQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let limit = query.limit_or_problem()?;
    let after = match &query.after {
        None => None,
        Some(_) => Some(query.after_id::<InvoiceId>()?),
    };
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let rows = invoices::list(&mut tx, after, limit + 1).await;
    tx.finish();
    let items = rows?.into_iter().map(InvoiceResponse::from).collect();
    let Page { items, next } = Page::cut(items, limit, |invoice: &InvoiceResponse| invoice.id.to_string());
    Ok(HttpResponse::Ok().json(InvoicePage { items, next }))
}

/// One invoice, with its lines.
#[utoipa::path(get, path = "/billing/invoice/{id}", tag = "billing", operation_id = "billing.invoices.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The invoice's id")),
    responses((status = 200, description = "The invoice", body = WholeInvoice), openapi::ThingProblems))]
pub(in crate::http) async fn get_invoice(
    user: BillingUser,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let found = read(&mut tx, id).await;
    tx.finish();
    Ok(HttpResponse::Ok().json(found?.ok_or_else(not_found)?))
}

async fn read(tx: &mut TenantTx, id: InvoiceId) -> Result<Option<WholeInvoice>, DbError> {
    let Some(row) = invoices::find(tx, id).await? else { return Ok(None) };
    let lines = invoices::list_lines(tx, id).await?.into_iter().map(InvoiceLine::from).collect();
    let taxes = invoices::list_taxes(tx, id).await?.into_iter().map(InvoiceTax::from).collect();
    Ok(Some(WholeInvoice { invoice: row.into(), lines, taxes }))
}

/// An invoice that is not issued yet.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct UpcomingInvoice {
    /// First instant of the period that it will close.
    period_start: DateTime<Utc>,
    /// The first instant after that; it is issued some days later, when late events have come in.
    period_end: DateTime<Utc>,
    /// Currency (ISO 4217).
    currency: String,
    /// Sum of the lines so far.
    subtotal_minor: i64,
    /// What is taken off.
    discount_minor: i64,
    /// Tax.
    tax_minor: i64,
    /// What would be to pay.
    total_minor: i64,
    /// Its lines so far, in order.
    lines: Vec<InvoiceLine>,
}

/// What the present month's invoice comes to so far: usage up to now, and the next month's prices.
#[utoipa::path(get, path = "/billing/invoice/upcoming", tag = "billing", operation_id = "billing.invoices.preview", security(("bearer" = [])),
    responses((status = 200, description = "The invoice so far", body = UpcomingInvoice), openapi::SignedInProblems))]
pub(in crate::http) async fn upcoming_invoice(
    user: BillingUser,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (tenant, period) = (user.scope.tenant.id(), Period::containing(clock::now()));
    let closed = close::preview(&state.db, &state.settings, tenant, period).await.map_err(|error| match error {
        CloseError::Db(error) => error.into(),
        CloseError::Money(_) => Problem::new(&kinds::INTERNAL, "the sums cannot be worked out"),
    })?;
    Ok(HttpResponse::Ok().json(UpcomingInvoice {
        period_start: period.start,
        period_end: period.end,
        currency: closed.totals.currency.code().to_owned(),
        subtotal_minor: closed.totals.subtotal_minor,
        discount_minor: closed.totals.discount_minor,
        tax_minor: closed.totals.tax_minor,
        total_minor: closed.totals.total_minor,
        lines: closed.lines.into_iter().map(InvoiceLine::from).collect(),
    }))
}

/// The document of an invoice or a credit note: PDF/A-3 for people, with Factur-X inside for programs. The same bytes each time.
#[utoipa::path(get, path = "/billing/invoice/{id}/pdf", tag = "billing", operation_id = "billing.invoices.pdf", security(("bearer" = [])),
    params(("id" = String, Path, description = "The invoice's id")),
    responses((status = 200, description = "The document", body = Vec<u8>, content_type = "application/pdf"), openapi::ThingProblems))]
pub(in crate::http) async fn get_pdf(
    user: BillingUser,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let tenant = user.scope.tenant.id();
    let printed = document::pdf(&state.db, &state.settings, &state.printer, tenant, id).await;
    let (number, pdf) = printed.map_err(|error| match error {
        DocumentError::Unknown => not_found(),
        DocumentError::Db(error) => error.into(),
        DocumentError::Busy => {
            Problem::new(&kinds::OVERLOADED, "many invoices are being printed; try again soon").retry_after(5)
        }
        DocumentError::Print(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(tenant.id = %tenant, invoice = %id, error, "an invoice cannot be printed");
            Problem::new(&kinds::INTERNAL, "the document cannot be made; quote the request id to support")
        }
    })?;
    Ok(HttpResponse::Ok()
        .content_type("application/pdf")
        .insert_header((CONTENT_DISPOSITION, format!("inline; filename=\"{number}.pdf\"")))
        .body(pdf))
}

/// The id in a path; what is none belongs to no invoice.
pub(in crate::http) fn parse_id(id: &str) -> Result<InvoiceId, Problem> {
    id.parse().map_err(|_id: uuid::Error| not_found())
}

pub(in crate::http) fn not_found() -> Problem {
    Problem::new(&kinds::NOT_FOUND, "there is no such invoice")
}
