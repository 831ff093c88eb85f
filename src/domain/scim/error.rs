//! Refusals in SCIM's words (RFC 7644 §3.12).

use std::borrow::Cow;

use serde_json::{Value, json};

/// What is wrong with a request that is answered 400 or 409, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScimType {
    /// The filter's syntax, or an attribute and operator that do not go together.
    InvalidFilter,
    /// The filter asks for more than the server is willing to look through.
    TooMany,
    /// Another resource has the value.
    Uniqueness,
    /// The attribute cannot be changed so.
    Mutability,
    /// The body is not of the form asked for.
    InvalidSyntax,
    /// The path of a PATCH operation names nothing that there is.
    InvalidPath,
    /// The path of a PATCH operation matches nothing.
    NoTarget,
    /// A value is missing or not possible.
    InvalidValue,
}

impl ScimType {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
        }
    }
}

/// A request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ScimError {
    /// HTTP status.
    pub status: u16,
    /// What is wrong, for programs.
    pub scim_type: Option<ScimType>,
    /// What is wrong, for people.
    pub detail: Cow<'static, str>,
}

impl ScimError {
    /// A 400.
    #[must_use]
    pub fn bad(scim_type: ScimType, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 400, scim_type: Some(scim_type), detail: detail.into() }
    }

    /// A 409: another resource has the value.
    #[must_use]
    pub fn taken(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 409, scim_type: Some(ScimType::Uniqueness), detail: detail.into() }
    }

    /// A 403: the resource is guarded against this change.
    #[must_use]
    pub fn guarded(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 403, scim_type: Some(ScimType::Mutability), detail: detail.into() }
    }

    /// A 404. Another tenant's resource is as unknown as one that never was.
    #[must_use]
    pub fn not_found() -> Self {
        Self { status: 404, scim_type: None, detail: "there is no such resource".into() }
    }

    /// A 412: the version is another one.
    #[must_use]
    pub fn changed_meanwhile() -> Self {
        Self { status: 412, scim_type: None, detail: "the resource was changed meanwhile".into() }
    }
}

/// The body of an error, with the status as a text.
#[must_use]
pub fn body(status: u16, scim_type: Option<ScimType>, detail: &str) -> Value {
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": status.to_string(), "detail": detail,
    });
    if let (Some(scim_type), Value::Object(body)) = (scim_type, &mut body) {
        body.insert("scimType".to_owned(), json!(scim_type.as_str()));
    }
    body
}
