//! Bytes as a response, before Base64: verifying must not panic, and nothing is believed but what the corpus' provider signed.
//!
//! `SAML_FUZZ_CORPUS` names the lines of JSON that `tests/saml/corpus.py` wrote; `SAML_FUZZ_KEY` and `SAML_FUZZ_CERTIFICATE` the
//! files of our key. `scripts/saml-fuzz.sh` makes them, and the seeds.

#![no_main]

#[path = "../../src/clients/saml/mod.rs"]
#[allow(dead_code, unused_imports)]
mod verifier;

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use verifier::{Expectation, IdentityProvider, Saml, SamlVerifier as _, ServiceProvider, SpKey, VerifiedAssertion};

struct World {
    sp: ServiceProvider,
    idp: IdentityProvider,
    now: DateTime<Utc>,
    genuine: Vec<VerifiedAssertion>,
}

impl World {
    fn load() -> Self {
        let file = |name: &str| std::fs::read_to_string(std::env::var(name).unwrap()).unwrap();
        let lines = file("SAML_FUZZ_CORPUS");
        let mut lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let idp = Saml.read_metadata(lines.next().unwrap()["metadata"].as_str().unwrap()).unwrap();
        let key = SpKey { private_key_pem: file("SAML_FUZZ_KEY").into(), certificate_pem: file("SAML_FUZZ_CERTIFICATE") };
        let sp = ServiceProvider {
            entity_id: "https://app.example/saml/1".to_owned(),
            acs_url: "https://app.example/sso/callback/saml/1".to_owned(),
            keys: vec![key],
        };
        let mut world = Self { sp, idp, now: "2026-11-22T12:00:00Z".parse().unwrap(), genuine: Vec::new() };
        world.genuine = lines
            .filter(|case| case["expect"] == "accept" && case["solicited"] == true)
            .map(|case| world.verify(case["response_base64"].as_str().unwrap()).expect("a good response is refused"))
            .collect();
        assert!(!world.genuine.is_empty());
        world
    }

    fn verify(&self, response_base64: &str) -> Option<VerifiedAssertion> {
        let expect = Expectation { request_id: Some("_r1"), want_encrypted: false, now: self.now };
        Saml.verify(&self.sp, &self.idp, response_base64, &expect).ok()
    }
}

fuzz_target!(|data: &[u8]| {
    static WORLD: OnceLock<World> = OnceLock::new();
    let world = WORLD.get_or_init(World::load);
    let encoded = STANDARD.encode(data);
    let _ = Saml.peek(&encoded);
    if let Some(believed) = world.verify(&encoded) {
        assert!(world.genuine.contains(&believed), "believed without a signature: {believed:?}");
    }
});
