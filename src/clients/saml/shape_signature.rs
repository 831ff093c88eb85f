//! The one form of a signature: over the element that it is in, by the transforms that SAML names (saml-core §5.4).

use super::SamlRefusal;
use super::names::{DS, ENVELOPED, EXCLUSIVE_C14N, SAML};
use super::tree::Element;

/// Bytes of a list of prefixes at most.
const MAX_PREFIXES: usize = 256;

/// Whether the element is signed.
///
/// # Errors
///
/// [`SamlRefusal::Malformed`] for a signature of another form; [`SamlRefusal::AlgorithmRefused`] for other transforms.
pub(super) fn check_signature(signed: &Element) -> Result<bool, SamlRefusal> {
    let Some(signature) = signed.child(DS, "Signature") else {
        return Ok(false);
    };
    // The schema has it right behind the issuer. Elsewhere some verifiers do not find it.
    let is_placed = signed.children.first().is_some_and(|child| child.is(SAML, "Issuer"))
        && signed.children.get(1).is_some_and(|child| child.is(DS, "Signature"));
    let id = signed.attribute("ID").ok_or(SamlRefusal::Malformed)?;
    let ([info, value], key_info) = match signature.children.as_slice() {
        [info, value] => ([info, value], None),
        [info, value, key_info] => ([info, value], Some(key_info)),
        _ => return Err(SamlRefusal::Malformed),
    };
    let is_built = info.is(DS, "SignedInfo")
        && is_leaf(value, "SignatureValue")
        && key_info.is_none_or(|key_info| key_info.is(DS, "KeyInfo"));
    let [form, method, reference] = info.children.as_slice() else {
        return Err(SamlRefusal::Malformed);
    };
    // A child of the method would be a truncation of its output; one of the form is not read by every verifier.
    let has_methods = is_leaf(form, "CanonicalizationMethod") && is_leaf(method, "SignatureMethod");
    if !is_placed || !is_built || !has_methods {
        return Err(SamlRefusal::Malformed);
    }
    if form.attribute("Algorithm") != Some(EXCLUSIVE_C14N) {
        return Err(SamlRefusal::AlgorithmRefused);
    }
    check_reference(reference, id)?;
    Ok(true)
}

fn check_reference(reference: &Element, id: &str) -> Result<(), SamlRefusal> {
    let names_parent = reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')) == Some(id);
    let [transforms, digest, value] = reference.children.as_slice() else {
        return Err(SamlRefusal::Malformed);
    };
    let is_built = reference.is(DS, "Reference")
        && reference.attribute("Type").is_none()
        && transforms.is(DS, "Transforms")
        && is_leaf(digest, "DigestMethod")
        && is_leaf(value, "DigestValue");
    if !names_parent || !is_built {
        return Err(SamlRefusal::Malformed);
    }
    let [enveloped, form] = transforms.children.as_slice() else {
        return Err(SamlRefusal::AlgorithmRefused);
    };
    let is_known = is_leaf(enveloped, "Transform")
        && enveloped.attribute("Algorithm") == Some(ENVELOPED)
        && form.is(DS, "Transform")
        && form.attribute("Algorithm") == Some(EXCLUSIVE_C14N)
        && form.children.len() <= 1
        && form
            .children
            .iter()
            .all(|child| child.is(EXCLUSIVE_C14N, "InclusiveNamespaces") && child.children.is_empty())
        // It is looked through for each element.
        && form.children.iter().all(|child| child.attributes.iter().all(|prefixes| prefixes.value.len() <= MAX_PREFIXES));
    if is_known { Ok(()) } else { Err(SamlRefusal::AlgorithmRefused) }
}

fn is_leaf(element: &Element, local: &str) -> bool {
    element.is(DS, local) && element.children.is_empty()
}
