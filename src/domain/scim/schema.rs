//! The attributes of users and groups (RFC 7643 §3.1, §4): the one table of what there is.

use super::Tree;

#[path = "schema_tables.rs"]
mod tables;

pub use tables::{ENTERPRISE, GROUP, USER};

/// Data type of an attribute (RFC 7643 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A moment.
    DateTime,
    /// A URL, or a resource's.
    Reference,
    /// Sub-attributes.
    Complex,
}

impl DataType {
    /// The word in `/Schemas`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::DateTime => "dateTime",
            Self::Reference => "reference",
            Self::Complex => "complex",
        }
    }
}

/// An attribute, or a sub-attribute (RFC 7643 §7).
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of the RFC's own table of characteristics")]
pub struct Attribute {
    /// Name, as it is spelt in answers.
    pub name: &'static str,
    /// Data type.
    pub data_type: DataType,
    /// What it is for.
    pub description: &'static str,
    /// Whether there may be several values.
    pub is_multi: bool,
    /// Whether a resource must have it.
    pub is_required: bool,
    /// Whether upper and lower case differ.
    pub is_case_exact: bool,
    /// Whether clients cannot set it.
    pub is_read_only: bool,
    /// Whether it is in every answer, whatever is asked for.
    pub is_always_returned: bool,
    /// Whether no two resources of a tenant have the same.
    pub is_unique: bool,
    /// Values that are usual.
    pub canonical: &'static [&'static str],
    /// What a reference may refer to.
    pub refers_to: &'static [&'static str],
    /// Sub-attributes.
    pub sub: &'static [Attribute],
}

impl Attribute {
    /// An attribute with one optional text.
    const fn text(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            data_type: DataType::String,
            description,
            is_multi: false,
            is_required: false,
            is_case_exact: false,
            is_read_only: false,
            is_always_returned: false,
            is_unique: false,
            canonical: &[],
            refers_to: &[],
            sub: &[],
        }
    }

    const fn of_type(self, data_type: DataType) -> Self {
        Self { data_type, ..self }
    }

    const fn complex(name: &'static str, description: &'static str, sub: &'static [Self]) -> Self {
        Self { sub, ..Self::text(name, description).of_type(DataType::Complex) }
    }

    const fn multi(self) -> Self {
        Self { is_multi: true, ..self }
    }

    const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    const fn case_exact(self) -> Self {
        Self { is_case_exact: true, ..self }
    }

    const fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    const fn always(self) -> Self {
        Self { is_always_returned: true, ..self }
    }

    const fn unique(self) -> Self {
        Self { is_unique: true, ..self }
    }

    const fn canonical(self, canonical: &'static [&'static str]) -> Self {
        Self { canonical, ..self }
    }

    const fn reference(self, refers_to: &'static [&'static str]) -> Self {
        Self { refers_to, is_case_exact: true, ..self.of_type(DataType::Reference) }
    }

    /// A sub-attribute by name, whatever its case.
    #[must_use]
    pub fn sub(&self, name: &str) -> Option<&'static Self> {
        find(self.sub, name)
    }
}

/// A set of attributes with a name.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// URN.
    pub id: &'static str,
    /// Name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its attributes.
    pub attributes: &'static [Attribute],
}

/// Attributes that every resource has, besides its schema's.
#[must_use]
pub fn common() -> &'static [Attribute] {
    tables::COMMON
}

/// An attribute by name, whatever its case (RFC 7643 §2.1).
#[must_use]
pub fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    /// A user.
    User,
    /// A group.
    Group,
}

impl ResourceKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// Name, as in `meta.resourceType`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// Where resources of the kind are, after the base of all.
    #[must_use]
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::User => "/Users",
            Self::Group => "/Groups",
        }
    }

    /// The schema.
    #[must_use]
    pub fn schema(self) -> &'static Schema {
        match self {
            Self::User => &USER,
            Self::Group => &GROUP,
        }
    }

    /// The schema that extends it.
    #[must_use]
    pub fn extension(self) -> Option<&'static Schema> {
        match self {
            Self::User => Some(&ENTERPRISE),
            Self::Group => None,
        }
    }

    /// URNs of the schemas that a resource has values of.
    #[must_use]
    pub fn schemas_of(self, tree: &Tree) -> Vec<&'static str> {
        let extension = self.extension().filter(|extension| tree.contains_key(extension.id));
        std::iter::once(self.schema().id).chain(extension.map(|extension| extension.id)).collect()
    }
}
