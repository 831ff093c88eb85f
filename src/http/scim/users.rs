//! Users as an identity provider keeps them.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use super::document::{
    BodyErrors, ListParams, OneParams, ResourceErrors, ScimErrors, ScimList, ScimMessage, ScimResource, TakenErrors,
};
use super::input::{ScimBody, ScimQuery, id};
use crate::actors::scim;
use crate::domain::scim::ResourceKind;
use crate::domain::scim::list::Question;
use crate::http::extract::{Provisioner, Then};
use crate::http::problem::Problem;
use crate::http::state::AppState;

const KIND: ResourceKind = ResourceKind::User;

/// Users that pass a filter, a page of at most 200.
#[utoipa::path(get, path = "/scim/v2/Users", tag = "scim", operation_id = "scim.user.list", security(("bearer" = [])), params(ListParams),
    responses((status = 200, description = "A page", body = ScimList, content_type = "application/scim+json"), ScimErrors))]
pub(in crate::http) async fn list(
    Then(by, ScimQuery(question)): Then<Provisioner, ScimQuery>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    Ok(answer::page(scim::ask(&by.desk(&state), KIND, &question).await?))
}

/// The same question in a body (RFC 7644 §3.4.3), so that what is asked for is in no log of URLs.
#[utoipa::path(post, path = "/scim/v2/Users/.search", tag = "scim", operation_id = "scim.user.search", security(("bearer" = [])),
    request_body(content = ScimMessage, content_type = "application/scim+json"),
    responses((status = 200, description = "A page", body = ScimList, content_type = "application/scim+json"), ScimErrors, BodyErrors))]
pub(in crate::http) async fn search(
    Then(by, ScimBody(body)): Then<Provisioner, ScimBody>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let question = Question::parse(body)?;
    Ok(answer::page(scim::ask(&by.desk(&state), KIND, &question).await?))
}

/// Make a user. A user of the tenant who has the address, and whom no identity provider keeps yet, is taken over.
#[utoipa::path(post, path = "/scim/v2/Users", tag = "scim", operation_id = "scim.user.create", security(("bearer" = [])),
    params(OneParams), request_body(content = ScimResource, content_type = "application/scim+json"),
    responses((status = 201, description = "The user", body = ScimResource, content_type = "application/scim+json"),
              ResourceErrors, BodyErrors, TakenErrors))]
pub(in crate::http) async fn create(
    Then(by, ScimBody(body)): Then<Provisioner, ScimBody>,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let projection = answer::projection(&request, KIND)?;
    let made = scim::create_user(&by.desk(&state), &body).await?;
    Ok(answer::resource(StatusCode::CREATED, &projection, made))
}

/// A user.
#[utoipa::path(get, path = "/scim/v2/Users/{id}", tag = "scim", operation_id = "scim.user.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id"), OneParams),
    responses((status = 200, description = "The user", body = ScimResource, content_type = "application/scim+json"),
              (status = 304, description = "`If-None-Match` names the present version"), ResourceErrors))]
pub(in crate::http) async fn get(
    by: Provisioner,
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let projection = answer::projection(&request, KIND)?;
    let found = scim::get(&by.desk(&state), KIND, id(&path)?, projection.has("members")).await?;
    if answer::if_none_match(&request).has(found.version) {
        return Ok(answer::not_modified(found.version));
    }
    Ok(answer::resource(StatusCode::OK, &projection, found))
}

/// Put what is said of a user in the place of what was said before.
#[utoipa::path(put, path = "/scim/v2/Users/{id}", tag = "scim", operation_id = "scim.user.replace", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id"), OneParams),
    request_body(content = ScimResource, content_type = "application/scim+json"),
    responses((status = 200, description = "The user", body = ScimResource, content_type = "application/scim+json"),
              ResourceErrors, BodyErrors, TakenErrors))]
pub(in crate::http) async fn replace(
    Then(by, ScimBody(body)): Then<Provisioner, ScimBody>,
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let projection = answer::projection(&request, KIND)?;
    let if_match = answer::if_match(&request);
    let found = scim::replace_user(&by.desk(&state), id(&path)?.into(), &if_match, &body).await?;
    Ok(answer::resource(StatusCode::OK, &projection, found))
}

/// Change a user, all operations or none. `active` false ends the user's sessions and revokes the API keys that they made.
#[utoipa::path(patch, path = "/scim/v2/Users/{id}", tag = "scim", operation_id = "scim.user.update", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id"), OneParams),
    request_body(content = ScimMessage, content_type = "application/scim+json"),
    responses((status = 200, description = "The user", body = ScimResource, content_type = "application/scim+json"),
              ResourceErrors, BodyErrors, TakenErrors))]
pub(in crate::http) async fn update(
    Then(by, ScimBody(body)): Then<Provisioner, ScimBody>,
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let projection = answer::projection(&request, KIND)?;
    let if_match = answer::if_match(&request);
    let found = scim::patch_user(&by.desk(&state), id(&path)?.into(), &if_match, &body).await?;
    Ok(answer::resource(StatusCode::OK, &projection, found))
}

/// Delete a user. Sessions end, the API keys that they made are revoked, and nothing personal is kept. Signing in through the provider
/// does not bring them back; only SCIM does.
#[utoipa::path(delete, path = "/scim/v2/Users/{id}", tag = "scim", operation_id = "scim.user.delete", security(("bearer" = [])),
    params(("id" = String, Path, description = "The user's id")),
    responses((status = 204, description = "Deleted"), ResourceErrors))]
pub(in crate::http) async fn delete(
    by: Provisioner,
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    scim::delete_user(&by.desk(&state), id(&path)?.into(), &answer::if_match(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}
