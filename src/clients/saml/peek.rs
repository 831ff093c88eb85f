//! What a response says of itself before anything is checked.

use super::names::{SAML, SAMLP};
use super::{Peeked, tree, wire};

/// See [`SamlVerifier::peek`](super::SamlVerifier::peek).
pub(super) fn peek(response_base64: &str) -> Option<Peeked> {
    let message = wire::message(response_base64).ok()?;
    let root = tree::parse(&message, tree::Kind::Message).ok()?;
    if !root.is(SAMLP, "Response") {
        return None;
    }
    let audience = root
        .child(SAML, "Assertion")
        .and_then(|assertion| assertion.child(SAML, "Conditions"))
        .and_then(|conditions| conditions.child(SAML, "AudienceRestriction"))
        .and_then(|restriction| restriction.child(SAML, "Audience"));
    Some(Peeked {
        issuer: root.child(SAML, "Issuer").map(|issuer| issuer.text.trim().to_owned()),
        destination: root.attribute("Destination").map(str::to_owned),
        in_response_to: root.attribute("InResponseTo").map(str::to_owned),
        audience: audience.map(|audience| audience.text.trim().to_owned()),
    })
}
