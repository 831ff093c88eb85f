//! Enrolling, listing and removing passkeys.

use std::sync::Arc;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;
use webauthn_rs::prelude::RegisterPublicKeyCredential;

use super::enrol::EnrolledResponse;
use super::{DEADLINE, enroller, signed_in};
use crate::actors::auth::{BeginPasskey, CeremonyOptions, FinishPasskey, RemovePasskey};
use crate::db::{TenantTx, passkeys};
use crate::domain::identity::parse_person_name;
use crate::http::extract::{AnyUser, Json, OptionalJson, SteppedUp, TenantScope, Then};
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// Who enrols or shows a passkey, if they are not signed in.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct WaitingRequest {
    /// Token of a sign-in that waits; instead of an access token.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    pub(super) mfa_token: Option<SecretString>,
}

/// What the browser is given.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CeremonyResponse {
    /// To be sent back with the authenticator's answer, within five minutes.
    ceremony_id: Uuid,
    /// For `navigator.credentials`, after `PublicKeyCredential.parse…OptionsFromJSON`.
    #[serde(rename = "publicKey")]
    #[schema(value_type = Object)]
    public_key: Value,
}

/// The answer that begins a ceremony.
pub(super) fn ceremony_answer(begun: CeremonyOptions) -> HttpResponse {
    let CeremonyOptions { ceremony, mut options } = begun;
    let public_key = options.get_mut("publicKey").map(Value::take).unwrap_or_default();
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(CeremonyResponse { ceremony_id: ceremony, public_key })
}

/// Begin to enrol a passkey. The same is asked of the sign-in as for an authenticator app.
#[utoipa::path(post, path = "/auth/mfa/webauthn/register", tag = "mfa", operation_id = "passkey.begin",
    request_body = Option<WaitingRequest>, security(("bearer" = []), ()),
    responses((status = 200, description = "Options for `navigator.credentials.create`", body = CeremonyResponse),
              (status = 409, description = "`conflict`: there are 20 already", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::FactorProblems))]
pub(in crate::http) async fn begin_passkey(
    Then(scope, OptionalJson(body)): Then<TenantScope, OptionalJson<WaitingRequest>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (scope, by) = enroller(&request, scope, body.unwrap_or_default().mfa_token).await?;
    let message = BeginPasskey { tenant: scope.tenant, by, source: scope.caller.source };
    let begun = state.auth.ask(message, DEADLINE).await?;
    Ok(ceremony_answer(begun))
}

/// The passkey that the authenticator made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FinishPasskeyRequest {
    /// Of the options.
    ceremony_id: Uuid,
    /// What the user calls it; 1 to 200 characters.
    #[serde(default)]
    name: Option<String>,
    /// `PublicKeyCredential.toJSON()`.
    #[schema(value_type = Object)]
    credential: Box<RegisterPublicKeyCredential>,
    /// Token of the waiting sign-in, if one enrols.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    mfa_token: Option<SecretString>,
}

/// Finish enrolling a passkey. All other sessions of the user end. Recovery codes come with the first factor.
#[utoipa::path(post, path = "/auth/mfa/webauthn/register/finish", tag = "mfa", operation_id = "passkey.finish",
    request_body = FinishPasskeyRequest, security(("bearer" = []), ()),
    responses((status = 200, description = "Enrolled", body = EnrolledResponse),
              openapi::BodyProblems, openapi::FactorProblems))]
pub(in crate::http) async fn finish_passkey(
    Then(scope, Json(body)): Then<TenantScope, Json<FinishPasskeyRequest>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let FinishPasskeyRequest { ceremony_id, name, credential, mfa_token } = body;
    let name = parse_person_name(name.as_deref().unwrap_or("Passkey"))
        .map_err(|error| Problem::invalid_field("/name", error))?;
    let (scope, by) = enroller(&request, scope, mfa_token).await?;
    let message = FinishPasskey {
        tenant: scope.tenant,
        by,
        ceremony: ceremony_id,
        name,
        credential,
        source: scope.caller.source,
    };
    let enrolled = state.auth.ask(message, DEADLINE).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(EnrolledResponse::from(enrolled)))
}

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PasskeyResponse {
    /// Id.
    id: Uuid,
    /// What the user calls it.
    name: String,
    /// When it was enrolled.
    created_at: DateTime<Utc>,
    /// When it was used last.
    last_used_at: Option<DateTime<Utc>>,
}

/// The user's passkeys.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PasskeysResponse {
    /// The oldest first.
    passkeys: Vec<PasskeyResponse>,
}

/// The caller's passkeys.
#[utoipa::path(get, path = "/auth/mfa/webauthn", tag = "mfa", operation_id = "passkey.list", security(("bearer" = [])),
    responses((status = 200, description = "The passkeys", body = PasskeysResponse), openapi::SignedInProblems))]
pub(in crate::http) async fn list_passkeys(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, user.scope.view.tenant.id).await?;
    let rows = passkeys::list(&mut tx, user.token.claims.sub).await?;
    tx.finish();
    let passkeys = rows
        .into_iter()
        .map(|row| {
            let passkeys::Passkey { id, user_id: _, name, credential: _, created_at, last_used_at } = row;
            PasskeyResponse { id, name, created_at, last_used_at }
        })
        .collect();
    Ok(HttpResponse::Ok().json(PasskeysResponse { passkeys }))
}

/// Remove a passkey. Recovery codes go with the last factor, and all other sessions end.
#[utoipa::path(delete, path = "/auth/mfa/webauthn/{id}", tag = "mfa", operation_id = "passkey.remove", security(("bearer" = [])),
    params(("id" = String, Path, description = "The passkey's id")),
    responses((status = 204, description = "Removed"),
              (status = 409, description = "`conflict`: nobody else would get in when the provider, which the tenant enforces, is away", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::FactorProblems))]
pub(in crate::http) async fn remove_passkey(
    user: SteppedUp<AnyUser>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let passkey = id.parse().map_err(|_id: uuid::Error| {
        // The same as for a passkey of somebody else.
        Problem::new(&kinds::NOT_FOUND, "there is no such factor, or no enrolment waits")
    })?;
    let message = RemovePasskey {
        tenant: Arc::clone(&user.scope.tenant),
        by: signed_in(&user),
        passkey,
        source: user.scope.caller.source.clone(),
    };
    state.auth.ask(message, DEADLINE).await?;
    Ok(HttpResponse::NoContent().finish())
}
