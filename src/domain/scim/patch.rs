//! PATCH (RFC 7644 §3.5.2), in the dialects of the providers: operations' names in any case, no path and an object, dotted names and
//! URNs as keys of that object, values to remove listed instead of filtered. Operations are applied to a copy, so all count or none.

use scim_v2::filter::PatchPath;
use serde_json::Value;

use super::error::{ScimError, ScimType};
use super::filter::ValueFilter;
use super::path::{AttributeRef, Named, resolve};
use super::schema::{DataType, ResourceKind, Schema, common, find};
use super::{MAX_PATCH_OPERATIONS, Tree, values};

/// URN of the body.
const MESSAGE: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

fn syntax(detail: impl Into<std::borrow::Cow<'static, str>>) -> ScimError {
    ScimError::bad(ScimType::InvalidSyntax, detail)
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Adds values to those that are there.
    Add,
    /// Puts values in place of those that are there.
    Replace,
    /// Takes values away.
    Remove,
}

/// What an operation is about.
#[derive(Debug, Clone)]
pub enum Target {
    /// The whole resource; the value says what of it.
    Resource,
    /// A whole extension.
    Extension(&'static Schema),
    /// An attribute or sub-attribute.
    Attribute(AttributeRef),
    /// Those values of an attribute that pass the filter, or a sub-attribute of them.
    Values(AttributeRef, Matching),
}

/// Which values of an attribute are meant.
#[derive(Debug, Clone)]
pub struct Matching(ValueFilter);

impl Matching {
    /// Whether a value is meant.
    #[must_use]
    pub fn matches(&self, value: &Value) -> bool {
        self.0.matches(value)
    }

    /// The one `value` that can be meant, if the filter is `value eq "…"`.
    #[must_use]
    pub fn only_value(&self) -> Option<String> {
        match self.0.equalities()?.as_slice() {
            [(attribute, Value::String(text))] if attribute.name == "value" => Some(text.clone()),
            _ => None,
        }
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What it does.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// With what; null where nothing was sent.
    pub value: Value,
}

fn member<'a>(object: &'a Tree, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Reads the operations of a body.
///
/// # Errors
/// `invalidSyntax`, `invalidPath`, `invalidFilter`, `noTarget` (a removal without a path) or `mutability`.
pub fn parse(kind: ResourceKind, body: &Value) -> Result<Vec<Operation>, ScimError> {
    let body = body.as_object().ok_or_else(|| syntax("the body must be an object"))?;
    if let Some(schemas) = member(body, "schemas") {
        let is_ours = |id: &Value| id.as_str().is_some_and(|id| id.eq_ignore_ascii_case(MESSAGE));
        if !schemas.as_array().is_some_and(|schemas| schemas.iter().any(is_ours)) {
            return Err(syntax(format!("schemas must have {MESSAGE}")));
        }
    }
    let operations = member(body, "Operations").and_then(Value::as_array);
    let operations = operations.ok_or_else(|| syntax("Operations must be a list"))?;
    if operations.is_empty() || operations.len() > MAX_PATCH_OPERATIONS {
        return Err(syntax(format!("Operations must have 1 to {MAX_PATCH_OPERATIONS} entries")));
    }
    operations.iter().map(|operation| parse_operation(kind, operation)).collect()
}

fn parse_operation(kind: ResourceKind, operation: &Value) -> Result<Operation, ScimError> {
    let operation = operation.as_object().ok_or_else(|| syntax("an operation must be an object"))?;
    let op = member(operation, "op").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let verb = match op.as_str() {
        "add" => Verb::Add,
        "replace" => Verb::Replace,
        "remove" => Verb::Remove,
        _ => return Err(syntax("op must be add, replace or remove")),
    };
    let value = member(operation, "value").cloned().unwrap_or(Value::Null);
    let target = match member(operation, "path") {
        None | Some(Value::Null) => Target::Resource,
        Some(Value::String(path)) if path.trim().is_empty() => Target::Resource,
        Some(Value::String(path)) => parse_target(kind, path)?,
        Some(_) => return Err(syntax("path must be a text")),
    };
    match (verb, &target) {
        (Verb::Remove, Target::Resource) => Err(ScimError::bad(ScimType::NoTarget, "remove asks for a path")),
        (Verb::Add | Verb::Replace, Target::Resource) if !value.is_object() => {
            Err(ScimError::bad(ScimType::InvalidValue, "without a path, the value must be an object"))
        }
        _ => Ok(Operation { verb, target, value }),
    }
}

fn parse_target(kind: ResourceKind, path: &str) -> Result<Target, ScimError> {
    let invalid = || ScimError::bad(ScimType::InvalidPath, format!("there is nothing at {:?}", brief(path)));
    // A URN alone is not always a name of the grammar.
    if let Some(extension) = kind.extension().filter(|extension| extension.id.eq_ignore_ascii_case(path.trim())) {
        return Ok(Target::Extension(extension));
    }
    let parsed: PatchPath = path.parse().map_err(|_syntax: scim_v2::filter::ParseError| invalid())?;
    let target = match parsed {
        PatchPath::Attr(name) => match resolve(kind, &name).ok_or_else(invalid)? {
            Named::Extension(extension) => Target::Extension(extension),
            Named::Attribute(attribute) => Target::Attribute(attribute),
        },
        PatchPath::Value(path) => {
            let Some(Named::Attribute(named)) = resolve(kind, &path.attr) else { return Err(invalid()) };
            if !named.attribute.is_multi || named.sub.is_some() {
                return Err(invalid());
            }
            let sub = match path.sub_attr.as_deref() {
                None => None,
                Some(name) => Some(named.attribute.sub(name).ok_or_else(invalid)?),
            };
            let matching = Matching(ValueFilter::new(named.attribute, &path.filter)?);
            Target::Values(AttributeRef { sub, ..named }, matching)
        }
    };
    match &target {
        Target::Attribute(named) | Target::Values(named, _)
            if named.attribute.is_read_only || named.sub.is_some_and(|sub| sub.is_read_only) =>
        {
            Err(ScimError::bad(ScimType::Mutability, format!("{} cannot be changed", named.attribute.name)))
        }
        _ => Ok(target),
    }
}

fn brief(text: &str) -> String {
    text.chars().take(100).collect()
}

/// The same change as operations that each name an attribute. Names that no schema knows, and attributes that clients cannot set,
/// change nothing there, as in POST and PUT.
///
/// # Errors
/// `invalidPath` or `invalidFilter`, of names with a filter in them.
pub fn spread(kind: ResourceKind, operation: Operation) -> Result<Vec<Operation>, ScimError> {
    let Target::Resource = operation.target else { return Ok(vec![operation]) };
    let verb = operation.verb;
    let Value::Object(parts) = operation.value else { return Ok(Vec::new()) };
    let mut spread = Vec::new();
    for (name, value) in parts {
        let plain = find(kind.schema().attributes, &name).or_else(|| find(common(), &name));
        let target = match plain {
            Some(attribute) if attribute.is_read_only => continue,
            Some(attribute) => Target::Attribute(AttributeRef { extension: None, attribute, sub: None }),
            None if name.contains(['.', ':', '[']) => match parse_target(kind, &name) {
                Ok(target) => target,
                Err(ScimError { scim_type: Some(ScimType::InvalidPath | ScimType::Mutability), .. }) => continue,
                Err(error) => return Err(error),
            },
            None => continue,
        };
        spread.push(Operation { verb, target, value });
    }
    Ok(spread)
}

/// Applies an operation to a resource.
///
/// # Errors
/// `invalidValue`, `noTarget` or as [`spread`].
pub fn apply(kind: ResourceKind, resource: &mut Tree, operation: Operation) -> Result<(), ScimError> {
    for Operation { verb, target, value } in spread(kind, operation)? {
        match target {
            Target::Resource => {}
            Target::Extension(extension) => apply_to_extension(resource, extension, verb, &value)?,
            Target::Attribute(named) => in_container(resource, named.extension, |container| {
                apply_to_attribute(container, &named, verb, &value)
            })?,
            Target::Values(named, matching) => in_container(resource, named.extension, |container| {
                apply_to_values(container, &named, &matching, verb, &value)
            })?,
        }
    }
    Ok(())
}

/// Works on the part of a resource that an extension's attributes are in, and takes it away when nothing is left.
fn in_container(
    resource: &mut Tree,
    extension: Option<&'static Schema>,
    work: impl FnOnce(&mut Tree) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    let Some(extension) = extension else { return work(resource) };
    let mut inner = match resource.remove(extension.id) {
        Some(Value::Object(inner)) => inner,
        _ => Tree::new(),
    };
    work(&mut inner)?;
    if !inner.is_empty() {
        resource.insert(extension.id.to_owned(), Value::Object(inner));
    }
    Ok(())
}

fn apply_to_extension(
    resource: &mut Tree,
    extension: &'static Schema,
    verb: Verb,
    value: &Value,
) -> Result<(), ScimError> {
    if verb == Verb::Remove || value.is_null() {
        resource.remove(extension.id);
        return Ok(());
    }
    let parts = value.as_object().ok_or_else(|| ScimError::bad(ScimType::InvalidValue, "an extension is an object"))?;
    in_container(resource, Some(extension), |container| {
        for (name, value) in parts {
            if let Some(attribute) = find(extension.attributes, name) {
                let named = AttributeRef { extension: Some(extension), attribute, sub: None };
                apply_to_attribute(container, &named, verb, value)?;
            }
        }
        Ok(())
    })
}

fn apply_to_attribute(container: &mut Tree, named: &AttributeRef, verb: Verb, value: &Value) -> Result<(), ScimError> {
    let attribute = named.attribute;
    if let Some(sub) = named.sub {
        if attribute.is_multi {
            return edit_values(container, named, verb, |elements| {
                if elements.is_empty() && verb == Verb::Add {
                    elements.push(Value::Object(Tree::new()));
                }
                elements.iter_mut().try_for_each(|element| set_sub(element, sub, verb, value))
            });
        }
        let mut whole = container.remove(attribute.name).unwrap_or_else(|| Value::Object(Tree::new()));
        set_sub(&mut whole, sub, verb, value)?;
        return put_whole(container, attribute.name, whole);
    }
    if verb == Verb::Remove {
        if attribute.is_multi && !value.is_null() {
            let listed = list(values::attribute_value(attribute, value)?);
            return edit_values(container, named, verb, |elements| {
                elements.retain(|element| !listed.iter().any(|gone| is_same(gone, element)));
                Ok(())
            });
        }
        container.remove(attribute.name);
        return Ok(());
    }
    let value = values::attribute_value(attribute, value)?;
    if attribute.is_multi && verb == Verb::Add {
        return edit_values(container, named, verb, |elements| {
            for new in list(value) {
                if !elements.contains(&new) {
                    elements.push(new);
                }
            }
            Ok(())
        });
    }
    match value {
        None => drop(container.remove(attribute.name)),
        // Only what is named is touched (RFC 7644 §3.5.2.3).
        Some(Value::Object(parts)) if attribute.data_type == DataType::Complex && !attribute.is_multi => {
            let whole = container.entry(attribute.name).or_insert_with(|| Value::Object(Tree::new()));
            if let Value::Object(kept) = whole {
                kept.extend(parts);
            }
        }
        Some(value) => drop(container.insert(attribute.name.to_owned(), value)),
    }
    Ok(())
}

fn apply_to_values(
    container: &mut Tree,
    named: &AttributeRef,
    matching: &Matching,
    verb: Verb,
    value: &Value,
) -> Result<(), ScimError> {
    edit_values(container, named, verb, |elements| {
        if verb == Verb::Remove && named.sub.is_none() {
            elements.retain(|element| !matching.matches(element));
            return Ok(());
        }
        if verb != Verb::Remove && !elements.iter().any(|element| matching.matches(element)) {
            let equalities = matching.0.equalities().filter(|_| verb == Verb::Add);
            let equalities =
                equalities.ok_or_else(|| ScimError::bad(ScimType::NoTarget, "the path matches no value"))?;
            let new: Tree = equalities.into_iter().map(|(sub, value)| (sub.name.to_owned(), value)).collect();
            elements.push(Value::Object(new));
        }
        for element in elements.iter_mut().filter(|element| matching.matches(element)) {
            match named.sub {
                Some(sub) => set_sub(element, sub, verb, value)?,
                None => match values::single(named.attribute, value)? {
                    Some(Value::Object(parts)) => {
                        if let Value::Object(kept) = element {
                            kept.extend(parts);
                        }
                    }
                    _ => return Err(ScimError::bad(ScimType::InvalidValue, "the value must be an object")),
                },
            }
        }
        Ok(())
    })
}

/// Works on the list of an attribute's values. At most one stays the primary one: the latest that was made so.
fn edit_values(
    container: &mut Tree,
    named: &AttributeRef,
    verb: Verb,
    work: impl FnOnce(&mut Vec<Value>) -> Result<(), ScimError>,
) -> Result<(), ScimError> {
    let mut elements = list(container.remove(named.attribute.name));
    let before: Vec<Value> = elements.iter().filter(|element| values::is_primary(element)).cloned().collect();
    work(&mut elements)?;
    if verb != Verb::Remove && values::n_primary(&elements) > 1 {
        for element in elements.iter_mut().filter(|element| before.contains(element)) {
            if let Value::Object(parts) = element {
                parts.insert("primary".to_owned(), Value::Bool(false));
            }
        }
    }
    elements.retain(|element| element.as_object().is_none_or(|parts| !parts.is_empty()));
    match values::attribute_value(named.attribute, &Value::Array(elements))? {
        None => Ok(()),
        Some(kept) => put_whole(container, named.attribute.name, kept),
    }
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(elements)) => elements,
        Some(single) => vec![single],
    }
}

/// Whether a value that is to be removed means this one: the same, or with the same `value`.
fn is_same(gone: &Value, element: &Value) -> bool {
    match (gone.get("value"), element.get("value")) {
        (Some(gone), Some(element)) => gone == element,
        _ => gone == element,
    }
}

fn set_sub(
    element: &mut Value,
    sub: &'static super::schema::Attribute,
    verb: Verb,
    value: &Value,
) -> Result<(), ScimError> {
    let Value::Object(parts) = element else {
        return Err(ScimError::bad(ScimType::InvalidPath, format!("there is no {} in a plain value", sub.name)));
    };
    match values::attribute_value(sub, value)?.filter(|_| verb != Verb::Remove) {
        Some(value) => drop(parts.insert(sub.name.to_owned(), value)),
        None => drop(parts.remove(sub.name)),
    }
    Ok(())
}

fn put_whole(container: &mut Tree, name: &str, whole: Value) -> Result<(), ScimError> {
    if whole.as_object().is_none_or(|parts| !parts.is_empty()) {
        container.insert(name.to_owned(), whole);
    }
    Ok(())
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
