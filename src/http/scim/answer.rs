//! Answers.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde_json::Value;

use super::input;
use crate::actors::scim::{Found, IfMatch, Page};
use crate::domain::scim::project::Projection;
use crate::domain::scim::user::entity_tag;
use crate::domain::scim::{MEDIA_TYPE, ResourceKind, list};
use crate::http::problem::Problem;

/// A body of SCIM's media type.
pub(super) fn body(status: StatusCode, body: &Value) -> HttpResponse {
    with_body(HttpResponse::build(status), body)
}

fn with_body(mut response: HttpResponseBuilder, body: &Value) -> HttpResponse {
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))).body(body.to_string())
}

/// A resource, with what the query wants of it.
pub(super) fn resource(status: StatusCode, projection: &Projection, found: Found) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    response.insert_header((ETAG, entity_tag(found.version)));
    if status == StatusCode::CREATED {
        response.insert_header((LOCATION, found.location));
    }
    with_body(response, &Value::Object(projection.apply(found.kind, found.resource)))
}

/// A page of resources.
pub(super) fn page(page: Page) -> HttpResponse {
    let Page { total, skip, resources } = page;
    body(StatusCode::OK, &list::response(total, skip, resources))
}

/// No body, and the version that there is now.
pub(super) fn changed(version: i64) -> HttpResponse {
    HttpResponse::NoContent().insert_header((ETAG, entity_tag(version))).finish()
}

/// That the client has the present version already.
pub(super) fn not_modified(version: i64) -> HttpResponse {
    HttpResponse::NotModified().insert_header((ETAG, entity_tag(version))).finish()
}

/// What the query wants of a resource.
pub(super) fn projection(request: &HttpRequest, kind: ResourceKind) -> Result<Projection, Problem> {
    let question = input::question(request)?;
    Ok(Projection::parse(kind, &question.attributes, &question.excluded_attributes)?)
}

/// The versions that a change asks for.
pub(super) fn if_match(request: &HttpRequest) -> IfMatch {
    IfMatch::parse(request.headers().get(IF_MATCH).and_then(|value| value.to_str().ok()))
}

/// The versions that a client has.
pub(super) fn if_none_match(request: &HttpRequest) -> IfMatch {
    IfMatch::parse(request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()))
}
