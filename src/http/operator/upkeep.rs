//! What operators do to a running node: each leaves a row in a log, the tenant's or the platform's.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::target;
use crate::actors::tenant::RebuildTenant;
use crate::db::{TenantTx, audit};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::http::extract::Operator;
use crate::http::openapi;
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;

pub(super) fn event(
    operator: &Operator,
    action: &'static str,
    target: (&'static str, Option<String>),
    detail: Value,
) -> AuditEvent {
    let (target_kind, target_id) = target;
    AuditEvent {
        actor: operator.audit_actor(),
        action,
        target_kind,
        target_id,
        outcome: AuditOutcome::Success,
        code: None,
        source: operator.scope.caller.source.clone(),
        detail,
    }
}

/// Throw a tenant's cached state away on this node, and have it read again from the database.
#[utoipa::path(post, path = "/operator/tenants/{id}/rebuild", tag = "operator", operation_id = "operator.tenants.rebuild",
    security(("bearer" = [])), params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 202, description = "Being rebuilt"), openapi::ThingProblems))]
pub(in crate::http) async fn rebuild(
    operator: Operator,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &id).await?;
    // Written before it is done: a row too many says less wrong than one too few.
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    let of = ("tenant", Some(tenant.id().to_string()));
    audit::insert(&mut tx, &event(&operator, "tenant.rebuild", of, json!({}))).await?;
    tx.commit().await?;
    let told = tenant.supervisor().map(|supervisor| supervisor.tell(RebuildTenant));
    match told {
        Some(Ok(())) => Ok(HttpResponse::Accepted().finish()),
        Some(Err(_)) | None => {
            Err(Problem::new(&kinds::OVERLOADED, "the tenant's supervisor takes no message now").retry_after(1))
        }
    }
}

/// Check that row-level security keeps tenants apart: the catalogue part of `businessos rls-check`, with the server's own rights.
#[utoipa::path(get, path = "/operator/rls-check", tag = "operator", operation_id = "operator.rls_check", security(("bearer" = [])),
    responses((status = 200, description = "The report", body = Object), openapi::SignedInProblems))]
pub(in crate::http) async fn rls_check(
    _operator: Operator,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(state.db.check_catalogue(&state.settings.database.service_roles).await?))
}

/// Read the gateway's routes again from the configuration, all or nothing.
#[utoipa::path(post, path = "/operator/reload", tag = "operator", operation_id = "operator.reload", security(("bearer" = [])),
    responses((status = 200, description = "The routes are in use", body = Object),
              (status = 422, description = "`validation-failed`: the configuration has a mistake, and nothing was changed", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(in crate::http) async fn reload(operator: Operator, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    // Begun before anything is reloaded: without a log nothing is. A node reloads without the database on SIGHUP.
    let mut tx = TenantTx::begin(&state.db, operator.scope.view.tenant.id).await?;
    let reloaded = (state.reload_routes)();
    let mut done = event(&operator, "gateway.reload", ("gateway", None), json!({ "n_routes": reloaded.as_ref().ok() }));
    if reloaded.is_err() {
        (done.outcome, done.code) = (AuditOutcome::Failure, Some(kinds::VALIDATION_FAILED.code));
    }
    audit::insert(&mut tx, &done).await?;
    tx.commit().await?;
    match reloaded {
        Ok(n_routes) => Ok(HttpResponse::Ok().json(json!({ "n_routes": n_routes }))),
        Err(mistake) => Err(Problem::invalid_fields(
            mistake.lines().map(|line| FieldError { pointer: String::new(), detail: line.to_owned() }).collect(),
        )),
    }
}
