//! Bulk requests (RFC 7644 §3.7): many operations in one, which may refer to what others of them make.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::{ScimError, ScimType};
use super::schema::ResourceKind;
use super::{MAX_BULK_OPERATIONS, Tree};

const MESSAGE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// What a reference to another operation begins with.
const REFERENCE: &str = "bulkId:";
/// Deepest nesting of data in which references are looked for; what is deeper is no SCIM resource.
const MAX_DEPTH: usize = 8;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Make.
    Post,
    /// Put in place.
    Put,
    /// Change.
    Patch,
    /// Delete.
    Delete,
}

impl Method {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Post, Self::Put, Self::Patch, Self::Delete]
            .into_iter()
            .find(|method| method.as_str().eq_ignore_ascii_case(text))
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkOperation {
    /// What is done.
    pub method: Method,
    /// To which kind of resource.
    pub kind: ResourceKind,
    /// To which resource, perhaps by reference; none for POST.
    pub id: Option<String>,
    /// The client's name for the operation.
    pub bulk_id: Option<String>,
    /// The version that the resource must have.
    pub version: Option<String>,
    /// The body.
    pub data: Value,
}

/// A bulk request. An operation that is malformed is refused by itself, and the others are done.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkRequest {
    /// The operations, and what the answer repeats of each.
    pub operations: Vec<(Echo, Result<BulkOperation, ScimError>)>,
    /// After so many errors nothing more is done.
    pub fail_on_errors: Option<usize>,
}

/// What an answer repeats of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// The method, as it was sent.
    pub method: String,
    /// The client's name for the operation.
    pub bulk_id: Option<String>,
}

fn member<'a>(object: &'a Tree, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn syntax(detail: impl Into<std::borrow::Cow<'static, str>>) -> ScimError {
    ScimError::bad(ScimType::InvalidSyntax, detail)
}

/// Reads a request.
///
/// # Errors
/// `invalidSyntax`; 413 for too many operations.
pub fn parse(body: &Value) -> Result<BulkRequest, ScimError> {
    let body = body.as_object().ok_or_else(|| syntax("the body must be an object"))?;
    if let Some(schemas) = member(body, "schemas") {
        let is_ours = |id: &Value| id.as_str().is_some_and(|id| id.eq_ignore_ascii_case(MESSAGE));
        if !schemas.as_array().is_some_and(|schemas| schemas.iter().any(is_ours)) {
            return Err(syntax(format!("schemas must have {MESSAGE}")));
        }
    }
    let operations = member(body, "Operations").and_then(Value::as_array);
    let operations = operations.ok_or_else(|| syntax("Operations must be a list"))?;
    if operations.len() > MAX_BULK_OPERATIONS {
        return Err(ScimError {
            status: 413,
            scim_type: None,
            detail: format!("at most {MAX_BULK_OPERATIONS} operations are done at once").into(),
        });
    }
    let fail_on_errors = match member(body, "failOnErrors") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let n = value.as_u64().filter(|n| *n > 0).ok_or_else(|| syntax("failOnErrors must be 1 or more"))?;
            Some(usize::try_from(n).unwrap_or(usize::MAX))
        }
    };
    Ok(BulkRequest { operations: operations.iter().map(parse_operation).collect(), fail_on_errors })
}

fn parse_operation(value: &Value) -> (Echo, Result<BulkOperation, ScimError>) {
    let empty = Tree::new();
    let object = value.as_object().unwrap_or(&empty);
    let text = |name: &str| member(object, name).and_then(Value::as_str).map(str::to_owned);
    let bulk_id = text("bulkId").filter(|id| !id.is_empty());
    let method: String = text("method").unwrap_or_default().chars().take(16).collect();
    let echo = Echo { method: method.clone(), bulk_id: bulk_id.clone() };
    let parsed = || {
        let method = Method::parse(&method).ok_or_else(|| syntax("method must be POST, PUT, PATCH or DELETE"))?;
        let path = text("path").unwrap_or_default();
        let (kind, id) =
            parse_path(&path).ok_or_else(|| ScimError::bad(ScimType::InvalidPath, "there is no such path"))?;
        if (method == Method::Post) != id.is_none() {
            return Err(ScimError::bad(ScimType::InvalidPath, "POST names no resource, and the others name one"));
        }
        if method == Method::Post && bulk_id.is_none() {
            return Err(syntax("POST asks for a bulkId"));
        }
        let data = member(object, "data").cloned().unwrap_or(Value::Null);
        Ok(BulkOperation { method, kind, id, bulk_id: bulk_id.clone(), version: text("version"), data })
    };
    (echo, parsed())
}

/// `/Users`, `/Users/2819…`, `/Users/bulkId:qwerty`
fn parse_path(path: &str) -> Option<(ResourceKind, Option<String>)> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (endpoint, id) = match path.split_once('/') {
        Some((endpoint, id)) => (endpoint, Some(id.to_owned())),
        None => (path, None),
    };
    let kind = ResourceKind::ALL.into_iter().find(|kind| kind.endpoint().trim_start_matches('/') == endpoint)?;
    match id {
        Some(id) if id.is_empty() || id.contains('/') => None,
        id => Some((kind, id)),
    }
}

/// Ids of what the operations so far have made, by the client's names.
pub type Made = BTreeMap<String, String>;

/// The operation with ids in place of its references; none if one of them is not known (yet).
#[must_use]
pub fn resolve(operation: &BulkOperation, made: &Made) -> Option<BulkOperation> {
    let mut resolved = operation.clone();
    if let Some(id) = &mut resolved.id {
        replace(id, made)?;
    }
    replace_in(&mut resolved.data, made, 0)?;
    Some(resolved)
}

fn replace(text: &mut String, made: &Made) -> Option<()> {
    if let Some(name) = text.strip_prefix(REFERENCE) {
        *text = made.get(name)?.clone();
    }
    Some(())
}

fn replace_in(value: &mut Value, made: &Made, depth: usize) -> Option<()> {
    match value {
        Value::String(text) => replace(text, made),
        Value::Array(elements) if depth < MAX_DEPTH => {
            elements.iter_mut().try_for_each(|element| replace_in(element, made, depth + 1))
        }
        Value::Object(parts) if depth < MAX_DEPTH => {
            parts.values_mut().try_for_each(|part| replace_in(part, made, depth + 1))
        }
        _ => Some(()),
    }
}
