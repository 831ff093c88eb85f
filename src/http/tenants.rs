//! Tenants: onboarding, and what their admins see and set.

mod config;
mod domains;
mod invitation;
mod keys;
mod onboard;
mod secrets;

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

pub(super) use config::{__path_get_config, __path_put_config, get_config, put_config};
pub(super) use domains::{
    __path_claim_domain, __path_list_domains, __path_release_domain, __path_verify_domain, claim_domain, list_domains,
    release_domain, verify_domain,
};
pub(super) use keys::{__path_list_keys, __path_replace_keys, list_keys, replace_keys};
pub(super) use onboard::{__path_onboard, onboard};
pub(super) use secrets::{
    __path_delete_secret, __path_list_secrets, __path_put_secret, delete_secret, list_secrets, put_secret,
};

use super::extract::{AdminOfTenant, Json, Then};
use super::problem::{FieldError, Problem, kinds};
use super::state::AppState;
use super::tenancy;
use crate::actors::tenant::{TenantHandle, Wanted};
use crate::db::{TenantTx, audit, tenants};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::ids::TenantId;
use crate::domain::tenant::{Tenant, TenantName, TenantState};

/// A tenant as its admins see it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantResponse {
    /// Id.
    id: TenantId,
    /// Display name.
    name: String,
    /// Subdomain.
    subdomain: String,
    /// Where its data lives.
    region: String,
    /// Plan.
    plan: String,
    /// Where it is in its life.
    state: TenantState,
    /// When it was onboarded.
    created_at: DateTime<Utc>,
    /// When its data is erased, if it is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_after: Option<DateTime<Utc>>,
}

impl From<&Tenant> for TenantResponse {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id,
            name: tenant.name.clone(),
            subdomain: tenant.slug.to_string(),
            region: tenant.region.clone(),
            plan: tenant.plan.clone(),
            state: tenant.state,
            created_at: tenant.created_at,
            delete_after: tenant.delete_after,
        }
    }
}

/// The tenant of the path: the caller's own, or any for an operator. Everybody else gets the same answer as for an id that
/// nobody has.
async fn target(state: &AppState, user: &AdminOfTenant, id: &str) -> Result<Arc<TenantHandle>, Problem> {
    let not_found = || Problem::new(&kinds::NOT_FOUND, "there is no such tenant");
    let id: TenantId = id.parse().map_err(|_malformed: uuid::Error| not_found())?;
    if id == user.scope.tenant.id() {
        return Ok(Arc::clone(&user.scope.tenant));
    }
    if !user.is_operator() {
        return Err(not_found());
    }
    match tenancy::resolve(state, Wanted::Id(id)).await {
        Err(problem) if problem.kind() == &kinds::UNKNOWN_TENANT => Err(not_found()),
        other => other,
    }
}

/// A tenant.
#[utoipa::path(get, path = "/tenants/{id}", tag = "tenants", operation_id = "tenant.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The tenant", body = TenantResponse), super::openapi::ThingProblems))]
pub(super) async fn get_tenant(
    user: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    Ok(HttpResponse::Ok().json(TenantResponse::from(&tenant.view().tenant)))
}

/// What to change of a tenant; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateTenantRequest {
    /// Display name, 1 to 200 characters.
    name: Option<String>,
    /// One of the platform's regions.
    region: Option<String>,
}

/// Change a tenant's name or region. Its plan changes through billing, its subdomain not at all.
#[utoipa::path(patch, path = "/tenants/{id}", tag = "tenants", operation_id = "tenant.update", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")), request_body = UpdateTenantRequest,
    responses((status = 200, description = "The tenant after the change", body = TenantResponse),
              super::openapi::BodyProblems, super::openapi::ThingProblems))]
pub(super) async fn update_tenant(
    Then(user, Json(body)): Then<AdminOfTenant, Json<UpdateTenantRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    let UpdateTenantRequest { name, region } = body;
    let mut errors = Vec::new();
    let name = name.and_then(|text| match TenantName::parse(&text) {
        Ok(name) => Some(name),
        Err(error) => {
            errors.push(FieldError { pointer: "/name".to_owned(), detail: error.to_string() });
            None
        }
    });
    if let Some(region) = &region {
        errors.extend(region_error(&state, region));
    }
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    let version = tenants::update(&mut tx, name.as_ref(), region.as_deref()).await?;
    let detail = json!({ "name": name, "region": region });
    audit::insert(&mut tx, &event(&user, "tenant.update", tenant.id(), detail)).await?;
    tx.commit().await?;
    tenancy::ensure_version(&tenant, version).await?;
    Ok(HttpResponse::Ok().json(TenantResponse::from(&tenant.view().tenant)))
}

/// What is wrong with a region, if anything.
fn region_error(state: &AppState, region: &str) -> Option<FieldError> {
    let regions = &state.settings.onboarding.regions;
    (!regions.iter().any(|known| known == region))
        .then(|| FieldError { pointer: "/region".to_owned(), detail: format!("must be one of {}", regions.join(", ")) })
}

fn event(user: &AdminOfTenant, action: &'static str, tenant: TenantId, detail: serde_json::Value) -> AuditEvent {
    AuditEvent {
        actor: user.audit_actor(),
        action,
        target_kind: "tenant",
        target_id: Some(tenant.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: user.scope.caller.source.clone(),
        detail,
    }
}
