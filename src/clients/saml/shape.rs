//! How a response has to be built before anybody computes a signature.
//!
//! Signature wrapping (XSW 1 to 9, and what came after) needs a place for the element that was signed or for the one that
//! was not: a second assertion, an extension, a `ds:Object`, an id in an unusual attribute, an element that has the right name
//! in the wrong namespace. Providers write responses in one form; every other form is refused here, whatever its signatures
//! say. What is checked is only ever a reason to refuse.

use super::SamlRefusal;
use super::names::{DS, SAML, SAMLP, STATUS_SUCCESS, XENC, XENC11, XSI};
use super::shape_signature::check_signature;
use super::tree::{Element, XML};

/// What the shape of a response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// There is a signature at the response.
    pub response_signed: bool,
    /// There is a signature at the assertion; unknown, and false, where it is encrypted.
    pub assertion_signed: bool,
    /// The assertion is encrypted.
    pub encrypted: bool,
}

/// (namespace, name, where it may be: parents by local name, at most so often in a parent).
type Place = (&'static str, &'static str, &'static [&'static str], usize);

const PLACES: &[Place] = &[
    (SAMLP, "Response", &[], 1),
    (SAMLP, "Status", &["Response"], 1),
    (SAMLP, "StatusCode", &["Status", "StatusCode"], 1),
    (SAMLP, "StatusMessage", &["Status"], 1),
    (SAMLP, "StatusDetail", &["Status"], 1),
    (SAML, "Issuer", &["Response", "Assertion"], 1),
    (SAML, "Assertion", &["Response"], 1),
    (SAML, "EncryptedAssertion", &["Response"], 1),
    (SAML, "Subject", &["Assertion"], 1),
    (SAML, "NameID", &["Subject", "AttributeValue"], 1),
    (SAML, "SubjectConfirmation", &["Subject"], 8),
    (SAML, "SubjectConfirmationData", &["SubjectConfirmation"], 1),
    (SAML, "Conditions", &["Assertion"], 1),
    (SAML, "AudienceRestriction", &["Conditions"], 8),
    (SAML, "Audience", &["AudienceRestriction", "ProxyRestriction"], 64),
    (SAML, "OneTimeUse", &["Conditions"], 1),
    (SAML, "ProxyRestriction", &["Conditions"], 1),
    (SAML, "AuthnStatement", &["Assertion"], 1),
    (SAML, "SubjectLocality", &["AuthnStatement"], 1),
    (SAML, "AuthnContext", &["AuthnStatement"], 1),
    (SAML, "AuthnContextClassRef", &["AuthnContext"], 1),
    (SAML, "AuthnContextDeclRef", &["AuthnContext"], 1),
    (SAML, "AuthenticatingAuthority", &["AuthnContext"], 16),
    (SAML, "AttributeStatement", &["Assertion"], 8),
    (SAML, "Attribute", &["AttributeStatement"], 512),
    (SAML, "AttributeValue", &["Attribute"], 4096),
    (DS, "Signature", &["Response", "Assertion"], 1),
    (DS, "SignedInfo", &["Signature"], 1),
    (DS, "SignatureValue", &["Signature"], 1),
    (DS, "CanonicalizationMethod", &["SignedInfo"], 1),
    (DS, "SignatureMethod", &["SignedInfo"], 1),
    (DS, "Reference", &["SignedInfo"], 1),
    (DS, "Transforms", &["Reference"], 1),
    (DS, "Transform", &["Transforms"], 2),
    (DS, "DigestValue", &["Reference"], 1),
    (DS, "DigestMethod", &["Reference", "EncryptionMethod"], 1),
    (DS, "KeyInfo", &["Signature", "EncryptedData", "EncryptedKey", "SubjectConfirmationData"], 1),
    (XENC, "EncryptedData", &["EncryptedAssertion"], 1),
    (XENC, "EncryptedKey", &["KeyInfo"], 4),
    (XENC, "EncryptionMethod", &["EncryptedData", "EncryptedKey"], 1),
    (XENC, "CipherData", &["EncryptedData", "EncryptedKey"], 1),
    (XENC, "CipherValue", &["CipherData"], 1),
];

/// Elements whose text is a value. With an element in it, it would be two; and as other programs keep the space around a
/// value, there must be none, so that nobody is two people.
const VALUES: &[&str] = &["NameID", "Issuer", "Audience", "AuthnContextClassRef"];

/// Checks the shape of a whole response.
///
/// # Errors
///
/// Mostly [`SamlRefusal::Malformed`].
pub(super) fn check(root: &Element) -> Result<Shape, SamlRefusal> {
    if !root.is(SAMLP, "Response") {
        return Err(SamlRefusal::Malformed);
    }
    let mut ids = Vec::new();
    check_element(root, None, &mut ids)?;
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(SamlRefusal::Malformed);
    }
    let status = root.child(SAMLP, "Status").and_then(|status| status.child(SAMLP, "StatusCode"));
    match status.and_then(|code| code.attribute("Value")) {
        None => return Err(SamlRefusal::Malformed),
        Some(STATUS_SUCCESS) => {}
        Some(_) => return Err(SamlRefusal::StatusNotSuccess),
    }
    let assertion = root.child(SAML, "Assertion");
    let encrypted = root.child(SAML, "EncryptedAssertion");
    if assertion.is_some() == encrypted.is_some() {
        return Err(SamlRefusal::Malformed);
    }
    if let Some(assertion) = assertion {
        check_assertion(assertion)?;
    }
    Ok(Shape {
        response_signed: check_signature(root)?,
        assertion_signed: assertion.map(check_signature).transpose()?.unwrap_or(false),
        encrypted: encrypted.is_some(),
    })
}

/// What is needed in every assertion in the clear, beyond what the crate demands.
fn check_assertion(assertion: &Element) -> Result<(), SamlRefusal> {
    let has_statement = assertion.child(SAML, "AuthnStatement").is_some();
    let has_conditions = assertion.child(SAML, "Conditions").is_some();
    let has_name = assertion.child(SAML, "Subject").is_some_and(|subject| subject.child(SAML, "NameID").is_some());
    let is_complete = has_statement && has_conditions && has_name && assertion.attribute("Version") == Some("2.0");
    if is_complete { Ok(()) } else { Err(SamlRefusal::Malformed) }
}

fn check_element<'a>(
    element: &'a Element,
    parent: Option<&Element>,
    ids: &mut Vec<&'a str>,
) -> Result<(), SamlRefusal> {
    check_place(element, parent)?;
    check_attributes(element, ids)?;
    check_numbers(element)?;
    if VALUES.contains(&element.local.as_str()) {
        if !element.children.is_empty() {
            return Err(SamlRefusal::Malformed);
        }
        if element.text.is_empty() || element.text.trim() != element.text {
            return Err(SamlRefusal::UnusableClaims);
        }
    }
    for child in &element.children {
        check_element(child, Some(element), ids)?;
    }
    Ok(())
}

/// Names of SAML, signatures and encryption are where [`PLACES`] has them; names of others are only where they do no harm:
/// in values of attributes, in `KeyInfo`, in details of a status.
fn check_place(element: &Element, parent: Option<&Element>) -> Result<(), SamlRefusal> {
    let is_same_name = |place: &&Place| place.1.eq_ignore_ascii_case(&element.local);
    let Some((namespace, local, parents, _)) = PLACES.iter().find(is_same_name) else {
        return check_other(element, parent);
    };
    if !element.is(namespace, local) {
        return Err(SamlRefusal::Malformed);
    }
    let Some(parent) = parent else {
        return if parents.is_empty() { Ok(()) } else { Err(SamlRefusal::Malformed) };
    };
    // Parents have unique names in the table, and their namespaces were checked when they were visited.
    if parents.contains(&parent.local.as_str()) { Ok(()) } else { Err(SamlRefusal::Malformed) }
}

/// No more of a kind in an element than the table allows.
fn check_numbers(element: &Element) -> Result<(), SamlRefusal> {
    let is_exceeded = |(namespace, local, parents, most): &Place| {
        parents.contains(&element.local.as_str()) && element.all(namespace, local).count() > *most
    };
    if PLACES.iter().any(is_exceeded) { Err(SamlRefusal::Malformed) } else { Ok(()) }
}

fn check_other(element: &Element, parent: Option<&Element>) -> Result<(), SamlRefusal> {
    let local = element.local.as_str();
    let parent = parent.map_or("", |parent| parent.local.as_str());
    let is_known_parent = PLACES.iter().any(|place| place.1 == parent);
    let is_allowed = match element.namespace.as_str() {
        SAML | SAMLP => false,
        // The parts of a key, wherever a KeyInfo is; no place for objects and manifests.
        DS => {
            !matches!(local, "Object" | "Manifest" | "SignatureProperties") && (parent == "KeyInfo" || !is_known_parent)
        }
        XENC => matches!(local, "OAEPparams" | "KeySize" | "ReferenceList" | "CarriedKeyName") || !is_known_parent,
        XENC11 => parent == "EncryptionMethod",
        // `InclusiveNamespaces` of the canonical form is checked with its signature.
        _ => matches!(parent, "AttributeValue" | "KeyInfo" | "StatusDetail" | "Transform") || !is_known_parent,
    };
    if is_allowed { Ok(()) } else { Err(SamlRefusal::Malformed) }
}

/// Ids are in `ID` of responses and assertions and in `Id` of signatures and encrypted data, and nowhere else, in no other
/// spelling. Attributes with a prefix are where they are known to be.
fn check_attributes<'a>(element: &'a Element, ids: &mut Vec<&'a str>) -> Result<(), SamlRefusal> {
    for attribute in &element.attributes {
        if attribute.local.eq_ignore_ascii_case("id") {
            let expected = match element.namespace.as_str() {
                SAML | SAMLP if matches!(element.local.as_str(), "Response" | "Assertion") => "ID",
                DS | XENC => "Id",
                _ => return Err(SamlRefusal::Malformed),
            };
            if attribute.local != expected || !attribute.namespace.is_empty() || !is_id(&attribute.value) {
                return Err(SamlRefusal::Malformed);
            }
            ids.push(&attribute.value);
        }
        let is_placed = match attribute.namespace.as_str() {
            "" | XSI => true,
            XML => matches!(attribute.local.as_str(), "lang" | "space"),
            _ => matches!(element.local.as_str(), "Attribute" | "AttributeValue"),
        };
        if !is_placed {
            return Err(SamlRefusal::Malformed);
        }
    }
    let needs_id = element.namespace != DS && matches!(element.local.as_str(), "Response" | "Assertion");
    if needs_id && element.attribute("ID").is_none() { Err(SamlRefusal::Malformed) } else { Ok(()) }
}

/// An `NCName` in ASCII of at most 256 characters.
fn is_id(value: &str) -> bool {
    value.len() <= 256
        && value.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && value.chars().all(|other| other.is_ascii_alphanumeric() || matches!(other, '_' | '-' | '.'))
}
