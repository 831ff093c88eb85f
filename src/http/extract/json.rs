//! JSON bodies, with errors that name the field.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use actix_web::{Error, HttpMessage, HttpRequest, web};
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::then::Input;
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;

/// A body of type `T`: 415 if it is not JSON, 413 if it is too large, 400 if it is malformed, 422 if a field is wrong.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> Input for Json<T> {
    fn read(request: &HttpRequest, payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>> {
        let body = read_json(request, payload, 0);
        Box::pin(async move { body.await.map(Self) })
    }
}

/// As [`Json`], for bodies that are lists: `N` bytes are read, or more if the configuration has a larger limit.
#[derive(Debug)]
pub struct LargeJson<T, const N: usize>(pub T);

impl<T: DeserializeOwned + 'static, const N: usize> Input for LargeJson<T, N> {
    fn read(request: &HttpRequest, payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>> {
        let body = read_json(request, payload, N);
        Box::pin(async move { body.await.map(Self) })
    }
}

fn read_json<T: DeserializeOwned + 'static>(
    request: &HttpRequest,
    payload: Payload,
    at_least: usize,
) -> LocalBoxFuture<'static, Result<T, Error>> {
    let limit = request.app_data::<web::Data<AppState>>().map_or(0, |state| state.settings.limits.json_body_bytes);
    let limit = limit.max(at_least);
    let is_json = is_json(request);
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    Box::pin(async move {
        if !is_json {
            return Err(Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json").into());
        }
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(limit).into());
        }
        let bytes = read_body(payload, limit).await?;
        Ok(parse_json(&bytes)?)
    })
}

/// A body of type `T`, or none at all; a body that is there must be right.
#[derive(Debug)]
pub struct OptionalJson<T>(pub Option<T>);

impl<T: DeserializeOwned + 'static> Input for OptionalJson<T> {
    fn read(request: &HttpRequest, payload: Payload) -> LocalBoxFuture<'static, Result<Self, Error>> {
        if !has_body(request) {
            return Box::pin(std::future::ready(Ok(Self(None))));
        }
        let body = Json::<T>::read(request, payload);
        Box::pin(async move { body.await.map(|Json(body)| Self(Some(body))) })
    }
}

/// Notes what is wrong with one field, so that one answer names all mistakes.
pub fn parse_field<T, E: std::fmt::Display>(
    errors: &mut Vec<FieldError>,
    pointer: &str,
    parsed: Result<T, E>,
) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        Err(error) => {
            errors.push(FieldError { pointer: pointer.to_owned(), detail: error.to_string() });
            None
        }
    }
}

/// The fields, or a 422 that names every mistake.
///
/// # Errors
/// `validation-failed`.
pub fn check_fields<T>(errors: Vec<FieldError>, fields: Option<T>) -> Result<T, Problem> {
    match fields {
        Some(fields) if errors.is_empty() => Ok(fields),
        _ => Err(Problem::invalid_fields(errors)),
    }
}

fn has_body(request: &HttpRequest) -> bool {
    let length = request.headers().get(CONTENT_LENGTH);
    length.is_some_and(|length| length.as_bytes() != b"0") || request.headers().contains_key(TRANSFER_ENCODING)
}

fn is_json(request: &HttpRequest) -> bool {
    request.headers().contains_key(CONTENT_TYPE)
        && request.content_type().rsplit(['/', '+']).next().is_some_and(|subtype| subtype.eq_ignore_ascii_case("json"))
}

/// Longest wait for a whole body: a slow sender would hold a place among the requests in flight.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// `payload-too-large`, `request-timeout` or `malformed-request`.
pub async fn read_body(payload: Payload, limit: usize) -> Result<BytesMut, Problem> {
    tokio::time::timeout(READ_TIMEOUT, read_all(payload, limit))
        .await
        .unwrap_or_else(|_elapsed| Err(Problem::new(&kinds::REQUEST_TIMEOUT, "the body did not arrive in time")))
}

async fn read_all(mut payload: Payload, limit: usize) -> Result<BytesMut, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_framing: actix_web::error::PayloadError| {
            Problem::new(&kinds::MALFORMED_REQUEST, "the body ended early or its framing is broken")
        })?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(&kinds::PAYLOAD_TOO_LARGE, format!("at most {limit} bytes are read"))
}

/// Parses a body; a mistake in a field is told with a JSON pointer to it.
///
/// # Errors
/// `malformed-request` or `validation-failed`.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let FieldError { pointer, detail } = field_error(&error);
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => Problem::invalid_field(pointer, detail),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => malformed(&inner),
        }
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

/// Parses a part of a body that was left as it came, so that a mistake in it is one of the part alone.
///
/// # Errors
/// What is wrong, and where in the part.
pub fn parse_part<T: DeserializeOwned>(part: &RawValue) -> Result<T, FieldError> {
    let mut deserializer = serde_json::Deserializer::from_str(part.get());
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| field_error(&error))
}

fn field_error(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let pointer = error.path().iter().map(pointer_part).collect();
    FieldError { pointer, detail: without_position(error.inner()) }
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(
        &kinds::MALFORMED_REQUEST,
        format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
    )
}

fn pointer_part(segment: &serde_path_to_error::Segment) -> String {
    match segment {
        serde_path_to_error::Segment::Seq { index } => format!("/{index}"),
        serde_path_to_error::Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        serde_path_to_error::Segment::Enum { variant } => format!("/{variant}"),
        serde_path_to_error::Segment::Unknown => String::new(),
    }
}

/// The library's sentence without its " at line 1 column 2": the pointer says where.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(sentence, _)| sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only parsed")]
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only parsed")]
        n: Vec<u8>,
    }

    fn refusal(text: &str) -> (&'static str, String) {
        let problem = parse_json::<Outer>(text.as_bytes()).expect_err("refused");
        (problem.kind().code, problem.body("r"))
    }

    #[test]
    fn a_wrong_field_is_named_by_pointer() {
        let (code, body) = refusal(r#"{"inner":{"n":[1,"x"]}}"#);
        assert_eq!(code, "validation-failed");
        assert!(body.contains(r#""pointer":"/inner/n/1""#), "{body}");
        let (_, body) = refusal(r#"{"inner":{"n":[],"m":1}}"#);
        assert!(body.contains("/inner") && body.contains("unknown field `m`"), "{body}");
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in ["", "{", "nope", r#"{"inner":{"n":[]}} x"#, "\u{0}"] {
            assert_eq!(refusal(text).0, "malformed-request", "{text:?}");
        }
        assert_eq!(parse_json::<Outer>(b"{\"inner\":\"\xff\"}").expect_err("refused").kind().status / 100, 4);
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        let deep = "[".repeat(100_000);
        assert_eq!(
            parse_json::<serde_json::Value>(deep.as_bytes()).expect_err("refused").kind().code,
            "malformed-request"
        );
    }
}
