//! What we write: XML that is its own canonical form, because every part of it is ours.

use super::ServiceProvider;
use super::names::{DS, MD, POST_BINDING, SAMLP};

/// The value of an attribute, as canonical XML has it (xml-c14n §2.3).
pub(super) fn attribute(text: &str) -> String {
    escaped(text, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '"' => Some("&quot;"),
        _ => None,
    })
}

/// The text of an element, as canonical XML has it.
pub(super) fn text(text: &str) -> String {
    escaped(text, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    })
}

fn escaped(text: &str, reference: impl Fn(char) -> Option<&'static str>) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match reference(character) {
            Some(reference) => out.push_str(reference),
            // No URI has any, and line breaks have different forms in texts and in values.
            None if character.is_control() => out.push(' '),
            None => out.push(character),
        }
    }
    out
}

/// See [`SamlVerifier::own_metadata`](super::SamlVerifier::own_metadata).
pub(super) fn own_metadata(sp: &ServiceProvider) -> String {
    let keys = |purpose: &str| {
        sp.keys.iter().fold(String::new(), |mut text, key| {
            let certificate = key.certificate_base64();
            text.push_str(&format!(
                "<md:KeyDescriptor use=\"{purpose}\"><ds:KeyInfo xmlns:ds=\"{DS}\"><ds:X509Data><ds:X509Certificate>\
                 {certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            ));
            text
        })
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<md:EntityDescriptor xmlns:md=\"{MD}\" entityID=\"{}\">\
         <md:SPSSODescriptor AuthnRequestsSigned=\"true\" WantAssertionsSigned=\"true\" protocolSupportEnumeration=\"{SAMLP}\">\
         {}{}<md:AssertionConsumerService Binding=\"{POST_BINDING}\" Location=\"{}\" index=\"0\" isDefault=\"true\"/>\
         </md:SPSSODescriptor></md:EntityDescriptor>\n",
        attribute(&sp.entity_id),
        keys("signing"),
        keys("encryption"),
        attribute(&sp.acs_url),
    )
}
