//! Secrets that a tenant gives the platform: stored, replaced and forgotten, never shown.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::target;
use crate::actors::secrets::{SealSecret, StoredSecret};
use crate::db::tenant_secrets::TenantSecretRow;
use crate::db::{TenantTx, audit, tenant_secrets};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::tenant_secret::{self, MAX_SECRETS, SecretError, SecretName};
use crate::http::extract::{AdminOfTenant, Json, SteppedUp, Then, parse_field};
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// Longest wait for an envelope.
const SEAL_DEADLINE: Duration = Duration::from_secs(5);

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SecretResponse {
    /// Its name.
    #[schema(example = "openai")]
    name: String,
    /// What it is for.
    purpose: String,
    /// When it was first stored.
    created_at: DateTime<Utc>,
    /// When its value was last replaced.
    updated_at: DateTime<Utc>,
}

impl From<TenantSecretRow> for SecretResponse {
    fn from(row: TenantSecretRow) -> Self {
        let TenantSecretRow { name, purpose, created_at, updated_at } = row;
        Self { name, purpose, created_at, updated_at }
    }
}

/// The secrets of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SecretsResponse {
    /// By name.
    secrets: Vec<SecretResponse>,
}

/// Names, purposes and dates of the tenant's secrets. Their values never come back. Asks for a second factor within the last five
/// minutes.
#[utoipa::path(get, path = "/tenants/{id}/secrets", tag = "tenants", operation_id = "tenant_secret.list", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The secrets", body = SecretsResponse), openapi::ThingProblems))]
pub(in crate::http) async fn list_secrets(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    let mut tx = TenantTx::begin_read(&state.db, tenant.id()).await?;
    let rows = tenant_secrets::list(&mut tx).await;
    tx.finish();
    Ok(HttpResponse::Ok().json(SecretsResponse { secrets: rows?.into_iter().map(SecretResponse::from).collect() }))
}

/// A secret to be stored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PutSecretRequest {
    /// The value, 1 to 8192 bytes.
    #[schema(value_type = String, format = Password, required = true)]
    value: Option<SecretString>,
    /// What it is for, at most 200 characters.
    #[serde(default)]
    purpose: String,
}

/// Store a secret, in place of one of that name. It is used here at once, and on every other node within a second. Asks for a second
/// factor within the last five minutes.
#[utoipa::path(put, path = "/tenants/{id}/secrets/{name}", tag = "tenants", operation_id = "tenant_secret.put", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id"),
           ("name" = String, Path, description = "1 to 63 of a-z, 0-9, `_` and `-`, beginning with a letter")),
    request_body = PutSecretRequest,
    responses((status = 200, description = "The secret, without its value", body = SecretResponse),
              (status = 409, description = "`conflict`: the tenant has 50 secrets", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn put_secret(
    Then(user, Json(body)): Then<SteppedUp<AdminOfTenant>, Json<PutSecretRequest>>,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, name) = path.into_inner();
    let tenant = target(&state, &user, &id).await?;
    let (name, value) = checked(&name, &body)?;
    let plaintext = Zeroizing::new(value.expose_secret().as_bytes().to_vec());
    let message = SealSecret { tenant: tenant.id(), secret: StoredSecret::OfTenant(name.clone()), plaintext };
    let sealed = state.secrets.ask(message, SEAL_DEADLINE).await?;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    let Some(stored) = tenant_secrets::upsert(&mut tx, &name, &body.purpose, &sealed).await? else {
        return Err(Problem::new(&kinds::CONFLICT, format!("there are {MAX_SECRETS} secrets; delete one first")));
    };
    audit::insert(&mut tx, &event(&user, "tenant_secret.put", &name)).await?;
    tx.commit().await?;
    tenancy::reload(&tenant, None).await?;
    Ok(HttpResponse::Ok().json(SecretResponse::from(stored)))
}

/// Forget a secret. Asks for a second factor within the last five minutes.
#[utoipa::path(delete, path = "/tenants/{id}/secrets/{name}", tag = "tenants", operation_id = "tenant_secret.delete", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id"), ("name" = String, Path, description = "The secret's name")),
    responses((status = 204, description = "Forgotten"), openapi::ThingProblems))]
pub(in crate::http) async fn delete_secret(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, name) = path.into_inner();
    let tenant = target(&state, &user, &id).await?;
    let not_found = || Problem::new(&kinds::NOT_FOUND, "there is no such secret");
    let name = SecretName::parse(&name).map_err(|_name: SecretError| not_found())?;
    let mut tx = TenantTx::begin(&state.db, tenant.id()).await?;
    if !tenant_secrets::delete(&mut tx, &name).await? {
        return Err(not_found());
    }
    audit::insert(&mut tx, &event(&user, "tenant_secret.delete", &name)).await?;
    tx.commit().await?;
    tenancy::reload(&tenant, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Name and value, or everything that is wrong.
fn checked<'a>(name: &str, body: &'a PutSecretRequest) -> Result<(SecretName, &'a SecretString), Problem> {
    let mut errors = Vec::new();
    let name = parse_field(&mut errors, "/name", SecretName::parse(name));
    // Not a missing field for the parser: whether there is such a tenant is said first.
    let value = body.value.as_ref().ok_or(SecretError::Value);
    let value = value.and_then(|value| tenant_secret::check_value(value).map(|()| value));
    let value = parse_field(&mut errors, "/value", value);
    let purpose = parse_field(&mut errors, "/purpose", tenant_secret::check_purpose(&body.purpose));
    match (name, value, purpose) {
        (Some(name), Some(value), Some(())) => Ok((name, value)),
        _ => Err(Problem::invalid_fields(errors)),
    }
}

/// The name alone: nothing of the value, not even its length.
fn event(user: &AdminOfTenant, action: &'static str, name: &SecretName) -> AuditEvent {
    AuditEvent {
        actor: user.audit_actor(),
        action,
        target_kind: "tenant_secret",
        target_id: Some(name.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: user.scope.caller.source.clone(),
        detail: json!({}),
    }
}
