//! What users do with their own account: passwords and addresses.

use actix_web::{HttpResponse, web};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;

use super::extract::{AnyUser, Json, TenantScope, Then};
use super::mfa::signed_in;
use super::openapi;
use super::problem::{Problem, kinds};
use super::state::AppState;
use crate::actors::accounts::{self, AccountError, ChangePassword};
use crate::actors::ask::TellError;
use crate::actors::auth::ForgotPassword;
use crate::domain::identity::{EmailAddress, NewPassword};

/// Whose password is forgotten.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgotRequest {
    /// E-mail address.
    #[schema(example = "ann@acme.test")]
    email: String,
}

/// Ask for a link to set a new password. The answer is the same, and as quick, whether anybody has this address or not; up to five
/// links an hour are mailed.
#[utoipa::path(post, path = "/auth/password/forgot", tag = "auth", operation_id = "password.forgot", request_body = ForgotRequest,
    responses((status = 202, description = "Mailed, if there is such a user"), openapi::BodyProblems, openapi::TenantProblems))]
pub(super) async fn forgot(
    Then(scope, Json(body)): Then<TenantScope, Json<ForgotRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let message = ForgotPassword { tenant: scope.tenant, email: body.email, source: scope.caller.source };
    match state.auth.tell(message) {
        Ok(()) => Ok(HttpResponse::Accepted().finish()),
        Err(TellError::Overloaded | TellError::Unavailable) => {
            Err(Problem::new(&kinds::OVERLOADED, "too much at once; try again soon").retry_after(1))
        }
    }
}

/// A new password, by a mailed link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetRequest {
    /// Token of the link in the mail.
    #[schema(value_type = String, format = Password)]
    token: SecretString,
    /// The new password, 8 to 128 characters.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Set a new password with the token of a mailed link. Ends all sessions and signs nobody in.
#[utoipa::path(post, path = "/auth/password/reset", tag = "auth", operation_id = "password.reset", request_body = ResetRequest,
    responses((status = 204, description = "The password is set"),
              (status = 400, description = "`malformed-request`, or `invalid-link`: used, too old or made up", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::TenantProblems))]
pub(super) async fn reset(
    Then(scope, Json(body)): Then<TenantScope, Json<ResetRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let ResetRequest { token, password } = body;
    let password = NewPassword::parse(password).map_err(AccountError::NewPassword)?;
    let source = scope.caller.source;
    accounts::reset_password(&state.accounts, &scope.tenant, &token, password, source).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A new password for an old one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePasswordRequest {
    /// The present password.
    #[schema(value_type = String, format = Password)]
    current_password: SecretString,
    /// The new one, 8 to 128 characters.
    #[schema(value_type = String, format = Password)]
    new_password: SecretString,
}

/// Change the password. Ends all other sessions.
#[utoipa::path(post, path = "/auth/password", tag = "auth", operation_id = "password.change", security(("bearer" = [])),
    request_body = ChangePasswordRequest,
    responses((status = 204, description = "Changed"), openapi::BodyProblems, openapi::SignedInProblems))]
pub(super) async fn change_password(
    Then(user, Json(body)): Then<AnyUser, Json<ChangePasswordRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let ChangePasswordRequest { current_password: current, new_password } = body;
    let in_new = |error| Problem::invalid_field("/new_password", error);
    let new = NewPassword::parse(new_password).map_err(in_new)?;
    let claims = &user.token.claims;
    let source = user.scope.caller.source.clone();
    let wish = ChangePassword { user: claims.sub, session: claims.sid, current, new, source };
    match accounts::change_password(&state.accounts, &user.scope.tenant, wish).await {
        Ok(()) => Ok(HttpResponse::NoContent().finish()),
        Err(AccountError::NewPassword(error)) => Err(in_new(error)),
        Err(error) => Err(error.into()),
    }
}

/// The token of a mailed link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// Token of the link in the mail.
    #[schema(value_type = String, format = Password)]
    token: SecretString,
}

/// Prove an address with the token of a mailed link. An address that the user has named as a new one is theirs from now on.
#[utoipa::path(post, path = "/auth/email/verify", tag = "auth", operation_id = "email.verify", request_body = VerifyRequest,
    responses((status = 204, description = "The address is proven"),
              (status = 400, description = "`malformed-request`, or `invalid-link`: used, too old or made up", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 409, description = "`email-taken`: another user has the new address", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::TenantProblems))]
pub(super) async fn verify_email(
    Then(scope, Json(body)): Then<TenantScope, Json<VerifyRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    accounts::verify_email(&state.accounts, &scope.view, &body.token, scope.caller.source).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Have the link that proves one's address mailed again: nothing happens if it is proven, or after five in an hour.
#[utoipa::path(post, path = "/auth/email/verify/resend", tag = "auth", operation_id = "email.verify.resend", security(("bearer" = [])),
    responses((status = 202, description = "Mailed, unless there is no need or it was too often"), openapi::SignedInProblems))]
pub(super) async fn resend_verification(user: AnyUser, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let source = user.scope.caller.source.clone();
    accounts::resend_verification(&state.accounts, &user.scope.view, user.token.claims.sub, source).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// A new address.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeEmailRequest {
    /// E-mail address.
    #[schema(example = "ann.new@acme.test")]
    email: String,
}

/// Name a new address. A link is mailed to it, and a notice to the old one; it counts once the link was used. Asks for a sign-in
/// within the last five minutes, and for a second factor of whoever has one.
#[utoipa::path(post, path = "/auth/email", tag = "auth", operation_id = "email.change", security(("bearer" = [])),
    request_body = ChangeEmailRequest,
    responses((status = 202, description = "Mailed"), openapi::BodyProblems, openapi::SignedInProblems))]
pub(super) async fn change_email(
    Then(user, Json(body)): Then<AnyUser, Json<ChangeEmailRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let email = EmailAddress::parse(&body.email).map_err(|error| Problem::invalid_field("/email", error))?;
    let source = user.scope.caller.source.clone();
    accounts::change_email(&state.accounts, &user.scope.view, &signed_in(&user), &email, source).await?;
    Ok(HttpResponse::Accepted().finish())
}
