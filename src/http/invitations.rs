//! Invitations: made by admins, accepted by whoever reads the mail.

use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::TokenResponse;
use super::extract::{AdminOfTenant, Json, Page, PageQuery, TenantScope, Then, check_fields, demand, parse_field};
use super::openapi;
use super::problem::{Problem, kinds};
use super::state::AppState;
use super::users::UserResponse;
use crate::actors::accounts::{self, AcceptInvitation, Invite};
use crate::actors::auth::{SignIn, SignInOutcome};
use crate::clock;
use crate::db::TenantTx;
use crate::db::invitations::{self, Invitation};
use crate::domain::assurance::Requirement;
use crate::domain::identity::{EmailAddress, NewPassword, Role, parse_person_name};
use crate::domain::ids::InvitationId;
use crate::domain::user_admin::is_powerful;

/// Longest wait for the sign-in that follows.
const SIGN_IN_DEADLINE: Duration = Duration::from_secs(10);

/// Who is invited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InviteRequest {
    /// E-mail address.
    #[schema(example = "ann@acme.test")]
    email: String,
    /// Role that they will have. `owner` and `admin` ask for a second factor shown within five minutes.
    role: Role,
    /// Display name, 1 to 200 characters.
    name: Option<String>,
}

/// An invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InvitationResponse {
    /// Id.
    id: InvitationId,
    /// E-mail address.
    email: String,
    /// Display name.
    name: Option<String>,
    /// Role that they will have.
    role: Role,
    /// `open`, `accepted`, `revoked` or `expired`.
    state: &'static str,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When its link stops working.
    expires_at: DateTime<Utc>,
}

impl From<Invitation> for InvitationResponse {
    fn from(invitation: Invitation) -> Self {
        let Invitation { id, email, name, role, user: _, created_at, expires_at, accepted_at, revoked_at } = invitation;
        let state = match (accepted_at, revoked_at) {
            (Some(_), _) => "accepted",
            (None, Some(_)) => "revoked",
            (None, None) if expires_at <= clock::now() => "expired",
            (None, None) => "open",
        };
        Self { id, email, name, role, state, created_at, expires_at }
    }
}

/// Invite somebody by mail. An open invitation of the same address is replaced.
#[utoipa::path(post, path = "/invitations", tag = "users", operation_id = "invitation.create", security(("bearer" = [])),
    request_body = InviteRequest,
    responses((status = 201, description = "Invited", body = InvitationResponse),
              (status = 409, description = "`email-taken`: the address is a user's", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(super) async fn create(
    Then(admin, Json(body)): Then<AdminOfTenant, Json<InviteRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let InviteRequest { email, role, name } = body;
    let mut errors = Vec::new();
    let email = parse_field(&mut errors, "/email", EmailAddress::parse(&email));
    let name = parse_field(&mut errors, "/name", name.as_deref().map(parse_person_name).transpose());
    let (email, name) = check_fields(errors, email.zip(name))?;
    if is_powerful(role) {
        demand(&admin, Requirement::SENSITIVE)?;
    }
    let wish = Invite { email, name, role };
    let made = accounts::invite(&state.accounts, &admin.scope.view, admin.asker(), wish).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/invitations/{}", made.id)))
        .json(InvitationResponse::from(made)))
}

/// The tenant's invitations, in the order in which they were made.
#[utoipa::path(get, path = "/invitations", tag = "users", operation_id = "invitation.list", security(("bearer" = [])),
    params(PageQuery),
    responses((status = 200, description = "A page; `state=open` for those that can be accepted", body = Page<InvitationResponse>),
              (status = 400, description = "`malformed-request`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(super) async fn list(
    Then(admin, query): Then<AdminOfTenant, web::Query<PageQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let limit = query.limit_or_problem()?;
    let after = query.after_id()?;
    let open = match query.state.as_deref() {
        None => false,
        Some("open") => true,
        Some(_) => return Err(Problem::invalid_field("/state", "must be open, or left out")),
    };
    let mut tx = TenantTx::begin_read(&state.db, admin.scope.tenant.id()).await?;
    let rows = invitations::list(&mut tx, open, after, limit + 1).await?;
    tx.finish();
    let items = rows.into_iter().map(InvitationResponse::from).collect();
    Ok(HttpResponse::Ok().json(Page::cut(items, limit, |item: &InvitationResponse| item.id.to_string())))
}

fn id_of(text: &str) -> Result<InvitationId, Problem> {
    text.parse().map_err(|_malformed: uuid::Error| Problem::new(&kinds::NOT_FOUND, "there is no such thing here"))
}

/// Withdraw an invitation: its link stops working.
#[utoipa::path(delete, path = "/invitations/{id}", tag = "users", operation_id = "invitation.revoke", security(("bearer" = [])),
    params(("id" = String, Path, description = "The invitation's id")),
    responses((status = 204, description = "Withdrawn"), openapi::ThingProblems))]
pub(super) async fn revoke(
    admin: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    accounts::revoke_invitation(&state.accounts, &admin.scope.view, admin.asker(), id_of(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Mail an open or expired invitation again; its time begins anew.
#[utoipa::path(post, path = "/invitations/{id}/resend", tag = "users", operation_id = "invitation.resend", security(("bearer" = [])),
    params(("id" = String, Path, description = "The invitation's id")),
    responses((status = 202, description = "Mailed again", body = InvitationResponse), openapi::ThingProblems))]
pub(super) async fn resend(
    admin: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let invitation =
        accounts::resend_invitation(&state.accounts, &admin.scope.view, admin.asker(), id_of(&id)?).await?;
    Ok(HttpResponse::Accepted().json(InvitationResponse::from(invitation)))
}

/// Who accepts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AcceptRequest {
    /// Token of the link in the mail.
    #[schema(value_type = String, format = Password)]
    token: SecretString,
    /// The password that they choose, 8 to 128 characters.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// Display name; the invitation's if left out.
    name: Option<String>,
}

/// A user, made by an invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AcceptResponse {
    /// The user.
    user: UserResponse,
    /// Tokens of a first session. Left out when signing in asks for more, or cannot be done now: then sign in as ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<TokenResponse>,
}

/// Accept an invitation with the token of its mail: makes the user, whose address is proven by it, and signs them in.
#[utoipa::path(post, path = "/auth/invitations/accept", tag = "auth", operation_id = "invitation.accept", request_body = AcceptRequest,
    responses((status = 201, description = "The user, and tokens of a session", body = AcceptResponse),
              (status = 400, description = "`malformed-request`, or `invalid-link`: used, withdrawn, too old or made up", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 409, description = "`email-taken`: somebody with this address was made a user meanwhile", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::TenantProblems))]
pub(super) async fn accept(
    Then(scope, Json(body)): Then<TenantScope, Json<AcceptRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let AcceptRequest { token, password, name } = body;
    let mut errors = Vec::new();
    let chosen = parse_field(&mut errors, "/password", NewPassword::parse(password.clone()));
    let name = parse_field(&mut errors, "/name", name.as_deref().map(parse_person_name).transpose());
    let (chosen, name) = check_fields(errors, chosen.zip(name))?;
    let source = scope.caller.source.clone();
    let wish = AcceptInvitation { token, password: chosen, name, source: source.clone() };
    let user = accounts::accept_invitation(&state.accounts, &scope.view, wish).await?;
    // By the front door, so that whatever sign-in asks for is asked here too.
    let sign_in = SignIn { tenant: scope.tenant, email: user.email.clone(), password, source };
    let session = match state.auth.ask(sign_in, SIGN_IN_DEADLINE).await {
        Ok(SignInOutcome::Tokens(tokens)) => Some(TokenResponse::from(tokens)),
        // The user is there all the same, and signs in as ever.
        Ok(SignInOutcome::Challenged(_)) | Err(_) => None,
    };
    let user = UserResponse::from(user);
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(AcceptResponse { user, session }))
}
