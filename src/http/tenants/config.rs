//! A tenant's configuration, replaced whole and only by somebody who has seen the version before.

use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{event, target};
use crate::actors::sso;
use crate::actors::tenant::TenantHandle;
use crate::db::{TenantTx, audit, tenants};
use crate::domain::assurance::Requirement;
use crate::domain::tenant::{LimitConfig, PLATFORM_SLUG, SessionConfig, SsoConfig, Tenant, TenantConfig};
use crate::http::extract::{AdminOfTenant, Json, Then, demand};
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// A tenant's configuration with its version.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ConfigResponse {
    /// Origins whose pages may call this tenant's host (CORS).
    cors_origins: Vec<String>,
    /// Tighter session lives than the platform's.
    session: SessionConfig,
    /// Everybody needs a second factor.
    mfa_required: bool,
    /// Tighter limits than the plan's.
    limits: LimitConfig,
    /// Sign-in by the tenant's identity provider.
    sso: SsoConfig,
    /// Its version, also in `ETag`.
    version: i64,
}

/// A tenant's configuration; what is left out has its default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConfigRequest {
    /// Origins whose pages may call this tenant's host (CORS); at most 50.
    #[serde(default)]
    cors_origins: Vec<String>,
    /// Tighter session lives than the platform's.
    #[serde(default)]
    session: SessionConfig,
    /// Everybody needs a second factor.
    #[serde(default)]
    mfa_required: bool,
    /// Tighter limits than the plan's.
    #[serde(default)]
    limits: LimitConfig,
    /// Sign-in by the tenant's identity provider. `enforced` needs a connection, and an owner with a password and a second factor,
    /// who can still get in when the provider cannot be reached.
    #[serde(default)]
    sso: SsoConfig,
    /// As it was read; `If-Match` decides.
    version: Option<i64>,
}

/// A tenant's configuration.
#[utoipa::path(get, path = "/tenants/{id}/config", tag = "tenants", operation_id = "tenant_config.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The configuration", body = ConfigResponse, headers(("ETag" = String))),
              openapi::ThingProblems))]
pub(in crate::http) async fn get_config(
    user: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    Ok(answer(&tenant.view().tenant))
}

/// Replace a tenant's configuration. What lowers its security (no second factor any more, longer sessions) asks for a step-up.
/// It holds on every node at once (the log says within milliseconds).
#[utoipa::path(put, path = "/tenants/{id}/config", tag = "tenants", operation_id = "tenant_config.replace", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id"),
           ("If-Match" = String, Header, description = "The version that was read, as in `ETag`")),
    request_body = ConfigRequest,
    responses((status = 200, description = "The configuration after the change", body = ConfigResponse, headers(("ETag" = String))),
              (status = 412, description = "`precondition-failed`: changed meanwhile", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 428, description = "`precondition-required`: no `If-Match`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn put_config(
    Then(user, Json(body)): Then<AdminOfTenant, Json<ConfigRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    let ConfigRequest { cors_origins, session, mfa_required, limits, sso, version: stated } = body;
    let version = if_match(&request)?;
    if stated.is_some_and(|stated| stated != version) {
        return Err(Problem::invalid_field("/version", "must be the version of If-Match"));
    }
    let config = TenantConfig { cors_origins, session, mfa_required, limits, sso };
    let errors: Vec<_> = config
        .mistakes(tenant.view().plan.requests_per_minute)
        .into_iter()
        .map(|(pointer, error)| FieldError { pointer, detail: error.to_string() })
        .collect();
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let stored =
        serde_json::to_value(&config).map_err(|_never: serde_json::Error| Problem::new(&kinds::INTERNAL, "no JSON"))?;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    // Compared with the very version that is replaced: this node's view may be behind it.
    let before = tenants::find(&mut tx).await?.filter(|before| before.config_version == version);
    let before = before.ok_or_else(changed_meanwhile)?;
    if config.is_laxer_than(&before.config) {
        demand(&user, Requirement::SENSITIVE)?;
    }
    if config.sso.enforced && !before.config.sso.enforced {
        sso::check_enforcement(&mut tx, is_platform(&tenant)).await?;
    }
    let after = tenants::replace_config(&mut tx, version, &stored).await?.ok_or_else(changed_meanwhile)?;
    let detail = json!({ "version": after, "config": stored });
    audit::insert(&mut tx, &event(&user, "tenant_config.replace", tenant.id(), detail)).await?;
    tx.commit().await?;
    tenancy::ensure_version(&tenant, after).await?;
    Ok(answer(&tenant.view().tenant))
}

fn is_platform(tenant: &TenantHandle) -> bool {
    tenant.slug().as_str() == PLATFORM_SLUG
}

fn changed_meanwhile() -> Problem {
    Problem::new(&kinds::PRECONDITION_FAILED, "read the configuration again: it was changed meanwhile")
}

fn answer(tenant: &Tenant) -> HttpResponse {
    let version = tenant.config_version;
    // Not flattened: the document would forbid the version beside the configuration's own fields.
    let TenantConfig { cors_origins, session, mfa_required, limits, sso } = tenant.config.clone();
    HttpResponse::Ok().insert_header((ETAG, format!("\"{version}\""))).json(ConfigResponse {
        cors_origins,
        session,
        mfa_required,
        limits,
        sso,
        version,
    })
}

/// The version of a strong entity tag (RFC 9110 §13.1.1).
fn if_match(request: &HttpRequest) -> Result<i64, Problem> {
    let Some(value) = request.headers().get(IF_MATCH) else {
        return Err(Problem::new(&kinds::PRECONDITION_REQUIRED, "send If-Match with the ETag that was read"));
    };
    let tag = value.to_str().unwrap_or_default().trim().trim_matches('"');
    tag.parse().map_err(|_other: std::num::ParseIntError| {
        Problem::new(&kinds::PRECONDITION_FAILED, "If-Match is no version of this configuration")
    })
}
