//! Showing a second factor by a code: to finish a sign-in, or to step up.

use std::sync::Arc;

use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{DEADLINE, signed_in};
use crate::actors::auth::{StepUp, VerifyCode};
use crate::http::auth::{TokenResponse, token_answer};
use crate::http::extract::{AnyUser, Json, TenantScope, Then};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// What a signed-in user shows a factor for.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Purpose {
    /// A stronger and fresher access token in the same session.
    StepUp,
}

/// A code, and what it is for: one of `mfa_token` and `purpose`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct VerifyRequest {
    /// Token of the sign-in that waits.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    mfa_token: Option<SecretString>,
    /// `step_up`, with an access token.
    purpose: Option<Purpose>,
    /// Six digits of the authenticator app, or a recovery code.
    #[schema(value_type = String, example = "081804")]
    code: SecretString,
}

/// Show a second factor. With `mfa_token` it finishes a sign-in; with `purpose` and an access token it makes the session
/// stronger and fresher (RFC 9470), and the refresh token that comes with it replaces the session's. A code works once.
#[utoipa::path(post, path = "/auth/mfa/verify", tag = "mfa", operation_id = "mfa.verify", request_body = VerifyRequest,
    security((), ("bearer" = [])),
    responses((status = 200, description = "Tokens of class `aal2`", body = TokenResponse),
              openapi::BodyProblems, openapi::FactorProblems))]
pub(in crate::http) async fn verify(
    Then(scope, Json(body)): Then<TenantScope, Json<VerifyRequest>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let VerifyRequest { mfa_token, purpose, code } = body;
    let tokens = match (mfa_token, purpose) {
        (Some(mfa_token), None) => {
            let message = VerifyCode { tenant: scope.tenant, mfa_token, code, source: scope.caller.source };
            state.auth.ask(message, DEADLINE).await?
        }
        (None, Some(Purpose::StepUp)) => {
            let user = AnyUser::extract(&request).await?;
            let message = StepUp {
                tenant: Arc::clone(&user.scope.tenant),
                by: signed_in(&user),
                code,
                source: user.scope.caller.source.clone(),
            };
            state.auth.ask(message, DEADLINE).await?
        }
        (None, None) => return Err(Problem::invalid_field("/mfa_token", "send this, or purpose and an access token")),
        (Some(_), Some(_)) => return Err(Problem::invalid_field("/purpose", "is not for a sign-in that waits")),
    };
    Ok(token_answer(tokens))
}
