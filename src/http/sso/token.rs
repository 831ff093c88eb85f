//! What clients do: redeem a code, and begin for somebody who is signed in.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{browser, id_of, own_host};
use crate::actors::auth::SignInOutcome;
use crate::actors::sso::{self, Redeem, Redeemed, Wish};
use crate::db::sso_flows::FlowPurpose;
use crate::domain::assurance::Requirement;
use crate::http::auth::{LoginResponse, MfaRequiredResponse, token_answer};
use crate::http::extract::{AnyUser, Json, OptionalUser, TenantScope, Then, demand};
use crate::http::mfa::signed_in;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// A code that a browser brought back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RedeemRequest {
    /// The code.
    #[schema(value_type = String, format = Password)]
    code: SecretString,
    /// PKCE verifier, if the flow began with a challenge; else the browser's cookie is asked for.
    #[schema(value_type = Option<String>, format = Password)]
    code_verifier: Option<SecretString>,
}

/// Exchange a code, once and within a minute, for what the flow was for: tokens (or the question for a second factor) after a sign-in,
/// tokens of the same session after a step-up, nothing after a link. The last two ask for the access token that they began with.
#[utoipa::path(post, path = "/auth/sso/token", tag = "sso", operation_id = "sso.redeem", request_body = RedeemRequest,
    security((), ("bearer" = [])),
    responses((status = 200, description = "Tokens, or a second factor is needed", body = LoginResponse),
              (status = 204, description = "Linked"),
              (status = 400, description = "`invalid-sso-code`, or `malformed-request`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 401, description = "`invalid-token`, or `session-revoked`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 403, description = "`sso-not-admitted`, `tenant-suspended` or `tenant-mismatch`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 409, description = "`conflict`: another user is linked to this identity", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::TenantProblems))]
pub(in crate::http) async fn redeem_code(
    Then(scope, Json(body)): Then<TenantScope, Json<RedeemRequest>>,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let RedeemRequest { code, code_verifier } = body;
    let user = OptionalUser::extract(&request).await?.user.as_ref().map(signed_in);
    let browser = browser::of(&request, &state);
    let redeem =
        Redeem { code: &code, verifier: code_verifier.as_ref(), browser: browser.as_deref(), by: user.as_ref() };
    Ok(match sso::redeem(&state.sso, &scope.tenant, redeem, scope.caller.source.clone()).await? {
        Redeemed::SignIn(SignInOutcome::Tokens(tokens)) | Redeemed::StepUp(tokens) => token_answer(tokens),
        Redeemed::SignIn(SignInOutcome::Challenged(challenged)) => {
            HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(MfaRequiredResponse::from(challenged))
        }
        Redeemed::Linked => HttpResponse::NoContent().finish(),
    })
}

/// What a signed-in user wants of a provider.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ForUserRequest {
    /// The connection's id.
    connection: String,
    /// Where the browser goes afterwards, as for `GET /auth/sso/{connection}`.
    return_to: Option<String>,
    /// Comes back with the code; at most 512 bytes.
    state: Option<String>,
    /// PKCE challenge of the client (S256).
    code_challenge: Option<String>,
}

/// Where the browser leaves from.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ForUserResponse {
    /// Send the browser there, once.
    start_url: String,
}

/// Step up at the provider: it asks the person again, and their second factor there makes this session stronger, if the connection
/// trusts the provider with it. Ends with `POST /auth/sso/token`, by the same session.
#[utoipa::path(post, path = "/auth/sso/step-up", tag = "sso", operation_id = "sso.step_up", request_body = ForUserRequest,
    security(("bearer" = [])),
    responses((status = 200, description = "Where the browser leaves from", body = ForUserResponse),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn step_up(
    Then(user, Json(body)): Then<AnyUser, Json<ForUserRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    begin_for(&state, &user, body, FlowPurpose::StepUp).await
}

/// Link an identity: the person that the browser is at the provider will sign in as this user. Asks for a sign-in within the last five
/// minutes, with two factors if the user has them. Ends with `POST /auth/sso/token`, by the same session.
#[utoipa::path(post, path = "/auth/sso/link", tag = "sso", operation_id = "sso.link", request_body = ForUserRequest,
    security(("bearer" = [])),
    responses((status = 200, description = "Where the browser leaves from", body = ForUserResponse),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(in crate::http) async fn link(
    Then(user, Json(body)): Then<AnyUser, Json<ForUserRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    demand_fresh(&state, &user).await?;
    begin_for(&state, &user, body, FlowPurpose::Link).await
}

/// Asks for a sign-in within the last five minutes, with two factors if the user has them: another way in is as good as another factor.
pub(super) async fn demand_fresh(state: &AppState, user: &AnyUser) -> Result<(), Problem> {
    let mut tx = crate::db::TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let has = crate::db::factors::get(&mut tx, user.token.claims.sub).await;
    tx.finish();
    let wanted =
        if has?.any() { Requirement::SENSITIVE } else { Requirement { min_acr: None, ..Requirement::SENSITIVE } };
    demand(user, wanted)
}

async fn begin_for(
    state: &AppState,
    user: &AnyUser,
    body: ForUserRequest,
    purpose: FlowPurpose,
) -> Result<HttpResponse, Problem> {
    let ForUserRequest { connection, return_to, state: client_state, code_challenge } = body;
    let connection = id_of(&connection)?;
    let return_to = own_host::absolute(return_to, own_host::elsewhere(state, &user.scope).as_deref());
    let wish = Wish { return_to, client_state, code_challenge };
    let ticket =
        sso::begin_for_user(&state.sso, &user.scope.tenant, &signed_in(user), connection, purpose, wish).await?;
    let start_url = format!("{}/auth/sso/{connection}?ticket={ticket}", user.scope.view.issuer);
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(ForUserResponse { start_url }))
}
