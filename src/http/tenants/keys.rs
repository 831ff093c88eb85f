//! A tenant's signing keys: seeing them, and replacing them in an emergency.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::target;
use crate::actors::secrets::ReplaceKeys;
use crate::db::{TenantTx, signing_keys};
use crate::http::extract::{AdminOfTenant, SteppedUp};
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::http::{openapi, tenancy};

/// Longest wait for the new key.
const REPLACE_DEADLINE: Duration = Duration::from_secs(5);

/// A signing key. Its public half is in `/.well-known/jwks.json`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct KeyResponse {
    /// Its id, as in the header of the tokens that it signed.
    kid: String,
    /// `ES256` or `EdDSA`.
    #[schema(example = "ES256")]
    algorithm: String,
    /// `pending` (published, does not sign yet), `active` (signs) or `retiring` (verifies what it signed).
    #[schema(example = "active")]
    state: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it began to sign.
    activated_at: Option<DateTime<Utc>>,
    /// When it ceased to.
    retired_at: Option<DateTime<Utc>>,
}

/// The signing keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct KeysResponse {
    /// The newest first.
    keys: Vec<KeyResponse>,
}

/// A tenant's signing keys, the newest first. They rotate by themselves.
#[utoipa::path(get, path = "/tenants/{id}/keys", tag = "tenants", operation_id = "signing_key.list", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The keys", body = KeysResponse), openapi::ThingProblems))]
pub(in crate::http) async fn list_keys(
    user: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    let mut tx = TenantTx::begin_read(&state.db, tenant.id()).await?;
    let answer = answer(&mut tx).await;
    tx.finish();
    answer
}

/// Replace all signing keys at once, because one may be in wrong hands. Every access token of the tenant dies; its sessions live
/// on, and their clients refresh.
#[utoipa::path(post, path = "/tenants/{id}/keys/rotate", tag = "tenants", operation_id = "signing_key.replace_all", security(("bearer" = [])),
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The keys after it: one", body = KeysResponse), openapi::ThingProblems))]
pub(in crate::http) async fn replace_keys(
    user: SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let tenant = target(&state, &user, &id).await?;
    let source = user.scope.caller.source.clone();
    let message = ReplaceKeys { tenant: tenant.id(), actor: user.audit_actor(), source };
    let kid = state.secrets.ask(message, REPLACE_DEADLINE).await?;
    tracing::warn!(tenant.id = %tenant.id(), kid, "the tenant's signing keys were replaced");
    tenancy::reload(&tenant, None).await?;
    let mut tx = TenantTx::begin_read(&state.db, tenant.id()).await?;
    let answer = answer(&mut tx).await;
    tx.finish();
    answer
}

async fn answer(tx: &mut TenantTx) -> Result<HttpResponse, Problem> {
    let keys = signing_keys::list_public(tx).await?.into_iter().map(|key| KeyResponse {
        kid: key.kid,
        algorithm: key.algorithm,
        state: key.state,
        created_at: key.created_at,
        activated_at: key.activated_at,
        retired_at: key.retired_at,
    });
    Ok(HttpResponse::Ok().json(KeysResponse { keys: keys.collect() }))
}
