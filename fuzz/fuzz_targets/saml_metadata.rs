//! Bytes as metadata of a provider: reading must not panic, and what it returns must be usable.

#![no_main]

#[path = "../../src/clients/saml/mod.rs"]
#[allow(dead_code, unused_imports)]
mod verifier;

use libfuzzer_sys::fuzz_target;
use verifier::{Saml, SamlVerifier as _, certificate_facts};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(provider) = Saml.read_metadata(text) {
        assert!(!provider.entity_id.is_empty());
        assert!(provider.sso_redirect_url.is_some() || provider.sso_post_url.is_some());
        for certificate in &provider.certificates {
            certificate_facts(certificate).unwrap();
        }
    }
});
