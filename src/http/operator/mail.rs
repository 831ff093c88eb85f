//! Mail that waits or was given up.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::db::mail_queue::{self, MailStatus};
use crate::db::{SystemReason, SystemTx, TenantTx, audit};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::ids::{MailId, TenantId};
use crate::http::extract::{Operator, Page, PageQuery, Then};
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// A mail, without what it says and to whom.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MailEntry {
    /// The tenant.
    tenant_id: TenantId,
    /// Id.
    id: MailId,
    /// What it is about.
    kind: String,
    /// What stands behind the `@`.
    recipient_domain: String,
    /// When it was written.
    created_at: DateTime<Utc>,
    /// Attempts so far.
    n_attempts: i32,
    /// When the next one is due, if it was not given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<DateTime<Utc>>,
    /// When it was given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    last_error: Option<String>,
}

impl MailEntry {
    fn of(tenant_id: TenantId, status: MailStatus) -> Self {
        let MailStatus { id, kind, recipient_domain, created_at, n_attempts, next_attempt_at, dead_at, last_error } =
            status;
        let next_attempt_at = dead_at.is_none().then_some(next_attempt_at);
        let id = id.into();
        Self { tenant_id, id, kind, recipient_domain, created_at, n_attempts, next_attempt_at, dead_at, last_error }
    }
}

/// Mail of all tenants that waits (`state=pending`, which is meant if nothing is said) or was given up (`state=dead`).
#[utoipa::path(get, path = "/operator/mail", tag = "operator", operation_id = "operator.mail.list", security(("bearer" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<MailEntry>),
              (status = 400, description = "`malformed-request`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(in crate::http) async fn list_mail(
    Then(_operator, query): Then<Operator, web::Query<PageQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (limit, after) = (query.limit_or_problem()?, query.after_id()?);
    let is_dead = match query.state.as_deref() {
        None | Some("pending") => false,
        Some("dead") => true,
        Some(_) => return Err(Problem::invalid_field("/state", "must be pending or dead")),
    };
    let system = SystemTx::new(&state.db, SystemReason::FindMail);
    let found = mail_queue::list(&system, is_dead, after, limit + 1).await?;
    let Page { items, next } = Page::cut(found, limit, |(_, id): &(TenantId, MailId)| id.to_string());
    // What a mail is about is its tenant's, and is read as that tenant.
    let mut by_tenant: BTreeMap<TenantId, Vec<uuid::Uuid>> = BTreeMap::new();
    for (tenant, id) in items {
        by_tenant.entry(tenant).or_default().push(id.uuid());
    }
    let mut entries = Vec::new();
    for (tenant, ids) in by_tenant {
        let mut tx = TenantTx::begin_read(&state.db, tenant).await?;
        let rows = mail_queue::list_status(&mut tx, &ids).await?;
        tx.finish();
        entries.extend(rows.into_iter().map(|row| MailEntry::of(tenant, row)));
    }
    entries.sort_by_key(|entry| entry.id);
    Ok(HttpResponse::Ok().json(Page { items: entries, next }))
}

/// Try a mail again that was given up.
#[utoipa::path(post, path = "/operator/mail/{tenant_id}/{id}/retry", tag = "operator", operation_id = "operator.mail.retry",
    security(("bearer" = [])),
    params(("tenant_id" = String, Path, description = "The tenant's id"), ("id" = String, Path, description = "The mail's id")),
    responses((status = 202, description = "Due now"), openapi::ThingProblems))]
pub(in crate::http) async fn retry_mail(
    operator: Operator,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::new(&kinds::NOT_FOUND, "there is no such mail that was given up");
    let (tenant, mail) = path.into_inner();
    let tenant: TenantId = tenant.parse().map_err(|_malformed: uuid::Error| not_found())?;
    let mail: MailId = mail.parse().map_err(|_malformed: uuid::Error| not_found())?;
    let mut tx = TenantTx::begin(&state.db, tenant).await?;
    if !mail_queue::revive(&mut tx, mail).await? {
        return Err(not_found());
    }
    let event = AuditEvent {
        actor: operator.audit_actor(),
        action: "mail.retry",
        target_kind: "mail",
        target_id: Some(mail.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: operator.scope.caller.source.clone(),
        detail: json!({}),
    };
    audit::insert(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(HttpResponse::Accepted().finish())
}
