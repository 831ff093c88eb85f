//! What operators of the platform do.

mod import;
mod invitations;
mod invoices;
mod jobs;
mod mail;
mod plan;
mod upkeep;

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

pub(super) use import::{__path_import_users, import_users};
pub(super) use invitations::{__path_invite_to_onboard, invite_to_onboard};
pub(super) use invoices::{
    __path_credit_invoice, __path_list_all_invoices, __path_mark_paid, credit_invoice, list_all_invoices, mark_paid,
};
pub(super) use jobs::{__path_list_jobs, __path_run_job, list_jobs, run_job};
pub(super) use mail::{__path_list_mail, __path_retry_mail, list_mail, retry_mail};
pub(super) use plan::{__path_change_plan, change_plan};
pub(super) use upkeep::{__path_rebuild, __path_reload, __path_rls_check, rebuild, reload, rls_check};

use super::extract::{Operator, Page, PageQuery, Then};
use super::openapi;
use super::problem::{Problem, kinds};
use super::state::AppState;
use super::tenancy;
use crate::actors::tenant::{TenantHandle, Wanted};
use crate::clock;
use crate::db::directory::{self, DirectoryRow};
use crate::db::{SystemReason, SystemTx, TenantTx, audit, tenants};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::ids::TenantId;
use crate::domain::tenant::{PLATFORM_SLUG, TenantState};

/// A tenant as the directory knows it: nothing personal.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DirectoryEntry {
    /// Id.
    id: TenantId,
    /// Subdomain.
    subdomain: String,
    /// Where its data lives.
    region: String,
    /// The database cluster that holds it.
    cell: String,
    /// Where it is in its life.
    state: String,
    /// Version of its configuration.
    config_version: i64,
    /// When it was onboarded.
    created_at: DateTime<Utc>,
}

impl From<DirectoryRow> for DirectoryEntry {
    fn from(row: DirectoryRow) -> Self {
        let DirectoryRow { tenant_id, slug, region, cell, state, config_version, created_at } = row;
        Self { id: tenant_id.into(), subdomain: slug, region, cell, state, config_version, created_at }
    }
}

/// All tenants, in the order of their subdomains.
#[utoipa::path(get, path = "/operator/tenants", tag = "operator", operation_id = "operator.tenants.list", security(("bearer" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page", body = Page<DirectoryEntry>),
              (status = 400, description = "`malformed-request`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(super) async fn list_tenants(
    Then(_operator, query): Then<Operator, web::Query<PageQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let limit = query
        .checked_limit()
        .map_err(|(min, max)| Problem::invalid_field("/limit", format!("must be between {min} and {max}")))?;
    if query.state.as_deref().is_some_and(|state| TenantState::parse(state).is_none()) {
        return Err(Problem::invalid_field("/state", "must be one of active, suspended, deleting"));
    }
    let system = SystemTx::new(&state.db, SystemReason::ListTenants);
    let after = query.after.as_deref().unwrap_or_default();
    let mut rows = directory::list(&system, after, query.state.as_deref(), limit + 1).await?;
    let has_more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = if has_more { rows.last().map(|row| row.slug.clone()) } else { None };
    let items = rows.into_iter().map(DirectoryEntry::from).collect::<Vec<_>>();
    Ok(HttpResponse::Ok().json(Page { items, next }))
}

/// A tenant's new state.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StateResponse {
    /// Id.
    id: TenantId,
    /// Where it is in its life now.
    state: TenantState,
    /// When its data is erased, if it is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_after: Option<DateTime<Utc>>,
}

async fn target(state: &AppState, id: &str) -> Result<Arc<TenantHandle>, Problem> {
    let not_found = || Problem::new(&kinds::NOT_FOUND, "there is no such tenant");
    let id: TenantId = id.parse().map_err(|_malformed: uuid::Error| not_found())?;
    let tenant = match tenancy::resolve(state, Wanted::Id(id)).await {
        Err(problem) if problem.kind() == &kinds::UNKNOWN_TENANT => return Err(not_found()),
        other => other?,
    };
    Ok(tenant)
}

/// Moves a tenant from one of `from` to `to`; its tokens die with it.
async fn switch(
    operator: &Operator,
    state: &AppState,
    id: &str,
    from: &[TenantState],
    to: TenantState,
    action: &'static str,
) -> Result<HttpResponse, Problem> {
    let tenant = target(state, id).await?;
    if tenant.slug().as_str() == PLATFORM_SLUG {
        return Err(Problem::new(&kinds::CONFLICT, "the platform's own tenant stays active"));
    }
    let grace = TimeDelta::days(i64::from(state.settings.tenants.delete_grace_days));
    let delete_after = (to == TenantState::Deleting).then(|| clock::now() + grace);
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    if !tenants::set_state(&mut tx, from, to, delete_after).await? {
        let names: Vec<_> = from.iter().map(|state| state.as_str()).collect();
        return Err(Problem::new(
            &kinds::CONFLICT,
            format!("only possible for a tenant that is {}", names.join(" or ")),
        ));
    }
    let event = AuditEvent {
        actor: operator.audit_actor(),
        action,
        target_kind: "tenant",
        target_id: Some(tenant.id().to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: operator.scope.caller.source.clone(),
        detail: json!({ "state": to, "delete_after": delete_after }),
    };
    audit::insert(&mut tx, &event).await?;
    tx.commit().await?;
    tenancy::reload(&tenant, None).await?;
    let now = tenant.view().tenant.clone();
    Ok(HttpResponse::Ok().json(StateResponse { id: now.id, state: now.state, delete_after: now.delete_after }))
}

/// Switch a tenant off; everything is kept.
#[utoipa::path(post, path = "/operator/tenants/{id}/suspend", tag = "operator", operation_id = "operator.tenants.suspend",
    security(("bearer" = [])), params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "Suspended", body = StateResponse), openapi::SwitchProblems, openapi::ThingProblems))]
pub(super) async fn suspend(
    operator: Operator,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    switch(&operator, &state, &id, &[TenantState::Active], TenantState::Suspended, "tenant.suspend").await
}

/// Switch a tenant on again, also one that is being deleted. Its users sign in anew.
#[utoipa::path(post, path = "/operator/tenants/{id}/resume", tag = "operator", operation_id = "operator.tenants.resume",
    security(("bearer" = [])), params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "Active", body = StateResponse), openapi::SwitchProblems, openapi::ThingProblems))]
pub(super) async fn resume(
    operator: Operator,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let from = [TenantState::Suspended, TenantState::Deleting];
    switch(&operator, &state, &id, &from, TenantState::Active, "tenant.resume").await
}

/// Switch a tenant off for good: its data may be erased after the grace period. Until then it can be resumed.
#[utoipa::path(post, path = "/operator/tenants/{id}/delete", tag = "operator", operation_id = "operator.tenants.delete",
    security(("bearer" = [])), params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "Being deleted", body = StateResponse), openapi::SwitchProblems, openapi::ThingProblems))]
pub(super) async fn delete(
    operator: Operator,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let from = [TenantState::Active, TenantState::Suspended];
    switch(&operator, &state, &id, &from, TenantState::Deleting, "tenant.delete").await
}
