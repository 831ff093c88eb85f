//! Problems (RFC 9457): the one place where errors meet HTTP.
//!
//! A [`Problem`] carries no text of an inner error: what a client reads is written here. The edge middleware adds the request's
//! id and writes the body, so that every error answer has the same shape.

mod from;
pub mod kinds;

use std::borrow::Cow;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::meter::MeterName;
use crate::domain::scim::error::{self as scim_error, ScimType};
pub use kinds::Kind;

/// Media type of problems.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer to the field (RFC 6901).
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

/// The body of every error answer.
#[derive(Debug, Serialize)]
pub struct ProblemBody<'a> {
    /// Stable name of the kind of problem, as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is, for people.
    pub title: &'a str,
    /// The HTTP status again.
    pub status: u16,
    /// Stable name of the kind of problem, for programs.
    pub code: &'a str,
    /// What happened in this case.
    pub detail: &'a str,
    /// Id of the request, to quote to support.
    pub request_id: &'a str,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
    /// Where to get what the plan lacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade_url: Option<&'a str>,
    /// Which quota is used up.
    #[serde(flatten)]
    pub quota: Option<&'a QuotaFacts>,
}

/// The quota that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuotaFacts {
    /// The meter.
    pub meter: MeterName,
    /// The limit that was reached, in the meter's unit.
    pub limit: Option<i64>,
    /// Used in the present period.
    pub used: i64,
    /// When the period ends, and counting begins anew.
    pub resets_at: DateTime<Utc>,
}

/// An error answer in the making.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: &'static Kind,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    upgrade_url: Option<String>,
    quota: Option<Box<QuotaFacts>>,
    is_routine: bool,
    scim_type: Option<ScimType>,
}

impl Problem {
    /// A problem of a kind, with a sentence about this case.
    #[must_use]
    pub fn new(kind: &'static Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            upgrade_url: None,
            quota: None,
            is_routine: false,
            scim_type: None,
        }
    }

    /// A 422 for one field.
    #[must_use]
    pub fn invalid_field(pointer: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self::invalid_fields(vec![FieldError { pointer: pointer.into(), detail: detail.to_string() }])
    }

    /// A 422 for all fields that are wrong.
    #[must_use]
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(&kinds::VALIDATION_FAILED, "some fields are not valid") }
    }

    /// The caller may try again after so many seconds (at least 1).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds where to get what the plan lacks.
    #[must_use]
    pub fn upgrade_url(mut self, url: &str) -> Self {
        self.upgrade_url = Some(url.to_owned());
        self
    }

    /// Adds which quota is used up.
    #[must_use]
    pub fn quota(mut self, facts: QuotaFacts) -> Self {
        self.quota = Some(Box::new(facts));
        self
    }

    /// Says that this happens in the normal course of things, such as a token that ran out, and is no security event.
    #[must_use]
    pub fn routine(mut self) -> Self {
        self.is_routine = true;
        self
    }

    /// Adds what is wrong in SCIM's own word (RFC 7644 §3.12).
    #[must_use]
    pub fn scim_type(mut self, scim_type: Option<ScimType>) -> Self {
        self.scim_type = scim_type;
        self
    }

    /// The body's bytes for a client that speaks SCIM.
    #[must_use]
    pub fn scim_body(&self) -> String {
        self.scim_value().to_string()
    }

    /// The problem as SCIM tells it inside of another answer.
    #[must_use]
    pub fn scim_value(&self) -> serde_json::Value {
        scim_error::body(self.kind.status, self.scim_type, &self.detail)
    }

    /// Whether this is a refusal that belongs in the audit log.
    #[must_use]
    pub fn is_security_event(&self) -> bool {
        self.kind.is_refusal() && !self.is_routine
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The fields that are wrong; a problem that is about none names the whole.
    #[must_use]
    pub fn into_errors(self) -> Vec<FieldError> {
        if self.errors.is_empty() {
            vec![FieldError { pointer: String::new(), detail: self.detail.into_owned() }]
        } else {
            self.errors
        }
    }

    /// The body's bytes.
    #[must_use]
    pub fn body(&self, request_id: &str) -> String {
        let body = ProblemBody {
            kind: format!("urn:businessos:problem:{}", self.kind.code),
            title: self.kind.title,
            status: self.kind.status,
            code: self.kind.code,
            detail: &self.detail,
            request_id,
            errors: &self.errors,
            upgrade_url: self.upgrade_url.as_deref(),
            quota: self.quota.as_deref(),
        };
        // These types always serialise.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// The answer, whose body the edge middleware writes.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status_code());
        for (name, value) in &self.headers {
            response.headers_mut().append(name.clone(), value.clone());
        }
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}
