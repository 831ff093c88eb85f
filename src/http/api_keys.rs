//! API keys: made, listed and revoked by a tenant's admins.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::extract::{AdminOfTenant, Json, Page, Principal, SteppedUp, Then};
use super::problem::{FieldError, Problem, kinds};
use super::state::AppState;
use super::{openapi, tenancy};
use crate::actors::tenant::{RevokeApiKey, TenantHandle};
use crate::clients::kms;
use crate::clock;
use crate::db::api_keys::{ApiKeyRow, NewApiKey};
use crate::db::{TenantTx, api_keys, audit, user_admin};
use crate::domain::api_key::{self, ApiKeyName, MAX_LIVE_KEYS, MAX_SCOPES};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::ids::{ApiKeyId, UserId};
use crate::domain::scope::Scope;

/// How long a handler waits until this node refuses the revoked key. Other nodes hear of it by the config log.
const REVOKE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(1);

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeyResponse {
    /// Id.
    id: ApiKeyId,
    /// Name.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// Who made it.
    created_by: UserId,
    /// When.
    created_at: DateTime<Utc>,
    /// It is refused from then on; none: it does not run out.
    expires_at: Option<DateTime<Utc>>,
    /// When it was last used, up to a minute late.
    last_used_at: Option<DateTime<Utc>>,
}

impl From<ApiKeyRow> for ApiKeyResponse {
    fn from(row: ApiKeyRow) -> Self {
        let ApiKeyRow { id, name, scopes, created_by, created_at, expires_at, last_used_at } = row;
        let (id, created_by) = (id.into(), created_by.into());
        Self { id, name, scopes, created_by, created_at, expires_at, last_used_at }
    }
}

/// A new API key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewApiKeyResponse {
    /// Id.
    id: ApiKeyId,
    /// Name.
    name: String,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// Who made it.
    created_by: UserId,
    /// When.
    created_at: DateTime<Utc>,
    /// It is refused from then on; none: it does not run out.
    expires_at: Option<DateTime<Utc>>,
    /// The key itself, for `Authorization: Bearer` or `X-Api-Key`. It is shown here and never again.
    #[schema(example = "bos_live_<id>_<secret>_<checksum>")]
    secret: String,
}

/// Which keys are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApiKeyQuery {
    /// Id of the last key of the page before.
    after: Option<ApiKeyId>,
    /// Keys wanted, 1 to 200; 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
}

/// The tenant's keys that were not revoked, oldest first.
#[utoipa::path(get, path = "/api-keys", tag = "tenants", operation_id = "api_keys.list", security(("bearer" = [])),
    params(ApiKeyQuery),
    responses((status = 200, description = "A page", body = Page<ApiKeyResponse>),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(super) async fn list(
    Then(user, query): Then<AdminOfTenant, web::Query<ApiKeyQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let limit = query.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(Problem::invalid_field("/limit", "must be between 1 and 200"));
    }
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let mut rows = api_keys::list(&mut tx, query.after, limit + 1).await?;
    tx.finish();
    let n_wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > n_wanted;
    rows.truncate(n_wanted);
    let next = if has_more { rows.last().map(|row| row.id.to_string()) } else { None };
    let items: Vec<_> = rows.into_iter().map(ApiKeyResponse::from).collect();
    Ok(HttpResponse::Ok().json(Page { items, next }))
}

/// The key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateApiKeyRequest {
    /// Name, 1 to 200 characters.
    name: String,
    /// What it may do: `gateway:*`, `gateway:/prefix` of a route, `usage:write`, `usage:read`, `audit:read`, `users:read`.
    scopes: Vec<String>,
    /// It is refused from then on; left out: it does not run out.
    expires_at: Option<DateTime<Utc>>,
}

/// Make an API key. Asks for a second factor within the last five minutes. The answer alone has the key's text.
#[utoipa::path(post, path = "/api-keys", tag = "tenants", operation_id = "api_keys.create", security(("bearer" = [])),
    request_body = CreateApiKeyRequest,
    responses((status = 201, description = "The key, for the only time", body = NewApiKeyResponse),
              (status = 409, description = "`conflict`: the tenant has 100 live keys", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(super) async fn create(
    Then(user, Json(body)): Then<SteppedUp<AdminOfTenant>, Json<CreateApiKeyRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (name, scopes) = checked(&state, &body)?;
    let id: ApiKeyId = clock::new_id();
    let secret = kms::random().map_err(|_no_randomness: kms::MasterKeyError| {
        Problem::new(&kinds::UNAVAILABLE, "the machine has no random bytes; try again soon").retry_after(1)
    })?;
    let text = api_key::compose(&state.settings.auth.api_key_env, id, &Zeroizing::new(secret));
    let created_by = user.token.claims.sub;
    let hash = api_key::hash(text.expose_secret());
    let new = NewApiKey { id, name: &name, hash, scopes: &scopes, created_by, expires_at: body.expires_at };
    let tenant = &user.scope.tenant;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    // Whose access is being ended at this moment leaves no key behind.
    if user_admin::lock(&mut tx, created_by).await?.is_none_or(|maker| maker.is_suspended) {
        return Err(Principal::forbidden());
    }
    let Some(created_at) = api_keys::insert(&mut tx, &new).await? else {
        return Err(Problem::new(&kinds::CONFLICT, format!("there are {MAX_LIVE_KEYS} keys; revoke one first")));
    };
    let detail = json!({ "name": name.as_str(), "scopes": scopes, "expires_at": body.expires_at });
    audit::insert(&mut tx, &event(&user, "api_key.create", id, detail)).await?;
    tx.commit().await?;
    tenancy::reload(tenant, None).await?;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(NewApiKeyResponse {
        id,
        name: name.as_str().to_owned(),
        scopes,
        created_by,
        created_at,
        expires_at: body.expires_at,
        secret: text.expose_secret().to_owned(),
    }))
}

/// Name and scopes, or everything that is wrong.
fn checked(state: &AppState, body: &CreateApiKeyRequest) -> Result<(ApiKeyName, Vec<Scope>), Problem> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, detail: String| errors.push(FieldError { pointer, detail });
    let name = ApiKeyName::parse(&body.name).map_err(|error| wrong("/name".to_owned(), error.to_string())).ok();
    if !(1..=MAX_SCOPES).contains(&body.scopes.len()) {
        wrong("/scopes".to_owned(), format!("must have 1 to {MAX_SCOPES} entries"));
    }
    let mut scopes = Vec::new();
    for (index, text) in body.scopes.iter().enumerate().take(MAX_SCOPES) {
        match Scope::parse(text) {
            Ok(scope) if !is_served(state, &scope) => {
                wrong(format!("/scopes/{index}"), "the gateway has no route with this prefix".to_owned());
            }
            Ok(scope) if scopes.contains(&scope) => {
                wrong(format!("/scopes/{index}"), "is there twice".to_owned());
            }
            Ok(scope) => scopes.push(scope),
            Err(error) => wrong(format!("/scopes/{index}"), error.to_string()),
        }
    }
    if body.expires_at.is_some_and(|at| at <= clock::now()) {
        wrong("/expires_at".to_owned(), "must be in the future".to_owned());
    }
    match name {
        Some(name) if errors.is_empty() => Ok((name, scopes)),
        _ => Err(Problem::invalid_fields(errors)),
    }
}

fn is_served(state: &AppState, scope: &Scope) -> bool {
    let Scope::Service(_) = scope else { return true };
    state.routes.load().routes().iter().any(|route| scope.permits_service(&route.settings().prefix))
}

/// Revoke an API key. It is refused here at once, and on every other node within a second. Asks for a second factor within the
/// last five minutes.
#[utoipa::path(delete, path = "/api-keys/{id}", tag = "tenants", operation_id = "api_keys.revoke", security(("bearer" = [])),
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "Revoked"), openapi::ThingProblems))]
pub(super) async fn revoke(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::new(&kinds::NOT_FOUND, "there is no such key");
    let id: ApiKeyId = id.parse().map_err(|_malformed: uuid::Error| not_found())?;
    let tenant = &user.scope.tenant;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    let name = api_keys::revoke(&mut tx, id, user.token.claims.sub).await?.ok_or_else(not_found)?;
    audit::insert(&mut tx, &event(&user, "api_key.revoke", id, json!({ "name": name }))).await?;
    tx.commit().await?;
    revoke_here(tenant, id).await;
    Ok(HttpResponse::NoContent().finish())
}

/// Has this node refuse the key without waiting for the config log.
async fn revoke_here(tenant: &TenantHandle, key: ApiKeyId) {
    let Some(supervisor) = tenant.supervisor() else { return };
    if let Err(error) = supervisor.ask(RevokeApiKey { key }, REVOKE_DEADLINE).await {
        tracing::warn!(%error, "the view learns of a revoked API key by the config log only");
    }
}

fn event(user: &AdminOfTenant, action: &'static str, key: ApiKeyId, detail: serde_json::Value) -> AuditEvent {
    AuditEvent {
        actor: user.audit_actor(),
        action,
        target_kind: "api_key",
        target_id: Some(key.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: user.scope.caller.source.clone(),
        detail,
    }
}
