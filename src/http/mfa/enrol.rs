//! Enrolling and removing an authenticator app, and recovery codes.

use std::sync::Arc;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DEADLINE, enroller, signed_in};
use crate::actors::auth::{BeginTotp, ConfirmTotp, Enrolled, RemoveTotp, RenewRecoveryCodes, TotpEnrolment};
use crate::http::auth::TokenResponse;
use crate::http::extract::{AnyUser, Json, OptionalJson, SteppedUp, TenantScope, Then};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Who enrols, if they are not signed in.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TotpRequest {
    /// Token of a sign-in that waits because the tenant asks for a second factor; instead of an access token.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    mfa_token: Option<SecretString>,
}

/// What an authenticator app needs.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TotpResponse {
    /// Everything in one URI, for a link on a phone.
    otpauth_uri: String,
    /// The secret in base32, for an app without a camera.
    secret: String,
    /// The URI as a QR code, an SVG document.
    qr_svg: String,
}

/// Begin to enrol an authenticator app. Nothing changes until a code confirms it. A first factor asks for a sign-in of the last
/// five minutes, a further one for a step-up. Calling again begins anew.
#[utoipa::path(post, path = "/auth/mfa/totp", tag = "mfa", operation_id = "totp.begin", request_body = Option<TotpRequest>,
    security(("bearer" = []), ()),
    responses((status = 200, description = "The secret, shown this once", body = TotpResponse),
              openapi::BodyProblems, openapi::FactorProblems))]
pub(in crate::http) async fn begin_totp(
    Then(scope, OptionalJson(body)): Then<TenantScope, OptionalJson<TotpRequest>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (scope, by) = enroller(&request, scope, body.unwrap_or_default().mfa_token).await?;
    let message = BeginTotp { tenant: scope.tenant, by, source: scope.caller.source };
    let TotpEnrolment { otpauth_uri, secret, qr_svg } = state.auth.ask(message, DEADLINE).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(TotpResponse {
        otpauth_uri: otpauth_uri.expose_secret().to_owned(),
        secret: secret.expose_secret().to_owned(),
        qr_svg: qr_svg.expose_secret().to_owned(),
    }))
}

/// The code that proves that the app has the secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConfirmRequest {
    /// Six digits.
    #[schema(value_type = String, example = "081804")]
    code: SecretString,
    /// Token of the waiting sign-in, if one enrols.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    mfa_token: Option<SecretString>,
}

/// Recovery codes, and tokens if a waiting sign-in enrolled.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EnrolledResponse {
    /// Each signs in once in place of another factor. Shown this once.
    recovery_codes: Vec<String>,
    /// Tokens, where a waiting sign-in enrolled.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    tokens: Option<TokenResponse>,
}

impl From<Enrolled> for EnrolledResponse {
    fn from(enrolled: Enrolled) -> Self {
        let Enrolled { recovery_codes, tokens } = enrolled;
        Self { recovery_codes: exposed(&recovery_codes), tokens: tokens.map(TokenResponse::from) }
    }
}

fn exposed(codes: &[SecretString]) -> Vec<String> {
    codes.iter().map(|code| code.expose_secret().to_owned()).collect()
}

/// Confirm the app by a code. From now on every sign-in asks for it. All other sessions of the user end; this one is not
/// stronger for it.
#[utoipa::path(post, path = "/auth/mfa/totp/confirm", tag = "mfa", operation_id = "totp.confirm", request_body = ConfirmRequest,
    security(("bearer" = []), ()),
    responses((status = 200, description = "Enrolled", body = EnrolledResponse),
              openapi::BodyProblems, openapi::FactorProblems))]
pub(in crate::http) async fn confirm_totp(
    Then(scope, Json(body)): Then<TenantScope, Json<ConfirmRequest>>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let ConfirmRequest { code, mfa_token } = body;
    let (scope, by) = enroller(&request, scope, mfa_token).await?;
    let message = ConfirmTotp { tenant: scope.tenant, by, code, source: scope.caller.source };
    let enrolled = state.auth.ask(message, DEADLINE).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(EnrolledResponse::from(enrolled)))
}

/// Remove the authenticator app. Recovery codes go with the last factor, and all other sessions end.
#[utoipa::path(delete, path = "/auth/mfa/totp", tag = "mfa", operation_id = "totp.remove", security(("bearer" = [])),
    responses((status = 204, description = "Removed"),
              (status = 409, description = "`conflict`: nobody else would get in when the provider, which the tenant enforces, is away", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::FactorProblems))]
pub(in crate::http) async fn remove_totp(
    user: SteppedUp<AnyUser>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let message = RemoveTotp {
        tenant: Arc::clone(&user.scope.tenant),
        by: signed_in(&user),
        source: user.scope.caller.source.clone(),
    };
    state.auth.ask(message, DEADLINE).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Recovery codes.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RecoveryCodesResponse {
    /// Each signs in once in place of another factor. Shown this once.
    recovery_codes: Vec<String>,
}

/// New recovery codes in place of the old ones.
#[utoipa::path(post, path = "/auth/mfa/recovery-codes", tag = "mfa", operation_id = "recovery_codes.renew", security(("bearer" = [])),
    responses((status = 200, description = "The new codes", body = RecoveryCodesResponse), openapi::FactorProblems))]
pub(in crate::http) async fn renew_recovery_codes(
    user: SteppedUp<AnyUser>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let message = RenewRecoveryCodes {
        tenant: Arc::clone(&user.scope.tenant),
        by: signed_in(&user),
        source: user.scope.caller.source.clone(),
    };
    let codes = state.auth.ask(message, DEADLINE).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(RecoveryCodesResponse { recovery_codes: exposed(&codes) }))
}
