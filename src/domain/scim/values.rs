//! Values as clients send them → values as they are kept. Providers send booleans as text, one value where a list belongs, and
//! bare texts where a complex value belongs; what is meant is plain in each case.

use serde_json::Value;

use super::error::{ScimError, ScimType};
use super::schema::{Attribute, DataType};
use super::{MAX_MEMBERS_NAMED, Tree};

/// Longest text, in characters.
const MAX_TEXT: usize = 1_024;
/// Most values of one attribute other than members.
const MAX_VALUES: usize = 50;

fn invalid(name: &str, what: &str) -> ScimError {
    ScimError::bad(ScimType::InvalidValue, format!("{name} {what}"))
}

/// `true`, `false`, and both as text in any case.
pub(super) fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The value of an attribute, or `None` if it is none: null, an empty list or an empty object (RFC 7643 §2.5).
///
/// # Errors
/// `invalidValue`.
pub(super) fn attribute_value(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    if !attribute.is_multi {
        return single(attribute, value);
    }
    let elements = match value {
        Value::Null => return Ok(None),
        Value::Array(elements) => elements.as_slice(),
        one => std::slice::from_ref(one),
    };
    let most = if attribute.name == "members" { MAX_MEMBERS_NAMED } else { MAX_VALUES };
    if elements.len() > most {
        return Err(invalid(attribute.name, &format!("has more than {most} values")));
    }
    let kept: Vec<Value> =
        elements.iter().filter_map(|element| single(attribute, element).transpose()).collect::<Result<_, _>>()?;
    if n_primary(&kept) > 1 {
        return Err(invalid(attribute.name, "has more than one primary value"));
    }
    Ok((!kept.is_empty()).then_some(Value::Array(kept)))
}

/// Number of values that say they are the primary one.
pub(super) fn n_primary(values: &[Value]) -> usize {
    values.iter().filter(|value| is_primary(value)).count()
}

/// Whether a value says that it is the primary one.
pub(super) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

/// One value of an attribute, whether it may have several or not.
///
/// # Errors
/// `invalidValue`.
pub(super) fn single(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, ScimError> {
    let name = attribute.name;
    match (attribute.data_type, value) {
        (_, Value::Null) => Ok(None),
        (DataType::Boolean, value) => match boolean(value) {
            Some(value) => Ok(Some(Value::Bool(value))),
            None => Err(invalid(name, "must be true or false")),
        },
        (DataType::String | DataType::Reference | DataType::DateTime, Value::String(text)) => {
            if text.chars().count() > MAX_TEXT {
                return Err(invalid(name, &format!("has more than {MAX_TEXT} characters")));
            }
            if text.contains('\0') {
                return Err(invalid(name, "has a NUL character"));
            }
            Ok((!text.is_empty()).then(|| value.clone()))
        }
        (DataType::String | DataType::Reference | DataType::DateTime, _) => Err(invalid(name, "must be a text")),
        (DataType::Complex, Value::Object(parts)) => complex(attribute, parts),
        (DataType::Complex, Value::String(_)) => match attribute.sub("value") {
            Some(sub) => {
                let value = single(sub, value)?;
                Ok(value.map(|value| Value::Object(Tree::from_iter([("value".to_owned(), value)]))))
            }
            None => Err(invalid(name, "must be an object")),
        },
        (DataType::Complex, _) => Err(invalid(name, "must be an object")),
    }
}

fn complex(attribute: &'static Attribute, parts: &Tree) -> Result<Option<Value>, ScimError> {
    let mut kept = Tree::new();
    for (name, value) in parts {
        // What the schema does not know is not kept, as at the top.
        let Some(sub) = attribute.sub(name).filter(|sub| !sub.is_read_only) else { continue };
        if let Some(value) = attribute_value(sub, value)? {
            kept.insert(sub.name.to_owned(), value);
        }
    }
    Ok((!kept.is_empty()).then_some(Value::Object(kept)))
}
