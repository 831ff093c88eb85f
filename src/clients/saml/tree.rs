//! A small tree of elements with expanded names, for the checks of shape and for metadata.
//!
//! It is never the source of what is believed of a response: that comes from the element whose signature the crate checked.
//! What can be read in two ways is refused here.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

use super::wire::is_xml_character;

/// Elements in one another at most.
const MAX_DEPTH: usize = 40;
/// Elements of a message and of metadata at most. A message has some dozens.
const MAX_MESSAGE: usize = 5_000;
const MAX_METADATA: usize = 20_000;
/// Bytes of a namespace's URI at most: each element and attribute has a copy of its own, and canonical forms compare them.
const MAX_URI: usize = 256;
/// Declarations of namespaces that are in force at one place at most: a canonical form looks through them for each element.
const MAX_IN_SCOPE: usize = 64;
/// Attributes of one element at most, declarations of namespaces included.
const MAX_ATTRIBUTES: usize = 64;

/// The namespace that the prefix `xml` always has.
pub(super) const XML: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// What is read, and so how strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// From anybody, to be believed if its signature is good.
    Message,
    /// From an admin; people and their tools break lines.
    Metadata,
}

/// One element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// URI; empty without one.
    pub namespace: String,
    pub local: String,
    pub attributes: Vec<Attribute>,
    pub children: Vec<Element>,
    /// The text directly in it.
    pub text: String,
}

/// One attribute; declarations of namespaces are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    /// URI; empty for the usual ones, without a prefix.
    pub namespace: String,
    pub local: String,
    pub value: String,
}

impl Element {
    /// Whether it has this expanded name.
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.local == local
    }

    /// The value of an attribute without a prefix.
    pub fn attribute(&self, local: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.namespace.is_empty() && attribute.local == local)
            .map(|attribute| attribute.value.as_str())
    }

    /// Children of this name.
    pub fn all<'a>(&'a self, namespace: &'a str, local: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.is(namespace, local))
    }

    /// The first child of this name.
    pub fn child<'a>(&'a self, namespace: &'a str, local: &'a str) -> Option<&'a Element> {
        self.all(namespace, local).next()
    }
}

/// Reads a document. Messages came through [`super::wire::message`] and have no comments; metadata may have them.
///
/// # Errors
///
/// What is wrong, in words for an admin.
pub(super) fn parse(text: &str, kind: Kind) -> Result<Element, &'static str> {
    let mut reader = NsReader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    // How many declarations each open element has.
    let mut declared: Vec<usize> = Vec::new();
    let max_elements = if kind == Kind::Message { MAX_MESSAGE } else { MAX_METADATA };
    let mut root = None;
    let mut elements = 0_usize;
    loop {
        let event = reader.read_event().map_err(|_syntax| "its syntax is broken")?;
        match event {
            Event::Start(start) => {
                elements += 1;
                if root.is_some() || open.len() >= MAX_DEPTH || elements > max_elements {
                    return Err("it has several roots, or is too deep or too long");
                }
                let (element, n_declared) = element(&reader, &start, kind)?;
                declared.push(n_declared);
                check_scope(&declared)?;
                open.push(element);
            }
            Event::Empty(start) => {
                elements += 1;
                if root.is_some() || elements > max_elements {
                    return Err("it has several roots, or is too long");
                }
                close(element(&reader, &start, kind)?.0, &mut open, &mut root);
            }
            Event::End(_) => {
                let done = open.pop().ok_or("an end tag has no beginning")?;
                declared.pop();
                close(done, &mut open, &mut root);
            }
            Event::Text(piece) => {
                let piece = piece.decode().map_err(|_encoding| "it is not UTF-8")?;
                add_text(&piece, &mut open)?;
            }
            Event::CData(piece) => {
                let piece = piece.decode().map_err(|_encoding| "it is not UTF-8")?;
                add_text(&piece, &mut open)?;
            }
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|_encoding| "it is not UTF-8")?;
                add_text(&resolve(&format!("&{name};"))?, &mut open)?;
            }
            Event::Comment(_) | Event::Decl(_) => {}
            Event::DocType(_) => return Err("a document type (DOCTYPE) is not allowed"),
            Event::PI(_) => return Err("processing instructions are not allowed"),
            Event::Eof => break,
        }
    }
    if !open.is_empty() {
        return Err("it ends before its last end tag");
    }
    root.ok_or("it is empty")
}

fn check_scope(declared: &[usize]) -> Result<(), &'static str> {
    let in_scope: usize = declared.iter().sum();
    if in_scope > MAX_IN_SCOPE { Err("too many namespaces are declared in one another") } else { Ok(()) }
}

fn close(done: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(done),
        None => *root = Some(done),
    }
}

fn add_text(piece: &str, open: &mut [Element]) -> Result<(), &'static str> {
    match open.last_mut() {
        Some(element) => element.text.push_str(piece),
        None if piece.trim_matches([' ', '\t', '\r', '\n', '\u{feff}']).is_empty() => {}
        None => return Err("there is text outside of the root element"),
    }
    Ok(())
}

/// Resolves references to characters and the five entities that XML itself has.
fn resolve(raw: &str) -> Result<String, &'static str> {
    let value = quick_xml::escape::unescape(raw).map_err(|_unknown| "it refers to an entity that XML does not have")?;
    if value.chars().all(is_xml_character) {
        Ok(value.into_owned())
    } else {
        Err("it refers to a character that XML does not have")
    }
}

/// An element, and how many namespaces it declares.
fn element(reader: &NsReader<&[u8]>, start: &BytesStart<'_>, kind: Kind) -> Result<(Element, usize), &'static str> {
    let mut n_declared = 0;
    let (namespace, local) = reader.resolver().resolve_element(start.name());
    let mut element = Element { namespace: uri(&namespace)?, local: name(local.into_inner())?, ..Element::default() };
    name_with_prefix(start.name().into_inner())?;
    for (position, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_syntax| "an attribute is broken, or twice on one element")?;
        if position >= MAX_ATTRIBUTES {
            return Err("an element has too many attributes");
        }
        let raw = std::str::from_utf8(&attribute.value).map_err(|_encoding| "it is not UTF-8")?;
        // A line break in a value is a space to XML and a break to some parsers.
        let has_break = raw.contains(['\t', '\r', '\n']);
        if raw.contains('<') || (has_break && kind == Kind::Message) {
            return Err("the value of an attribute has a line break, a tab or <");
        }
        let value = resolve(&raw.replace(['\t', '\r', '\n'], " "))?;
        if let Some(declared) = attribute.key.as_namespace_binding() {
            namespace_declaration(&declared, &value)?;
            n_declared += 1;
            continue;
        }
        name_with_prefix(attribute.key.into_inner())?;
        let (namespace, local) = reader.resolver().resolve_attribute(attribute.key);
        let attribute = Attribute { namespace: uri(&namespace)?, local: name(local.into_inner())?, value };
        let is_twice = |other: &Attribute| other.namespace == attribute.namespace && other.local == attribute.local;
        if element.attributes.iter().any(is_twice) {
            return Err("an attribute is twice on one element");
        }
        element.attributes.push(attribute);
    }
    Ok((element, n_declared))
}

/// What a declaration may say. Relative URIs make other canonicalisers give up, and sign nothing.
fn namespace_declaration(declared: &PrefixDeclaration<'_>, value: &str) -> Result<(), &'static str> {
    let is_reserved = value == XML || value == XMLNS;
    if value.len() > MAX_URI {
        return Err("the name of a namespace is too long");
    }
    match declared {
        PrefixDeclaration::Default if value.is_empty() => Ok(()),
        PrefixDeclaration::Named(b"xml" | b"xmlns") => Err("the prefixes xml and xmlns cannot be declared"),
        PrefixDeclaration::Default | PrefixDeclaration::Named(_) if is_reserved || !value.contains(':') => {
            Err("a namespace is reserved, or not an absolute URI")
        }
        PrefixDeclaration::Default | PrefixDeclaration::Named(_) => Ok(()),
    }
}

fn uri(resolved: &ResolveResult<'_>) -> Result<String, &'static str> {
    match resolved {
        ResolveResult::Unbound => Ok(String::new()),
        // It may be the element's own, which is looked at later.
        ResolveResult::Bound(Namespace(uri)) if uri.len() > 6 * MAX_URI => Err("the name of a namespace is too long"),
        ResolveResult::Bound(Namespace(uri)) => {
            resolve(std::str::from_utf8(uri).map_err(|_encoding| "it is not UTF-8")?)
        }
        ResolveResult::Unknown(_) => Err("a prefix is not declared"),
    }
}

/// Names of SAML are ASCII; what parsers think of others differs.
fn name(raw: &[u8]) -> Result<String, &'static str> {
    let starts_well = raw.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let goes_on = raw.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    match std::str::from_utf8(raw) {
        Ok(text) if starts_well && goes_on => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("a name is not a name in ASCII"),
    }
}

fn name_with_prefix(raw: &[u8]) -> Result<(), &'static str> {
    raw.split(|byte| *byte == b':').try_for_each(|part| name(part).map(drop))?;
    if raw.iter().filter(|byte| **byte == b':').count() > 1 {
        return Err("a name has two colons");
    }
    Ok(())
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
