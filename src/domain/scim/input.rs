//! Whole resources as clients send them, in POST and PUT.

use serde_json::Value;

use super::error::{ScimError, ScimType};
use super::schema::{Attribute, ResourceKind, common, find};
use super::{Tree, values};

fn syntax(detail: &'static str) -> ScimError {
    ScimError::bad(ScimType::InvalidSyntax, detail)
}

/// A body as JSON.
///
/// # Errors
/// `invalidSyntax`.
pub fn parse(bytes: &[u8]) -> Result<Value, ScimError> {
    serde_json::from_slice(bytes).map_err(|error: serde_json::Error| {
        let detail = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
        ScimError::bad(ScimType::InvalidSyntax, detail)
    })
}

/// What a client sets of a resource: attributes under the names of the schemas, those of an extension under its URN. What no schema
/// knows and what clients cannot set is left out (RFC 7644 §3.3, §3.5.1).
///
/// # Errors
/// `invalidSyntax` or `invalidValue`.
pub fn resource(kind: ResourceKind, body: &Value) -> Result<Tree, ScimError> {
    let body = body.as_object().ok_or_else(|| syntax("the body must be an object"))?;
    check_schemas(kind, body)?;
    let mut tree = Tree::new();
    for (name, value) in body {
        if let Some(extension) = kind.extension().filter(|extension| extension.id.eq_ignore_ascii_case(name)) {
            let parts = match value {
                Value::Null => continue,
                Value::Object(parts) => parts,
                _ => return Err(syntax("an extension must be an object")),
            };
            let mut kept = Tree::new();
            for (name, value) in parts {
                put(&mut kept, find(extension.attributes, name), value)?;
            }
            if !kept.is_empty() {
                tree.insert(extension.id.to_owned(), Value::Object(kept));
            }
            continue;
        }
        put(&mut tree, find(kind.schema().attributes, name).or_else(|| find(common(), name)), value)?;
    }
    check_required(kind, &tree)?;
    Ok(tree)
}

fn put(into: &mut Tree, attribute: Option<&'static Attribute>, value: &Value) -> Result<(), ScimError> {
    let Some(attribute) = attribute.filter(|attribute| !attribute.is_read_only) else { return Ok(()) };
    if into.contains_key(attribute.name) {
        return Err(ScimError::bad(ScimType::InvalidSyntax, format!("{} is there twice", attribute.name)));
    }
    if let Some(value) = values::attribute_value(attribute, value)? {
        into.insert(attribute.name.to_owned(), value);
    }
    Ok(())
}

/// A body that says which schemas it follows must follow the kind's. It may name others, which providers do of their own.
fn check_schemas(kind: ResourceKind, body: &Tree) -> Result<(), ScimError> {
    let Some((_, schemas)) = body.iter().find(|(name, _)| name.eq_ignore_ascii_case("schemas")) else { return Ok(()) };
    let is_one = |schema: &Value| schema.as_str().is_some_and(|id| id.eq_ignore_ascii_case(kind.schema().id));
    match schemas {
        Value::Array(schemas) if schemas.iter().any(is_one) => Ok(()),
        _ => Err(ScimError::bad(ScimType::InvalidSyntax, format!("schemas must have {}", kind.schema().id))),
    }
}

/// Whether everything is there that nothing else stands in for: the name. `active` is true where it is left out, and `emails` may be
/// where `userName` is an address.
///
/// # Errors
/// `invalidValue`.
pub fn check_required(kind: ResourceKind, tree: &Tree) -> Result<(), ScimError> {
    let name = match kind {
        ResourceKind::User => "userName",
        ResourceKind::Group => "displayName",
    };
    match tree.get(name).and_then(Value::as_str) {
        Some(text) if !text.trim().is_empty() => Ok(()),
        _ => Err(ScimError::bad(ScimType::InvalidValue, format!("{name} is required"))),
    }
}
