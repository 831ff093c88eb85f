//! What the server says of itself (RFC 7644 §4), and what it does not do.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::answer;
use super::document::{ResourceErrors, ScimErrors, ScimList, ScimResource};
use crate::domain::scim::{ScimError, discovery};
use crate::http::extract::Provisioner;
use crate::http::problem::{Problem, kinds};

/// What of SCIM is served.
#[utoipa::path(get, path = "/scim/v2/ServiceProviderConfig", tag = "scim", operation_id = "scim.config", security(("bearer" = [])),
    responses((status = 200, description = "The configuration", body = ScimResource, content_type = "application/scim+json"), ScimErrors))]
pub(in crate::http) async fn config(by: Provisioner) -> HttpResponse {
    answer::body(StatusCode::OK, &discovery::service_provider_config(&by.base()))
}

/// The schemas: every attribute that is kept, and no other.
#[utoipa::path(get, path = "/scim/v2/Schemas", tag = "scim", operation_id = "scim.schema.list", security(("bearer" = [])),
    responses((status = 200, description = "The schemas", body = ScimList, content_type = "application/scim+json"), ScimErrors))]
pub(in crate::http) async fn schemas(by: Provisioner) -> HttpResponse {
    answer::body(StatusCode::OK, &discovery::schemas(&by.base()))
}

/// A schema.
#[utoipa::path(get, path = "/scim/v2/Schemas/{id}", tag = "scim", operation_id = "scim.schema.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The schema's URN")),
    responses((status = 200, description = "The schema", body = ScimResource, content_type = "application/scim+json"), ResourceErrors))]
pub(in crate::http) async fn schema(by: Provisioner, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = discovery::schema(&by.base(), &id).ok_or_else(ScimError::not_found)?;
    Ok(answer::body(StatusCode::OK, &found))
}

/// The kinds of resources.
#[utoipa::path(get, path = "/scim/v2/ResourceTypes", tag = "scim", operation_id = "scim.resource_type.list", security(("bearer" = [])),
    responses((status = 200, description = "The kinds", body = ScimList, content_type = "application/scim+json"), ScimErrors))]
pub(in crate::http) async fn resource_types(by: Provisioner) -> HttpResponse {
    answer::body(StatusCode::OK, &discovery::resource_types(&by.base()))
}

/// A kind of resource.
#[utoipa::path(get, path = "/scim/v2/ResourceTypes/{id}", tag = "scim", operation_id = "scim.resource_type.get", security(("bearer" = [])),
    params(("id" = String, Path, description = "The kind's name")),
    responses((status = 200, description = "The kind", body = ScimResource, content_type = "application/scim+json"), ResourceErrors))]
pub(in crate::http) async fn resource_type(by: Provisioner, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let found = discovery::resource_type(&by.base(), &id).ok_or_else(ScimError::not_found)?;
    Ok(answer::body(StatusCode::OK, &found))
}

/// Nobody: the caller is an identity provider and no user (RFC 7644 §3.11).
#[utoipa::path(get, path = "/scim/v2/Me", tag = "scim", operation_id = "scim.me", security(("bearer" = [])),
    responses((status = 501, description = "Not implemented", body = super::document::ScimErrorSchema, content_type = "application/scim+json"),
              ScimErrors))]
pub(in crate::http) async fn me(_by: Provisioner) -> Result<HttpResponse, Problem> {
    Err(Problem::new(&kinds::NOT_IMPLEMENTED, "the token is an identity provider's, who is no user"))
}
