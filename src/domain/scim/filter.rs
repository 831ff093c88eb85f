//! Filters (RFC 7644 §3.4.2.2): parsed by the library, looked up in the schemas, and answered for one resource at a time.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use scim_v2::filter::{self as grammar, AttrExp, CompValue, CompareOp, ValFilter};
use serde_json::Value;

use super::error::{ScimError, ScimType};
use super::path::{AttributeRef, Named, resolve};
use super::schema::{Attribute, DataType, ResourceKind};
use super::{Tree, fold, values};

/// Longest filter, in bytes.
const MAX_BYTES: usize = 16_384;
/// Most comparisons in one filter. The library's own bound on nesting is 64.
const MAX_COMPARISONS: usize = 250;

fn invalid(detail: impl Into<Cow<'static, str>>) -> ScimError {
    ScimError::bad(ScimType::InvalidFilter, detail)
}

/// A filter that can be asked of every resource of its kind.
#[derive(Debug, Clone)]
pub struct Filter(Node);

#[derive(Debug, Clone)]
enum Node {
    Test(AttributeRef, Test),
    /// Some one value of the attribute passes the inner filter.
    AnyValue(AttributeRef, ValueFilter),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// A filter on one value of a multi-valued attribute, such as `type eq "work"`.
#[derive(Debug, Clone)]
pub(super) struct ValueFilter(ValueNode);

#[derive(Debug, Clone)]
enum ValueNode {
    Test(&'static Attribute, Test),
    Not(Box<ValueNode>),
    All(Vec<ValueNode>),
    Any(Vec<ValueNode>),
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Absent,
    Compare(CompareOp, Operand),
}

/// What is compared with, as it is compared.
#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Text { folded: String, raw: String },
    Boolean(bool),
    Moment(DateTime<Utc>),
}

/// Counts comparisons as they are looked up.
struct Budget(usize);

impl Budget {
    fn spend(&mut self) -> Result<(), ScimError> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| invalid("the filter has too many comparisons"))?;
        Ok(())
    }
}

impl Filter {
    /// Parses a filter for resources of a kind.
    ///
    /// # Errors
    /// `invalidFilter`, also for an attribute that the kind does not have.
    pub fn parse(kind: ResourceKind, text: &str) -> Result<Self, ScimError> {
        if text.len() > MAX_BYTES {
            return Err(invalid("the filter is too long"));
        }
        let parsed: grammar::Filter =
            text.parse().map_err(|error: grammar::ParseError| invalid(format!("not a filter: {}", brief(&error))))?;
        Ok(Self(node(kind, &parsed, &mut Budget(MAX_COMPARISONS))?))
    }

    /// Whether a resource passes.
    #[must_use]
    pub fn matches(&self, resource: &Tree) -> bool {
        passes(&self.0, resource)
    }

    /// Whether an attribute of the core schema is looked at.
    #[must_use]
    pub fn looks_at(&self, name: &str) -> bool {
        fn looks(node: &Node, name: &str) -> bool {
            match node {
                Node::Test(target, _) | Node::AnyValue(target, _) => {
                    target.extension.is_none() && target.attribute.name == name
                }
                Node::Not(inner) => looks(inner, name),
                Node::All(nodes) | Node::Any(nodes) => nodes.iter().any(|node| looks(node, name)),
            }
        }
        looks(&self.0, name)
    }

    /// The text that an attribute must be equal to for the filter to pass, if it must: what an index can be asked for. `of` is an
    /// attribute's name, and `sub` its sub-attribute's.
    #[must_use]
    pub fn required_text(&self, of: &str, sub: Option<&str>) -> Option<&str> {
        let nodes = match &self.0 {
            Node::All(nodes) => nodes.as_slice(),
            one => std::slice::from_ref(one),
        };
        nodes.iter().find_map(|node| match node {
            Node::Test(target, Test::Compare(CompareOp::Eq, Operand::Text { folded, .. }))
                if target.extension.is_none()
                    && target.attribute.name == of
                    && target.sub.map(|sub| sub.name) == sub =>
            {
                Some(folded.as_str())
            }
            Node::AnyValue(target, ValueFilter(inner)) if target.attribute.name == of => required_value(inner, sub),
            Node::Test(..) | Node::AnyValue(..) | Node::Not(_) | Node::All(_) | Node::Any(_) => None,
        })
    }
}

fn required_value<'a>(node: &'a ValueNode, sub: Option<&str>) -> Option<&'a str> {
    match node {
        ValueNode::Test(attribute, Test::Compare(CompareOp::Eq, Operand::Text { folded, .. }))
            if Some(attribute.name) == sub =>
        {
            Some(folded)
        }
        ValueNode::All(nodes) => nodes.iter().find_map(|node| required_value(node, sub)),
        ValueNode::Test(..) | ValueNode::Not(_) | ValueNode::Any(_) => None,
    }
}

/// The parser's sentence, without the list of everything that would have been possible.
fn brief(error: &grammar::ParseError) -> String {
    let text: String = error.to_string().lines().next().unwrap_or_default().chars().take(200).collect();
    text
}

fn node(kind: ResourceKind, parsed: &grammar::Filter, budget: &mut Budget) -> Result<Node, ScimError> {
    Ok(match parsed {
        grammar::Filter::Attr(expression) => {
            budget.spend()?;
            let target = attribute(kind, path_of(expression))?;
            let leaf = target.leaf();
            Node::Test(target, test(leaf, expression)?)
        }
        grammar::Filter::ValuePath(path) => {
            let target = attribute(kind, &path.attr)?;
            if target.sub.is_some() {
                return Err(invalid(format!("{} has no values of its own", path.attr)));
            }
            Node::AnyValue(target, ValueFilter(value_node(target.attribute, &path.filter, budget)?))
        }
        grammar::Filter::Not(inner) => Node::Not(Box::new(node(kind, inner, budget)?)),
        grammar::Filter::And(items) => Node::All(nodes(items, |item| node(kind, item, budget))?),
        grammar::Filter::Or(items) => Node::Any(nodes(items, |item| node(kind, item, budget))?),
    })
}

fn nodes<T, U>(items: &[T], each: impl FnMut(&T) -> Result<U, ScimError>) -> Result<Vec<U>, ScimError> {
    items.iter().map(each).collect()
}

impl ValueFilter {
    /// Looks up a filter on the values of an attribute.
    ///
    /// # Errors
    /// `invalidFilter`.
    pub(super) fn new(attribute: &'static Attribute, parsed: &ValFilter) -> Result<Self, ScimError> {
        Ok(Self(value_node(attribute, parsed, &mut Budget(MAX_COMPARISONS))?))
    }

    /// Whether a value passes.
    pub(super) fn matches(&self, value: &Value) -> bool {
        value_passes(&self.0, value)
    }

    /// What a value must be to pass, if the filter says nothing but equalities: sub-attributes and their values.
    pub(super) fn equalities(&self) -> Option<Vec<(&'static Attribute, Value)>> {
        fn collect(node: &ValueNode, into: &mut Vec<(&'static Attribute, Value)>) -> bool {
            match node {
                ValueNode::Test(attribute, Test::Compare(CompareOp::Eq, operand)) => {
                    into.push((
                        attribute,
                        match operand {
                            Operand::Text { raw, .. } => Value::String(raw.clone()),
                            Operand::Boolean(value) => Value::Bool(*value),
                            Operand::Moment(at) => Value::String(at.to_rfc3339()),
                        },
                    ));
                    true
                }
                ValueNode::All(nodes) => nodes.iter().all(|node| collect(node, into)),
                ValueNode::Test(..) | ValueNode::Not(_) | ValueNode::Any(_) => false,
            }
        }
        let mut found = Vec::new();
        collect(&self.0, &mut found).then_some(found)
    }
}

fn value_node(of: &'static Attribute, parsed: &ValFilter, budget: &mut Budget) -> Result<ValueNode, ScimError> {
    Ok(match parsed {
        ValFilter::Attr(expression) => {
            budget.spend()?;
            let path = path_of(expression);
            let is_plain = path.uri.is_none() && path.sub_attr.is_none();
            let sub = of.sub(&path.name).filter(|_| is_plain);
            let sub = sub.ok_or_else(|| invalid(format!("{} has no {path}", of.name)))?;
            ValueNode::Test(sub, test(Some(sub), expression)?)
        }
        ValFilter::Not(inner) => ValueNode::Not(Box::new(value_node(of, inner, budget)?)),
        ValFilter::And(items) => ValueNode::All(nodes(items, |item| value_node(of, item, budget))?),
        ValFilter::Or(items) => ValueNode::Any(nodes(items, |item| value_node(of, item, budget))?),
    })
}

fn path_of(expression: &AttrExp) -> &grammar::AttrPath {
    match expression {
        AttrExp::Present(path) | AttrExp::Comparison(path, _, _) => path,
    }
}

fn attribute(kind: ResourceKind, path: &grammar::AttrPath) -> Result<AttributeRef, ScimError> {
    match resolve(kind, path) {
        Some(Named::Attribute(target)) => Ok(target),
        Some(Named::Extension(_)) | None => Err(invalid(format!("there is no attribute {path}"))),
    }
}

fn test(leaf: Option<&'static Attribute>, expression: &AttrExp) -> Result<Test, ScimError> {
    let (path, op, value) = match expression {
        AttrExp::Present(_) => return Ok(Test::Present),
        AttrExp::Comparison(path, op, value) => (path, op, value),
    };
    let leaf = leaf.ok_or_else(|| invalid(format!("{path} has parts and cannot be compared whole")))?;
    if *value == CompValue::Null {
        return match op {
            CompareOp::Eq => Ok(Test::Absent),
            CompareOp::Ne => Ok(Test::Present),
            _ => Err(invalid("null can be compared by eq and ne only")),
        };
    }
    let operand = operand(leaf, value).ok_or_else(|| invalid(format!("{path} cannot be compared with {value}")))?;
    let is_order = matches!(op, CompareOp::Gt | CompareOp::Ge | CompareOp::Lt | CompareOp::Le);
    let is_part = matches!(op, CompareOp::Co | CompareOp::Sw | CompareOp::Ew);
    match operand {
        Operand::Boolean(_) if is_order || is_part => Err(invalid(format!("{path} cannot be compared by {op}"))),
        Operand::Moment(_) if is_part => Err(invalid(format!("{path} cannot be compared by {op}"))),
        operand => Ok(Test::Compare(op.clone(), operand)),
    }
}

fn operand(leaf: &'static Attribute, value: &CompValue) -> Option<Operand> {
    match (leaf.data_type, value) {
        (DataType::Boolean, CompValue::True) => Some(Operand::Boolean(true)),
        (DataType::Boolean, CompValue::False) => Some(Operand::Boolean(false)),
        // As providers write booleans elsewhere, too.
        (DataType::Boolean, CompValue::Str(text)) => {
            values::boolean(&Value::String(text.clone())).map(Operand::Boolean)
        }
        (DataType::DateTime, CompValue::Str(text)) => moment(text).map(Operand::Moment),
        (DataType::String | DataType::Reference, CompValue::Str(text)) => {
            let folded = if leaf.is_case_exact { text.clone() } else { fold(text) };
            Some(Operand::Text { folded, raw: text.clone() })
        }
        _ => None,
    }
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

fn passes(node: &Node, resource: &Tree) -> bool {
    match node {
        Node::Test(target, test) => {
            let values = match (test, target.leaf()) {
                // A value with parts is there if any part is.
                (Test::Present | Test::Absent, None) => {
                    return is_there(target, resource) == matches!(test, Test::Present);
                }
                _ => target.values(resource),
            };
            holds(target.leaf(), test, &values)
        }
        Node::AnyValue(target, inner) => {
            let whole = AttributeRef { sub: None, ..*target };
            elements(&whole, resource).into_iter().any(|value| inner.matches(value))
        }
        Node::Not(inner) => !passes(inner, resource),
        Node::All(nodes) => nodes.iter().all(|node| passes(node, resource)),
        Node::Any(nodes) => nodes.iter().any(|node| passes(node, resource)),
    }
}

fn value_passes(node: &ValueNode, value: &Value) -> bool {
    match node {
        ValueNode::Test(sub, test) => {
            let values: Vec<&Value> = value.get(sub.name).into_iter().collect();
            holds(Some(sub), test, &values)
        }
        ValueNode::Not(inner) => !value_passes(inner, value),
        ValueNode::All(nodes) => nodes.iter().all(|node| value_passes(node, value)),
        ValueNode::Any(nodes) => nodes.iter().any(|node| value_passes(node, value)),
    }
}

fn is_there(target: &AttributeRef, resource: &Tree) -> bool {
    !elements(target, resource).is_empty()
}

/// The values of an attribute, whole.
fn elements<'a>(target: &AttributeRef, resource: &'a Tree) -> Vec<&'a Value> {
    let container = match target.extension {
        None => Some(resource),
        Some(extension) => resource.get(extension.id).and_then(Value::as_object),
    };
    match container.and_then(|container| container.get(target.attribute.name)) {
        None => Vec::new(),
        Some(Value::Array(elements)) => elements.iter().collect(),
        Some(single) => vec![single],
    }
}

fn holds(leaf: Option<&'static Attribute>, test: &Test, values: &[&Value]) -> bool {
    match (test, leaf) {
        (Test::Present, _) => !values.is_empty(),
        (Test::Absent, _) => values.is_empty(),
        // The opposite of `eq`, also for an attribute that is not there.
        (Test::Compare(CompareOp::Ne, operand), Some(leaf)) => {
            !values.iter().any(|value| compare(leaf, &CompareOp::Eq, operand, value))
        }
        (Test::Compare(op, operand), Some(leaf)) => values.iter().any(|value| compare(leaf, op, operand, value)),
        (Test::Compare(..), None) => false,
    }
}

fn compare(leaf: &'static Attribute, op: &CompareOp, operand: &Operand, value: &Value) -> bool {
    match (operand, value) {
        (Operand::Text { folded: wanted, .. }, Value::String(text)) => {
            let folded = if leaf.is_case_exact { Cow::Borrowed(text.as_str()) } else { Cow::Owned(fold(text)) };
            let text = folded.as_ref();
            match op {
                CompareOp::Co => text.contains(wanted.as_str()),
                CompareOp::Sw => text.starts_with(wanted.as_str()),
                CompareOp::Ew => text.ends_with(wanted.as_str()),
                _ => ordered(op, text.cmp(wanted.as_str())),
            }
        }
        (Operand::Boolean(wanted), Value::Bool(value)) => ordered(op, value.cmp(wanted)),
        (Operand::Moment(wanted), Value::String(text)) => moment(text).is_some_and(|at| ordered(op, at.cmp(wanted))),
        _ => false,
    }
}

fn ordered(op: &CompareOp, ordering: std::cmp::Ordering) -> bool {
    match op {
        CompareOp::Eq => ordering.is_eq(),
        CompareOp::Ne => ordering.is_ne(),
        CompareOp::Gt => ordering.is_gt(),
        CompareOp::Ge => ordering.is_ge(),
        CompareOp::Lt => ordering.is_lt(),
        CompareOp::Le => ordering.is_le(),
        CompareOp::Co | CompareOp::Sw | CompareOp::Ew => false,
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
