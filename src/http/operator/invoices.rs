//! Invoices of all tenants: which are open, and what was paid by bank transfer.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::actors::billing::credit::{Credited, credit};
use crate::actors::billing::payment::{self, By, SettleError};
use crate::clock;
use crate::db::invoices::{self, DirectoryInvoice};
use crate::db::{SystemReason, SystemTx};
use crate::domain::crediting::{CreditError, Part};
use crate::domain::ids::{InvoiceId, TenantId};
use crate::http::billing::invoices::{InvoiceResponse, not_found, parse_id};
use crate::http::extract::{Json, Operator, Then};
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// Invoices of one answer.
const PAGE: i64 = 200;
/// Longest reference or reason, in characters.
const MAX_TEXT: usize = 200;
/// Most parts of lines that one credit note takes back.
const MAX_PARTS: usize = 100;

/// Which invoices are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct InvoicesQuery {
    /// `open` (if left out), `paid` or `credited`.
    status: Option<String>,
    /// `due_at` of the last one of the page before, with `after_id`.
    after_due: Option<DateTime<Utc>>,
    /// Its id.
    after_id: Option<Uuid>,
}

/// An invoice as the directory knows it: nothing personal.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DirectoryInvoiceEntry {
    /// Id.
    #[schema(value_type = String)]
    id: InvoiceId,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// Number.
    number: String,
    /// `open`, `paid` or `credited`.
    status: String,
    /// When it is due.
    due_at: DateTime<Utc>,
}

impl From<DirectoryInvoice> for DirectoryInvoiceEntry {
    fn from(row: DirectoryInvoice) -> Self {
        let DirectoryInvoice { tenant_id, invoice_id, number, status, due_at } = row;
        Self { id: invoice_id.into(), tenant: tenant_id.into(), number, status, due_at }
    }
}

/// Up to 200 invoices.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DirectoryInvoices {
    /// Those that are due first before the others.
    items: Vec<DirectoryInvoiceEntry>,
}

/// Invoices of all tenants, by when they are due.
#[utoipa::path(get, path = "/operator/invoices", tag = "operator", operation_id = "operator.invoices.list",
    security(("bearer" = [])), params(InvoicesQuery),
    responses((status = 200, description = "Invoices", body = DirectoryInvoices), 
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(in crate::http) async fn list_all_invoices(
    Then(_operator, query): Then<Operator, web::Query<InvoicesQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let status = query.status.as_deref().unwrap_or("open");
    if !["open", "paid", "credited"].contains(&status) {
        return Err(Problem::invalid_field("/status", "must be one of open, paid, credited"));
    }
    let after = query.after_due.zip(query.after_id.map(InvoiceId::from));
    let system = SystemTx::new(&state.db, SystemReason::FindInvoices);
    let items = invoices::list_directory(&system, status, after, PAGE).await?;
    Ok(HttpResponse::Ok().json(DirectoryInvoices { items: items.into_iter().map(Into::into).collect() }))
}

/// A payment that came in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PaidRequest {
    /// When; now if left out, and not in the future.
    paid_at: Option<DateTime<Utc>>,
    /// What the transfer says, at most 200 characters.
    reference: Option<String>,
}

/// Note that an invoice was paid by bank transfer.
#[utoipa::path(post, path = "/operator/invoices/{id}/paid", tag = "operator", operation_id = "operator.invoices.mark_paid",
    security(("bearer" = [])), params(("id" = String, Path, description = "The invoice's id")), request_body = PaidRequest,
    responses((status = 200, description = "The invoice, paid", body = InvoiceResponse),
              openapi::SwitchProblems, openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn mark_paid(
    Then(operator, Json(body)): Then<Operator, Json<PaidRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (id, now) = (parse_id(&id)?, clock::now());
    let paid_at = body.paid_at.unwrap_or(now);
    if paid_at > now + TimeDelta::minutes(1) {
        return Err(Problem::invalid_field("/paid_at", "must not be in the future"));
    }
    check_text("/reference", body.reference.as_deref().unwrap_or_default())?;
    let by = By { actor: operator.audit_actor(), source: operator.scope.caller.source.clone() };
    let tenant = tenant_of(&state, id).await?;
    let row = payment::mark_paid(&state.db, &state.settings, tenant, id, paid_at, body.reference.as_deref(), by)
        .await
        .map_err(refusal)?;
    Ok(HttpResponse::Ok().json(InvoiceResponse::from(row)))
}

/// What of an invoice is taken back, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreditRequest {
    /// What the credit note says, 1 to 200 characters.
    reason: String,
    /// Parts of its lines, 1 to 100; all that is left of the invoice if left out.
    #[schema(min_items = 1, max_items = 100)]
    lines: Option<Vec<CreditPart>>,
    /// `credited_minor` of the invoice as it was seen; needed with `lines`. A request that is sent twice is so refused the second time.
    credited_minor: Option<i64>,
}

/// A part of a line.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CreditPart {
    /// The line's key.
    #[schema(example = "plan:basic")]
    key: String,
    /// How much of its amount: without tax, and before the invoice's discount, whose share goes with it.
    #[schema(minimum = 1)]
    amount_minor: i64,
}

/// A credit note, and the way that money goes back. Amounts are in the currency's smallest unit.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CreditResponse {
    /// The credit note.
    #[serde(flatten)]
    note: InvoiceResponse,
    /// What goes back to the card by Stripe.
    refund_minor: i64,
    /// What was paid by other means, and is to be paid back by hand.
    transfer_minor: i64,
}

/// Take an invoice back, as a whole or in part. A credit note with a number of its own says why. What is not paid yet is not to be paid
/// any more; what was paid by card goes back to it, and what was paid otherwise is to be paid back by hand.
#[utoipa::path(post, path = "/operator/invoices/{id}/credit", tag = "operator", operation_id = "operator.invoices.credit",
    security(("bearer" = [])), params(("id" = String, Path, description = "The invoice's id")), request_body = CreditRequest,
    responses((status = 201, description = "The credit note", body = CreditResponse),
              openapi::SwitchProblems, openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn credit_invoice(
    Then(operator, Json(body)): Then<Operator, Json<CreditRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let CreditRequest { reason, lines, credited_minor } = body;
    check_text("/reason", &reason)?;
    if reason.trim().is_empty() {
        return Err(Problem::invalid_field("/reason", "must not be empty"));
    }
    if lines.as_ref().is_some_and(|lines| lines.is_empty() || lines.len() > MAX_PARTS) {
        return Err(Problem::invalid_field("/lines", format!("must be 1 to {MAX_PARTS} parts, or left out")));
    }
    if lines.is_some() && credited_minor.is_none() {
        return Err(Problem::invalid_field(
            "/credited_minor",
            "must say what credit notes took back so far, as it was seen",
        ));
    }
    let parts = lines.map(|lines| {
        lines.into_iter().map(|CreditPart { key, amount_minor }| Part { key, amount_minor }).collect::<Vec<_>>()
    });
    let by = By { actor: operator.audit_actor(), source: operator.scope.caller.source.clone() };
    let tenant = tenant_of(&state, id).await?;
    let Credited { note, refund_minor, transfer_minor } =
        credit(&state.db, &state.settings, tenant, id, (parts.as_deref(), credited_minor), &reason, by)
            .await
            .map_err(refusal)?;
    Ok(HttpResponse::Created().json(CreditResponse { note: note.into(), refund_minor, transfer_minor }))
}

async fn tenant_of(state: &AppState, id: InvoiceId) -> Result<TenantId, Problem> {
    let system = SystemTx::new(&state.db, SystemReason::FindInvoices);
    invoices::find_tenant(&system, id).await?.ok_or_else(not_found)
}

fn check_text(pointer: &'static str, text: &str) -> Result<(), Problem> {
    if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
        let detail = format!("must be at most {MAX_TEXT} characters, none of them a control character");
        return Err(Problem::invalid_field(pointer, detail));
    }
    Ok(())
}

fn refusal(error: SettleError) -> Problem {
    match error {
        SettleError::Unknown => not_found(),
        SettleError::NotOpen => Problem::new(&kinds::CONFLICT, "the invoice is not open: it was paid or taken back"),
        SettleError::Changed { .. } => Problem::new(&kinds::CONFLICT, error.to_string()),
        SettleError::InTransit => Problem::new(
            &kinds::CONFLICT,
            "the invoice is on its way to Stripe: in a moment it can be taken back in part, and as a whole at any time",
        ),
        SettleError::Credit(error) => match error {
            CreditError::NothingLeft => Problem::new(&kinds::CONFLICT, error.to_string()),
            CreditError::NoSuchLine(position) => Problem::invalid_field(
                format!("/lines/{position}/key"),
                "must name a line of the invoice that is no credit, and each line once, with an amount of at least 1",
            ),
            CreditError::TooMuch { position, left_minor } => Problem::invalid_field(
                format!("/lines/{position}/amount_minor"),
                format!("must be at most {left_minor}, which is left of the line"),
            ),
            CreditError::MoreThanLeft { .. } => Problem::invalid_field("/lines", error),
            CreditError::Money(_) => Problem::invalid_field("/lines", "the sums are too large"),
        },
        SettleError::Db(error) => error.into(),
    }
}
