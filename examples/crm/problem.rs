//! Errors as clients see them: `application/problem+json` (RFC 9457). No text of an inner error gets into one.

use std::fmt;

use actix_web::error::{JsonPayloadError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use serde::Serialize;
use serde_json::json;

/// A field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer to the field (RFC 6901).
    pub pointer: &'static str,
    /// What is wrong with it.
    pub detail: &'static str,
}

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
    errors: Vec<FieldError>,
}

impl Problem {
    /// A problem with a stable `code` for programs and a `detail` for people.
    pub fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail, errors: Vec::new() }
    }

    /// 401, whatever was wrong: an attacker learns nothing from it.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid-tenant-context",
            "this service is reached through the gateway only",
        )
    }

    /// 404, the same for what never was and for what belongs to another tenant.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is nothing here")
    }

    /// 422 with all fields that are wrong.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation-failed", "some fields are not valid");
        Self { errors, ..problem }
    }

    /// 503 with Retry-After.
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "try again in a moment")
    }

    /// 500: a bug of ours.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        answer.insert_header((CONTENT_TYPE, "application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 wants a 401 to name its scheme.
            answer.insert_header((WWW_AUTHENTICATE, "TenantContext"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header((RETRY_AFTER, "1"));
        }
        let mut body = json!({
            "type": format!("urn:crm:problem:{}", self.code),
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let (false, Some(body)) = (self.errors.is_empty(), body.as_object_mut()) {
            body.insert("errors".to_owned(), json!(self.errors));
        }
        answer.body(body.to_string())
    }
}

impl Responder for Problem {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

/// What was wrong with a JSON body.
pub fn from_json(error: JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    use JsonPayloadError::{ContentType, Deserialize, Overflow, OverflowKnownLength};
    let problem = match error {
        Overflow { .. } | OverflowKnownLength { .. } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "the body is larger than a contact can be")
        }
        ContentType => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "the body must be application/json",
        ),
        Deserialize(error) if error.is_data() => {
            let detail = "expected an object with `name` (text), `email` (text, may be left out) and nothing else";
            Problem::invalid_fields(vec![FieldError { pointer: "", detail }])
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "malformed-json", "the body is not JSON"),
    };
    problem.into()
}

/// What was wrong with a query string.
pub fn from_query(_: QueryPayloadError, _: &HttpRequest) -> actix_web::Error {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-query", "expected `after` (an id) and `limit` (1 to 100)")
        .into()
}
