//! Good responses and metadata, changed at random: nothing may panic, a response that is still accepted says what a good one said, and
//! metadata that is still accepted can be used.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use businessos::clients::saml::{Saml, SamlVerifier as _, VerifiedAssertion, certificate_facts};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::corpus::{Corpus, Expected};
use crate::metadata;

/// How often something is changed. `make saml-fuzz` goes on for as long as it is asked to.
const MUTATIONS: u32 = 3_000;

/// What attackers and broken programs put into documents.
const PIECES: &[&str] = &[
    "<!---->",
    "<![CDATA[",
    "]]>",
    "<?x?>",
    "<!DOCTYPE a>",
    "&amp;",
    "&#0;",
    "&#x41;",
    "&lol;",
    "\0",
    "\u{feff}",
    "\r\n",
    " ",
    "/>",
    "</saml:Assertion>",
    "</saml:NameID>",
    "<saml:NameID>owner@customer.example</saml:NameID>",
    "<saml:Assertion>",
    "<saml:Assertion ID=\"_x\"/>",
    " ID=\"_x\"",
    " xml:id=\"_x\"",
    " Id=\"_x\"",
    " xmlns:saml=\"urn:x\"",
    " xmlns=\"urn:x\"",
    " xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"",
    "<ds:Object>",
    "</ds:Object>",
    "<ds:Signature/>",
    "\"",
    "'",
    "<",
    ">",
    "é",
    "A",
];

/// One change: where (as a part of the whole), and what.
#[derive(Debug, Clone)]
enum Change {
    Flip(f64, u8),
    Delete(f64, usize),
    Double(f64, usize),
    Insert(f64, usize),
    Move(f64, f64, usize),
    /// A part of another good document in its place.
    Take(f64, usize, usize),
    Truncate(f64),
}

fn change() -> impl Strategy<Value = Change> {
    let place = || 0.0..1.0_f64;
    prop_oneof![
        (place(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (place(), 1..400_usize).prop_map(|(at, length)| Change::Delete(at, length)),
        (place(), 1..2000_usize).prop_map(|(at, length)| Change::Double(at, length)),
        (place(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (place(), place(), 1..2000_usize).prop_map(|(from, to, length)| Change::Move(from, to, length)),
        (place(), 1..3000_usize, 0..64_usize).prop_map(|(at, length, other)| Change::Take(at, length, other)),
        place().prop_map(Change::Truncate),
    ]
}

fn apply(text: &mut Vec<u8>, change: &Change, others: &[Vec<u8>]) {
    let at = |part: f64, text: &[u8]| ((text.len() as f64) * part) as usize;
    let range = |part: f64, length: usize, text: &[u8]| {
        let start = at(part, text);
        start..(start + length).min(text.len())
    };
    match change {
        Change::Flip(part, bits) => {
            let place = at(*part, text);
            if let Some(byte) = text.get_mut(place) {
                *byte ^= bits;
            }
        }
        Change::Delete(part, length) => drop(text.drain(range(*part, *length, text))),
        Change::Double(part, length) => {
            let range = range(*part, *length, text);
            let copy = text[range.clone()].to_vec();
            text.splice(range.start..range.start, copy);
        }
        Change::Insert(part, piece) => {
            let place = at(*part, text);
            text.splice(place..place, PIECES[*piece].bytes());
        }
        Change::Move(from, to, length) => {
            let moved: Vec<u8> = text.drain(range(*from, *length, text)).collect();
            let place = at(*to, text);
            text.splice(place..place, moved);
        }
        Change::Take(part, length, other) => {
            let other = &others[other % others.len()];
            let taken = other[range(*part, *length, other)].to_vec();
            text.splice(range(*part, *length, text), taken);
        }
        Change::Truncate(part) => text.truncate(at(*part, text)),
    }
}

/// Changes documents again and again, and has each looked at, which says whether it was believed.
fn mutate(texts: &[Vec<u8>], look: impl Fn(&[u8]) -> Result<bool, TestCaseError>) {
    let is_any_believed = std::cell::Cell::new(false);
    // Seeded: the same changes each time, to fresh signatures.
    let config = Config { cases: MUTATIONS, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let inputs = (0..texts.len(), proptest::collection::vec(change(), 1..4));
    runner
        .run(&inputs, |(which, changes)| {
            let mut text = texts[which].clone();
            for change in &changes {
                apply(&mut text, change, texts);
            }
            if look(&text)? {
                is_any_believed.set(true);
            }
            Ok(())
        })
        .unwrap();
    assert!(is_any_believed.get(), "no mutation was harmless: then nothing was tested beyond the syntax");
}

#[test]
fn a_changed_response_is_refused_or_says_what_was_signed() {
    let corpus = Corpus::generate();
    let good: Vec<_> = corpus.cases.iter().filter(|case| case.expect == Expected::Accept && case.solicited).collect();
    let texts: Vec<Vec<u8>> = good
        .iter()
        .map(|case| {
            let characters: String = case.response_base64.split_whitespace().collect();
            STANDARD.decode(characters).unwrap()
        })
        .collect();
    let signed: Vec<VerifiedAssertion> = good.iter().map(|case| corpus.verify(case).unwrap()).collect();
    mutate(&texts, |text| {
        let encoded = STANDARD.encode(text);
        // Reading must not panic either, wherever it ends.
        let _ = Saml.peek(&encoded);
        let _ = Saml.read_metadata(&String::from_utf8_lossy(text));
        let Ok(believed) = corpus.verify_text(&encoded, true, false) else { return Ok(false) };
        prop_assert!(signed.contains(&believed), "{}", String::from_utf8_lossy(text));
        Ok(true)
    });
}

#[test]
fn changed_metadata_is_refused_or_can_be_used() {
    let (inside, _) = metadata::good();
    // By a provider's library, and by hand: with several keys and addresses.
    let texts = [Corpus::generate().metadata, metadata::entity("urn:idp", &inside)].map(String::into_bytes);
    mutate(&texts, |text| {
        let text = String::from_utf8_lossy(text);
        let Ok(provider) = Saml.read_metadata(&text) else { return Ok(false) };
        prop_assert!(!provider.entity_id.is_empty(), "{text}");
        prop_assert!(provider.sso_redirect_url.is_some() || provider.sso_post_url.is_some(), "{text}");
        prop_assert!(!provider.certificates.is_empty(), "{text}");
        for certificate in &provider.certificates {
            prop_assert!(certificate_facts(certificate).is_ok(), "{text}");
        }
        Ok(true)
    });
}
