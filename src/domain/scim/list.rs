//! Questions for several resources (RFC 7644 §3.4.2, §3.4.3), and pages of answers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ScimError, ScimType};
use super::filter::Filter;
use super::path::{AttributeRef, Named, resolve_text};
use super::project::Projection;
use super::schema::{DataType, ResourceKind};
use super::{MAX_PAGE, Tree, fold, values};

/// URN of an answer.
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A question as it is sent, in a query or in a body.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// Which resources.
    pub filter: Option<String>,
    /// By which attribute they are sorted.
    pub sort_by: Option<String>,
    /// `ascending` or `descending`.
    pub sort_order: Option<String>,
    /// Place of the first, from 1.
    pub start_index: Option<i64>,
    /// How many at most.
    pub count: Option<i64>,
    /// Attributes that are wanted.
    #[serde(default, deserialize_with = "names")]
    pub attributes: Vec<String>,
    /// Attributes that are not wanted.
    #[serde(default, deserialize_with = "names")]
    pub excluded_attributes: Vec<String>,
}

/// A list of names, or a text with commas between them.
fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Option::<Names>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Names::List(names)) => names,
        Some(Names::Text(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
    })
}

/// A question that was understood.
#[derive(Debug, Clone)]
pub struct Query {
    /// Kind of resource.
    pub kind: ResourceKind,
    /// Which; none = all.
    pub filter: Option<Filter>,
    /// In which order; none = that in which they were made.
    pub sort: Option<Sort>,
    /// Resources before the page.
    pub skip: usize,
    /// Resources on the page.
    pub take: usize,
    /// What of each.
    pub projection: Projection,
}

/// An order.
#[derive(Debug, Clone)]
pub struct Sort {
    by: AttributeRef,
    is_descending: bool,
}

impl Question {
    /// Reads a question that was sent in a body (RFC 7644 §3.4.3).
    ///
    /// # Errors
    /// `invalidSyntax`.
    pub fn parse(body: Value) -> Result<Self, ScimError> {
        serde_json::from_value(body).map_err(|error: serde_json::Error| {
            ScimError::bad(ScimType::InvalidSyntax, format!("the search cannot be understood: {error}"))
        })
    }

    /// Looks everything up for a kind of resource.
    ///
    /// # Errors
    /// `invalidFilter`, or `invalidValue` for an order that there is not.
    pub fn resolve(&self, kind: ResourceKind) -> Result<Query, ScimError> {
        let filter = match self.filter.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(Filter::parse(kind, text)?),
        };
        let sort = match self.sort_by.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(name) => Some(self.sort(kind, name)?),
        };
        let start = self.start_index.unwrap_or(1).max(1);
        let count = self.count.map_or(MAX_PAGE, |count| usize::try_from(count.max(0)).unwrap_or(MAX_PAGE));
        Ok(Query {
            kind,
            filter,
            sort,
            skip: usize::try_from(start - 1).unwrap_or(usize::MAX),
            take: count.min(MAX_PAGE),
            projection: Projection::parse(kind, &self.attributes, &self.excluded_attributes)?,
        })
    }

    fn sort(&self, kind: ResourceKind, name: &str) -> Result<Sort, ScimError> {
        let invalid = |detail: String| ScimError::bad(ScimType::InvalidValue, detail);
        let by = match resolve_text(kind, name) {
            Some(Named::Attribute(by)) if by.leaf().is_some() => by,
            _ => {
                return Err(invalid(format!(
                    "nothing can be sorted by {:?}",
                    name.chars().take(100).collect::<String>()
                )));
            }
        };
        let is_descending = match self.sort_order.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "ascending") => false,
            Some("descending") => true,
            Some(_) => return Err(invalid("sortOrder must be ascending or descending".to_owned())),
        };
        Ok(Sort { by, is_descending })
    }
}

/// Where a resource stands in an order. Those without a value are last, or, descending, first (RFC 7644 §3.4.2.3).
pub type SortKey = (bool, String);

impl Query {
    /// Whether a filter or an order looks at an attribute of the core schema.
    #[must_use]
    pub fn looks_at(&self, name: &str) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.looks_at(name))
            || self.sort.as_ref().is_some_and(|sort| sort.by.extension.is_none() && sort.by.attribute.name == name)
    }
}

impl Sort {
    /// The place of a resource: by its primary value, or the first.
    #[must_use]
    pub fn key(&self, resource: &Tree) -> SortKey {
        let found = self.by.values(resource);
        let primary = match resource.get(self.by.attribute.name) {
            Some(Value::Array(elements)) => elements.iter().position(values::is_primary).unwrap_or(0),
            _ => 0,
        };
        let value = found.get(primary).or_else(|| found.first());
        match value {
            None => (true, String::new()),
            Some(Value::String(text)) => {
                let is_exact =
                    self.by.leaf().is_some_and(|leaf| leaf.is_case_exact || leaf.data_type == DataType::DateTime);
                (false, if is_exact { text.clone() } else { fold(text) })
            }
            Some(other) => (false, other.to_string()),
        }
    }

    /// Sorts; equals keep their order.
    pub fn sort<T>(&self, resources: &mut [(SortKey, T)]) {
        resources.sort_by(|(a, _), (b, _)| if self.is_descending { b.cmp(a) } else { a.cmp(b) });
    }
}

/// The answer to a question: a page, and how many there are in all.
#[must_use]
pub fn response(total: usize, skip: usize, page: Vec<Value>) -> Value {
    json!({
        "schemas": [LIST],
        "totalResults": total,
        "startIndex": skip.saturating_add(1),
        "itemsPerPage": page.len(),
        "Resources": page,
    })
}
