//! Showing a passkey: as second factor, to step up, or to sign in with nothing else.

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use webauthn_rs::prelude::PublicKeyCredential;

use super::passkeys::{CeremonyResponse, WaitingRequest, ceremony_answer};
use super::{DEADLINE, enroller};
use crate::actors::auth::{AssertionUse, BeginAssertion, Enroller, FinishAssertion};
use crate::http::auth::{TokenResponse, token_answer};
use crate::http::extract::{Json, OptionalJson, TenantScope, Then};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Without a waiting sign-in, a passkey is shown to step up.
fn purpose(by: Enroller) -> AssertionUse {
    match by {
        Enroller::Waiting(mfa_token) => AssertionUse::SignIn(mfa_token),
        Enroller::SignedIn(user) => AssertionUse::StepUp(user),
    }
}

/// Ask for a passkey: with `mfa_token` to finish a sign-in, with an access token to step up.
#[utoipa::path(post, path = "/auth/mfa/webauthn/challenge", tag = "mfa", operation_id = "passkey.challenge",
    request_body = Option<WaitingRequest>, security(("bearer" = []), ()),
    responses((status = 200, description = "Options for `navigator.credentials.get`", body = CeremonyResponse),
              openapi::BodyProblems, openapi::FactorProblems))]
pub(in crate::http) async fn challenge_passkey(
    Then(scope, OptionalJson(body)): Then<TenantScope, OptionalJson<WaitingRequest>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (scope, by) = enroller(&request, scope, body.unwrap_or_default().mfa_token).await?;
    let message = BeginAssertion { tenant: scope.tenant, purpose: purpose(by) };
    Ok(ceremony_answer(state.auth.ask(message, DEADLINE).await?))
}

/// What the authenticator answered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AssertionRequest {
    /// Of the options.
    ceremony_id: Uuid,
    /// `PublicKeyCredential.toJSON()`.
    #[schema(value_type = Object)]
    credential: Box<PublicKeyCredential>,
    /// Token of the sign-in that waits.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    mfa_token: Option<SecretString>,
}

/// Show a passkey: with `mfa_token` it finishes a sign-in, with an access token it makes the session stronger and fresher.
#[utoipa::path(post, path = "/auth/mfa/webauthn/verify", tag = "mfa", operation_id = "passkey.verify",
    request_body = AssertionRequest, security((), ("bearer" = [])),
    responses((status = 200, description = "Tokens of class `aal2`", body = TokenResponse),
              openapi::BodyProblems, openapi::FactorProblems))]
pub(in crate::http) async fn verify_passkey(
    Then(scope, Json(body)): Then<TenantScope, Json<AssertionRequest>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let AssertionRequest { ceremony_id, credential, mfa_token } = body;
    let (scope, by) = enroller(&request, scope, mfa_token).await?;
    finish(&state, scope, purpose(by), ceremony_id, credential).await
}

/// Sign in with a passkey and nothing else: ask for it.
#[utoipa::path(post, path = "/auth/webauthn/login", tag = "auth", operation_id = "session.begin_by_passkey",
    responses((status = 200, description = "Options for `navigator.credentials.get`", body = CeremonyResponse),
              openapi::TenantProblems))]
pub(in crate::http) async fn begin_login(
    scope: TenantScope,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let message = BeginAssertion { tenant: scope.tenant, purpose: AssertionUse::Passwordless };
    Ok(ceremony_answer(state.auth.ask(message, DEADLINE).await?))
}

/// What the authenticator answered to a sign-in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PasskeyLoginRequest {
    /// Of the options.
    ceremony_id: Uuid,
    /// `PublicKeyCredential.toJSON()`, with its user handle.
    #[schema(value_type = Object)]
    credential: Box<PublicKeyCredential>,
}

/// Sign in with a passkey and nothing else. It verifies its user, so the tokens are of class `aal2`.
#[utoipa::path(post, path = "/auth/webauthn/login/finish", tag = "auth", operation_id = "session.create_by_passkey",
    request_body = PasskeyLoginRequest,
    responses((status = 200, description = "Signed in", body = TokenResponse),
              (status = 401, description = "`invalid-passkey`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::TenantProblems))]
pub(in crate::http) async fn finish_login(
    Then(scope, Json(body)): Then<TenantScope, Json<PasskeyLoginRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let PasskeyLoginRequest { ceremony_id, credential } = body;
    finish(&state, scope, AssertionUse::Passwordless, ceremony_id, credential).await
}

async fn finish(
    state: &AppState,
    scope: TenantScope,
    purpose: AssertionUse,
    ceremony: Uuid,
    credential: Box<PublicKeyCredential>,
) -> Result<HttpResponse, Problem> {
    let message = FinishAssertion { tenant: scope.tenant, purpose, ceremony, credential, source: scope.caller.source };
    Ok(token_answer(state.auth.ask(message, DEADLINE).await?))
}
