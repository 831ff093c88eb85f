//! SAML 2.0, as a service provider: metadata both ways, requests for sign-in, and what a response is worth.
//!
//! Signatures, canonical forms and decryption are the `saml` crate's; it is young, so it sits behind [`SamlVerifier`] and two
//! fences of our own: `shape` refuses every document that is not built as providers build them before the crate sees it, and
//! `verify` demands of the crate the strictest reading. What we sign ourselves is signed by `aws-lc-rs`. Pure computation:
//! no input or output, and the time is given by the caller.

mod emit;
mod keys;
mod metadata;
mod names;
mod peek;
mod refusals;
mod request;
mod shape;
mod shape_signature;
mod tree;
mod types;
mod verify;
mod wire;

pub use keys::{CertificateFacts, certificate_facts};
pub use types::{
    Ask, Begun, Expectation, IdentityProvider, MetadataFault, Peeked, RequestFault, SamlRefusal, ServiceProvider,
    SpKey, VerifiedAssertion,
};

use chrono::{DateTime, Utc};

/// What the program needs of SAML: one implementation, [`Saml`], and none in tests, which sign real documents.
pub trait SamlVerifier: Send + Sync {
    /// Reads a provider's metadata (saml-metadata-2.0-os). Certificates are returned whether or not they have expired.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for the admin who pasted it.
    fn read_metadata(&self, xml: &str) -> Result<IdentityProvider, MetadataFault>;

    /// Makes a request for sign-in (`AuthnRequest`, saml-core §3.4.1) with a fresh id of 160 random bits; signed if the provider
    /// wants that. By HTTP-Redirect where the provider has such an address, else as a form to post.
    ///
    /// # Errors
    ///
    /// When there is no address, or no usable key of ours.
    fn begin(
        &self,
        sp: &ServiceProvider,
        idp: &IdentityProvider,
        ask: &Ask<'_>,
        now: DateTime<Utc>,
    ) -> Result<Begun, RequestFault>;

    /// Checks a posted response (saml-profiles §4.1.4) and returns what its provider signed. The caller keeps
    /// [`VerifiedAssertion::assertion_id`] until `keep_until` and refuses it the second time.
    ///
    /// # Errors
    ///
    /// Why it was refused: for the log and for the admin's test, never for the browser.
    fn verify(
        &self,
        sp: &ServiceProvider,
        idp: &IdentityProvider,
        response_base64: &str,
        expect: &Expectation<'_>,
    ) -> Result<VerifiedAssertion, SamlRefusal>;

    /// Our metadata for the provider's admin: all keys for signing and encryption, the address for responses.
    fn own_metadata(&self, sp: &ServiceProvider) -> String;

    /// What a response says of itself, UNVERIFIED: only to choose the connection whose keys then verify everything.
    fn peek(&self, response_base64: &str) -> Option<Peeked>;

    /// The first audience that a response names, UNVERIFIED; `None` where the assertion is encrypted. See [`Self::peek`].
    fn peek_audience(&self, response_base64: &str) -> Option<String> {
        self.peek(response_base64).and_then(|peeked| peeked.audience)
    }
}

/// The verifier.
#[derive(Debug, Clone, Copy, Default)]
pub struct Saml;

impl SamlVerifier for Saml {
    fn read_metadata(&self, xml: &str) -> Result<IdentityProvider, MetadataFault> {
        metadata::read(xml)
    }

    fn begin(
        &self,
        sp: &ServiceProvider,
        idp: &IdentityProvider,
        ask: &Ask<'_>,
        now: DateTime<Utc>,
    ) -> Result<Begun, RequestFault> {
        request::begin(sp, idp, ask, now)
    }

    fn verify(
        &self,
        sp: &ServiceProvider,
        idp: &IdentityProvider,
        response_base64: &str,
        expect: &Expectation<'_>,
    ) -> Result<VerifiedAssertion, SamlRefusal> {
        verify::verify(sp, idp, response_base64, expect)
    }

    fn own_metadata(&self, sp: &ServiceProvider) -> String {
        emit::own_metadata(sp)
    }

    fn peek(&self, response_base64: &str) -> Option<Peeked> {
        peek::peek(response_base64)
    }
}
