//! What is read of a request.

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::scim::error::ScimType;
use crate::domain::scim::list::Question;
use crate::domain::scim::{MAX_BODY_BYTES, ScimError, input};
use crate::http::extract::{Input, read_body};
use crate::http::problem::{Problem, kinds};

/// A body of JSON, of whatever media type that ends in it: providers differ.
#[derive(Debug)]
pub(in crate::http) struct ScimBody(pub(super) Value);

impl Input for ScimBody {
    fn read(request: &HttpRequest, payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>> {
        let is_typed = request.headers().contains_key(CONTENT_TYPE);
        let media_type = request.content_type().to_ascii_lowercase();
        Box::pin(async move {
            if !is_typed || !(media_type.ends_with("/json") || media_type.ends_with("+json")) {
                let detail = "send Content-Type: application/scim+json";
                return Err(Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, detail).into());
            }
            let bytes = read_body(payload, MAX_BODY_BYTES).await?;
            Ok(Self(input::parse(&bytes).map_err(Problem::from)?))
        })
    }
}

/// A question in the query of a URL. Parameters that SCIM does not know mean nothing.
#[derive(Debug)]
pub(in crate::http) struct ScimQuery(pub(super) Question);

impl Input for ScimQuery {
    fn read(request: &HttpRequest, _payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>> {
        let parsed = question(request);
        Box::pin(async move { Ok(Self(parsed?)) })
    }
}

/// The question in a request's query.
pub(super) fn question(request: &HttpRequest) -> Result<Question, Problem> {
    let parsed = web::Query::<Question>::from_query(request.query_string());
    let question = parsed.map_err(|error| {
        let detail = format!("the query cannot be understood: {error}");
        Problem::from(ScimError::bad(ScimType::InvalidValue, detail))
    })?;
    Ok(question.into_inner())
}

/// The id in a path. What cannot be an id is nobody's.
pub(super) fn id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_nobodys: uuid::Error| ScimError::not_found().into())
}
