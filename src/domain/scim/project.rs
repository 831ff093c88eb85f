//! Which attributes of a resource are answered (RFC 7644 §3.9).

use serde_json::Value;

use super::Tree;
use super::error::{ScimError, ScimType};
use super::path::{AttributeRef, Named, resolve_text};
use super::schema::{Attribute, ResourceKind, Schema, common, find};

/// Most names in one list.
const MAX_NAMES: usize = 100;

/// What is wanted of each resource.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    wanted: Option<Vec<Named>>,
    unwanted: Vec<Named>,
}

impl Projection {
    /// Reads `attributes` and `excludedAttributes`. Names that the kind does not have stand for nothing.
    ///
    /// # Errors
    /// `invalidValue` for too many names.
    pub fn parse(kind: ResourceKind, attributes: &[String], excluded: &[String]) -> Result<Self, ScimError> {
        if attributes.len().max(excluded.len()) > MAX_NAMES {
            return Err(ScimError::bad(ScimType::InvalidValue, "too many attributes are named"));
        }
        let resolve = |names: &[String]| names.iter().filter_map(|name| resolve_text(kind, name)).collect::<Vec<_>>();
        let is_asked = attributes.iter().any(|name| !name.trim().is_empty());
        Ok(Self { wanted: is_asked.then(|| resolve(attributes)), unwanted: resolve(excluded) })
    }

    /// Whether the client said which attributes it wants.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether an attribute of the core schema is in the answer at all: what is not need not be read.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let names = |named: &Named| match named {
            Named::Attribute(named) => named.extension.is_none() && named.attribute.name == name,
            Named::Extension(_) => false,
        };
        let is_whole = |named: &Named| matches!(named, Named::Attribute(AttributeRef { sub: None, .. }));
        let is_wanted = self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(names));
        is_wanted && !self.unwanted.iter().any(|named| names(named) && is_whole(named))
    }

    /// The wanted part of a resource.
    #[must_use]
    pub fn apply(&self, kind: ResourceKind, resource: Tree) -> Tree {
        let mut answer = Tree::new();
        for (name, value) in resource {
            let extension = kind.extension().filter(|extension| extension.id == name);
            let kept = match (extension, value) {
                (Some(extension), Value::Object(parts)) => self.extension(extension, parts).map(Value::Object),
                (_, value) => {
                    let attribute = find(kind.schema().attributes, &name).or_else(|| find(common(), &name));
                    attribute.and_then(|attribute| self.attribute(None, attribute, value))
                }
            };
            if let Some(value) = kept {
                answer.insert(name, value);
            }
        }
        answer
    }

    fn extension(&self, extension: &'static Schema, parts: Tree) -> Option<Tree> {
        let is_whole = |named: &Named| matches!(named, Named::Extension(of) if of.id == extension.id);
        if self.unwanted.iter().any(is_whole) {
            return None;
        }
        let kept: Tree = parts
            .into_iter()
            .filter_map(|(name, value)| {
                let attribute = find(extension.attributes, &name)?;
                Some((name, self.attribute(Some(extension), attribute, value)?))
            })
            .collect();
        (!kept.is_empty()).then_some(kept)
    }

    fn attribute(
        &self,
        extension: Option<&'static Schema>,
        attribute: &'static Attribute,
        value: Value,
    ) -> Option<Value> {
        if attribute.is_always_returned {
            return Some(value);
        }
        let subs = |list: &[Named]| -> Vec<Option<&'static Attribute>> {
            list.iter()
                .filter_map(|named| match named {
                    Named::Attribute(named)
                        if named.attribute.name == attribute.name
                            && named.extension.map(|of| of.id) == extension.map(|of| of.id) =>
                    {
                        Some(named.sub)
                    }
                    // The whole extension was named.
                    Named::Extension(of) if Some(of.id) == extension.map(|of| of.id) => Some(None),
                    Named::Attribute(_) | Named::Extension(_) => None,
                })
                .collect()
        };
        let value = match &self.wanted {
            None => value,
            Some(wanted) => match subs(wanted) {
                named if named.is_empty() => return None,
                named if named.iter().any(Option::is_none) => value,
                named => of_each(value, |sub| named.iter().flatten().any(|wanted| wanted.name == sub)),
            },
        };
        match subs(&self.unwanted) {
            named if named.iter().any(Option::is_none) => None,
            named if named.is_empty() => Some(value),
            named => Some(of_each(value, |sub| !named.iter().flatten().any(|unwanted| unwanted.name == sub))),
        }
    }
}

/// A complex value, or each of several, with those sub-attributes only that are kept.
fn of_each(value: Value, is_kept: impl Fn(&str) -> bool + Copy) -> Value {
    match value {
        Value::Array(elements) => elements.into_iter().map(|element| of_each(element, is_kept)).collect(),
        Value::Object(parts) => Value::Object(parts.into_iter().filter(|(name, _)| is_kept(name)).collect()),
        plain => plain,
    }
}
