//! Names of attributes in filters and paths (RFC 7644 §3.10), looked up in the schemas.

use scim_v2::filter::AttrPath;
use serde_json::Value;

use super::schema::{Attribute, DataType, ResourceKind, Schema, find};
use super::{Tree, schema};

/// An attribute that a name stands for.
#[derive(Debug, Clone, Copy)]
pub struct AttributeRef {
    /// The extension that it is of; none = the core schema's, or common to all.
    pub extension: Option<&'static Schema>,
    /// The attribute.
    pub attribute: &'static Attribute,
    /// Its sub-attribute.
    pub sub: Option<&'static Attribute>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub enum Named {
    /// An attribute.
    Attribute(AttributeRef),
    /// A whole extension.
    Extension(&'static Schema),
}

/// Looks up a name of the library's grammar; none if there is no such attribute.
#[must_use]
pub fn resolve(kind: ResourceKind, path: &AttrPath) -> Option<Named> {
    let AttrPath { uri, name, sub_attr } = path;
    if let Some(uri) = uri {
        // The grammar cannot tell a schema's last word from an attribute's name.
        let whole = format!("{uri}:{name}");
        if let Some(extension) = kind.extension()
            && sub_attr.is_none()
            && extension.id.eq_ignore_ascii_case(&whole)
        {
            return Some(Named::Extension(extension));
        }
    }
    let extension = match uri.as_deref() {
        None => None,
        Some(uri) if kind.schema().id.eq_ignore_ascii_case(uri) => None,
        Some(uri) => Some(kind.extension().filter(|extension| extension.id.eq_ignore_ascii_case(uri))?),
    };
    let attribute = match extension {
        Some(extension) => find(extension.attributes, name)?,
        None => find(kind.schema().attributes, name).or_else(|| find(schema::common(), name))?,
    };
    let sub = match sub_attr {
        None => None,
        Some(name) => Some(attribute.sub(name)?),
    };
    Some(Named::Attribute(AttributeRef { extension, attribute, sub }))
}

/// Looks up a name as text, such as an entry of `attributes`.
#[must_use]
pub fn resolve_text(kind: ResourceKind, text: &str) -> Option<Named> {
    let text = text.trim();
    if let Some(extension) = kind.extension().filter(|extension| extension.id.eq_ignore_ascii_case(text)) {
        return Some(Named::Extension(extension));
    }
    let (uri, rest) = match text.rsplit_once(':') {
        Some((uri, rest)) => (Some(uri.to_owned()), rest),
        None => (None, text),
    };
    let (name, sub_attr) = match rest.split_once('.') {
        Some((name, sub)) => (name.to_owned(), Some(sub.to_owned())),
        None => (rest.to_owned(), None),
    };
    resolve(kind, &AttrPath { uri, name, sub_attr })
}

impl AttributeRef {
    /// The values of a resource that the name stands for. Of values with sub-attributes of which none is named, it is `value`
    /// (RFC 7644 §3.4.2.2).
    #[must_use]
    pub fn values<'a>(&self, resource: &'a Tree) -> Vec<&'a Value> {
        let container = match self.extension {
            None => Some(resource),
            Some(extension) => resource.get(extension.id).and_then(Value::as_object),
        };
        let Some(value) = container.and_then(|container| container.get(self.attribute.name)) else { return Vec::new() };
        let elements = match value {
            Value::Array(elements) => elements.iter().collect(),
            single => vec![single],
        };
        match self.leaf() {
            Some(leaf) if self.attribute.data_type == DataType::Complex => {
                elements.into_iter().filter_map(|element| element.get(leaf.name)).collect()
            }
            Some(_) => elements,
            None => Vec::new(),
        }
    }

    /// The attribute whose values are compared; none if only the whole could be, which has no order and no equality.
    #[must_use]
    pub fn leaf(&self) -> Option<&'static Attribute> {
        match (self.sub, self.attribute.data_type) {
            (Some(sub), _) => Some(sub),
            (None, DataType::Complex) => self.attribute.sub("value"),
            (None, DataType::String | DataType::Boolean | DataType::DateTime | DataType::Reference) => {
                Some(self.attribute)
            }
        }
    }
}
