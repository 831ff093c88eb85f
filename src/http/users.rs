//! Users of a tenant, for its admins.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{AdminOfTenant, Json, Page, PageQuery, SteppedUp, Then, check_fields, demand, parse_field};
use super::openapi;
use super::problem::{Problem, kinds};
use super::state::AppState;
use crate::actors::accounts::{self, CreateUser, UserWish};
use crate::db::TenantTx;
use crate::db::user_admin::{self, UserFilter};
use crate::db::users::{self, User};
use crate::domain::assurance::Requirement;
use crate::domain::identity::{EmailAddress, Role, parse_person_name};
use crate::domain::ids::UserId;
use crate::domain::user_admin::is_powerful;

/// Whether a user can sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum UserState {
    /// Yes.
    Active,
    /// Switched off by an admin.
    Suspended,
}

/// A user as admins see them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserResponse {
    /// Id.
    id: UserId,
    /// E-mail address.
    email: String,
    /// Whether mail to the address was shown to be read.
    email_verified: bool,
    /// Display name.
    name: Option<String>,
    /// Role.
    role: Role,
    /// State.
    state: UserState,
    /// Whether they have chosen a password.
    has_password: bool,
    /// When they were made.
    created_at: DateTime<Utc>,
}

impl From<User> for UserResponse {
    fn from(user: User) -> Self {
        let User { id, email, name, role, is_suspended, password_hash, email_verified_at, created_at } = user;
        let state = if is_suspended { UserState::Suspended } else { UserState::Active };
        let (email_verified, has_password) = (email_verified_at.is_some(), password_hash.is_some());
        Self { id, email, email_verified, name, role, state, has_password, created_at }
    }
}

/// Which users are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsersQuery {
    /// Id of the last user of the page before.
    after: Option<String>,
    /// Users wanted, 1 to 200; 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Only users whose address contains this.
    email: Option<String>,
    /// Only users with this role.
    role: Option<String>,
    /// Only users in this state: `active` or `suspended`.
    state: Option<String>,
}

/// The tenant's users, in the order in which they were made.
#[utoipa::path(get, path = "/users", tag = "users", operation_id = "user.list", security(("bearer" = [])), params(UsersQuery),
    responses((status = 200, description = "A page", body = Page<UserResponse>),
              (status = 400, description = "`malformed-request`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(super) async fn list(
    Then(admin, query): Then<AdminOfTenant, web::Query<UsersQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let UsersQuery { after, limit, email, role, state: user_state } = query.into_inner();
    let page = PageQuery { after, limit, state: None };
    let (limit, after) = (page.limit_or_problem()?, page.after_id()?);
    let role = match role.as_deref() {
        None => None,
        Some(text) => {
            Some(Role::parse(text).ok_or_else(|| Problem::invalid_field("/role", "must be the name of a role"))?)
        }
    };
    let is_suspended = match user_state.as_deref() {
        None => None,
        Some("active") => Some(false),
        Some("suspended") => Some(true),
        Some(_) => return Err(Problem::invalid_field("/state", "must be active or suspended")),
    };
    let email = email.map(|text| text.to_lowercase());
    let filter = UserFilter { email_part: email.as_deref(), role, is_suspended };
    let mut tx = TenantTx::begin_read(&state.db, admin.scope.tenant.id()).await?;
    let rows = user_admin::list(&mut tx, &filter, after, limit + 1).await?;
    tx.finish();
    let items = rows.into_iter().map(UserResponse::from).collect();
    Ok(HttpResponse::Ok().json(Page::cut(items, limit, |user: &UserResponse| user.id.to_string())))
}

/// A user to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateUserRequest {
    /// E-mail address.
    #[schema(example = "ann@acme.test")]
    email: String,
    /// Role. `owner` and `admin` ask for a second factor shown within five minutes.
    role: Role,
    /// Display name, 1 to 200 characters.
    name: Option<String>,
}

/// Make a user, who is mailed a link to choose a password. Nobody else chooses it.
#[utoipa::path(post, path = "/users", tag = "users", operation_id = "user.create", security(("bearer" = [])),
    request_body = CreateUserRequest,
    responses((status = 201, description = "Made", body = UserResponse),
              (status = 409, description = "`email-taken`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(super) async fn create(
    Then(admin, Json(body)): Then<AdminOfTenant, Json<CreateUserRequest>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let CreateUserRequest { email, role, name } = body;
    let mut errors = Vec::new();
    let email = parse_field(&mut errors, "/email", EmailAddress::parse(&email));
    let name = parse_field(&mut errors, "/name", name.as_deref().map(parse_person_name).transpose());
    let (email, name) = check_fields(errors, email.zip(name))?;
    if is_powerful(role) {
        demand(&admin, Requirement::SENSITIVE)?;
    }
    let wish = CreateUser { email, name, role };
    let user = accounts::create_user(&state.accounts, &admin.scope.tenant, admin.asker(), wish).await?;
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/users/{}", user.id))).json(UserResponse::from(user)))
}

fn not_found() -> Problem {
    Problem::new(&kinds::NOT_FOUND, "there is no such thing here")
}

fn id_of(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_malformed: uuid::Error| not_found())
}

/// A user.
#[utoipa::path(get, path = "/users/{id}", tag = "users", operation_id = "user.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = UserResponse), openapi::ThingProblems))]
pub(super) async fn get(
    admin: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, admin.scope.tenant.id()).await?;
    let user = users::find(&mut tx, id_of(&id)?).await?;
    tx.finish();
    Ok(HttpResponse::Ok().json(UserResponse::from(user.ok_or_else(not_found)?)))
}

/// What to change of a user; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateUserRequest {
    /// Display name, 1 to 200 characters.
    name: Option<String>,
    /// Role; asks for a second factor shown within five minutes.
    role: Option<Role>,
    /// `suspended` ends the user's sessions at once.
    state: Option<UserState>,
}

/// Change a user's name, role or state. Another role, and a suspension, end the user's sessions, so that no token says what is not
/// true any more. Owners are changed by owners only, and the last one stays an active owner.
#[utoipa::path(patch, path = "/users/{id}", tag = "users", operation_id = "user.update", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id")), request_body = UpdateUserRequest,
    responses((status = 200, description = "The user after the change", body = UserResponse),
              (status = 409, description = "`last-owner`, or `conflict`: nobody else would get in when the provider, which the tenant enforces, is away", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::BodyProblems, openapi::ThingProblems))]
pub(super) async fn update(
    Then(admin, Json(body)): Then<AdminOfTenant, Json<UpdateUserRequest>>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let UpdateUserRequest { name, role, state: user_state } = body;
    let mut errors = Vec::new();
    let name = parse_field(&mut errors, "/name", name.as_deref().map(parse_person_name).transpose());
    let name = check_fields(errors, name)?;
    let id = id_of(&id)?;
    if role.is_some() {
        demand(&admin, Requirement::SENSITIVE)?;
    }
    let wish = UserWish { name, role, is_suspended: user_state.map(|state| state == UserState::Suspended) };
    let user = accounts::update_user(&state.accounts, &admin.scope.tenant, admin.asker(), id, wish).await?;
    Ok(HttpResponse::Ok().json(UserResponse::from(user)))
}

/// Delete a user: their sessions end, nothing personal is kept of them but what the audit log says, and their address is free.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", operation_id = "user.delete", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 204, description = "Deleted"),
              (status = 409, description = "`last-owner`, or `conflict`: nobody else would get in when the provider, which the tenant enforces, is away", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(super) async fn delete(
    admin: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    accounts::delete_user(&state.accounts, &admin.scope.tenant, admin.asker(), id_of(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndedResponse {
    /// Sessions that were open.
    n_ended: usize,
}

/// End all of a user's sessions.
#[utoipa::path(post, path = "/users/{id}/sessions/end", tag = "users", operation_id = "user.sessions.end", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 200, description = "Ended", body = EndedResponse), openapi::ThingProblems))]
pub(super) async fn end_sessions(
    admin: AdminOfTenant,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let ended = accounts::end_sessions(&state.accounts, &admin.scope.tenant, admin.asker(), id_of(&id)?).await?;
    Ok(HttpResponse::Ok().json(EndedResponse { n_ended: ended.len() }))
}

/// Take away a user's second factors and recovery codes, when they have lost them; asks for a second factor of the admin's own.
/// The user's sessions end, and a mail tells them.
#[utoipa::path(delete, path = "/users/{id}/factors", tag = "users", operation_id = "user.factors.remove", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 204, description = "The user has no second factor"),
              (status = 409, description = "`conflict`: nobody else would get in when the provider, which the tenant enforces, is away", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(super) async fn remove_factors(
    SteppedUp(admin): SteppedUp<AdminOfTenant>,
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    accounts::remove_factors(&state.accounts, &admin.scope.tenant, admin.asker(), id_of(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
