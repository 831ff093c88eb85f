//! Every bad response of the corpus (`tests/saml/corpus.py`), brought to the running program: refused, and nobody is in.

use std::process::Command;

use serde_json::{Value, json};

use super::signer::Pair;
use super::stage::Stage;
use crate::browser::Browser;
use crate::provider::modules;

/// Cases at least; fewer mean that the generator broke off.
const MIN_CASES: usize = 60;

/// Begin a second after what is allowed for clocks that differ: by the time that they get here, they are good. The verifier's own test
/// of the corpus, whose time stands still, has them.
const TIME_MENDS: [&str; 2] = ["conditions begin later", "confirmation begins later"];

/// The provider of the corpus, and its cases, about a request of now.
fn generate(stage: &Stage, request: &str, certificate: &str) -> (Value, Vec<Value>) {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("certificate.pem"), certificate).unwrap();
    // For what another library says of the cases, which has a test of its own. The real one never leaves the program.
    std::fs::write(path("key.pem"), Pair::new().key).unwrap();
    let now = businessos::clock::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let output = Command::new(modules("saml-venv").join("bin/python"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/saml/corpus.py"))
        .args(["--acs", &stage.world.redirect_uri(), "--sp-entity", &stage.entity_id()])
        .args(["--idp-entity", &stage.idp.entity_id, "--request-id", request, "--now", &now])
        .args(["--sp-certificate", &path("certificate.pem"), "--sp-key", &path("key.pem")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    (lines.next().expect("the provider"), lines.collect())
}

async fn n_let_in(stage: &Stage) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM auth.saml_arrivals) + (SELECT count(*) FROM auth.sso_codes)
                    + (SELECT count(*) FROM auth.sso_sessions) + (SELECT count(*) FROM auth.sso_identities)";
    stage.world.app.count(sql).await
}

#[tokio::test]
async fn no_bad_response_of_the_corpus_lets_anybody_in() {
    let stage = Stage::with(json!({"idp_initiated": true})).await;
    let mut browser = Browser::new();
    let left = stage.leave(&mut browser).await;
    let certificate = stage.shown().await["saml"]["keys"][0]["certificate"].as_str().unwrap().to_owned();
    let (provider, cases) = generate(&stage, &left.id, &certificate);
    assert!(cases.len() >= MIN_CASES, "{} cases", cases.len());
    let mut n_bad = 0;
    for encrypted_only in [false, true] {
        let saml = json!({"certificates": provider["certificates"], "want_encrypted": encrypted_only});
        stage.change(json!({ "saml": saml })).await;
        let is_bad = |case: &&Value| {
            let is_steady = TIME_MENDS.iter().all(|name| case["name"] != *name);
            case["encrypted_only"] == encrypted_only && case["expect"] == "refuse" && is_steady
        };
        for case in cases.iter().filter(is_bad) {
            let relay_state = if case["solicited"] == true { &*left.relay_state } else { "" };
            let response = case["response_base64"].as_str().unwrap();
            let reply = stage.post(&mut browser, response, relay_state).await;
            assert!((400..500).contains(&reply.status), "{}: {reply:?}", case["name"]);
            assert_eq!(n_let_in(&stage).await, 0, "{}", case["name"]);
            n_bad += 1;
        }
    }
    assert!(n_bad > MIN_CASES / 2, "only {n_bad} bad cases");
    stage.world.assert_nobody_in().await;
    // The refusals mean something: good ones of the same corpus get on.
    stage.change(json!({"saml": {"want_encrypted": false}})).await;
    let mut n_good = 0;
    // Nor are those good any more whose time is nearly over.
    let is_good = |case: &&Value| {
        let is_steady = case["name"].as_str().is_some_and(|name| !name.contains("within the skew"));
        case["expect"] == "accept" && case["encrypted_only"] == false && is_steady
    };
    for case in cases.iter().filter(is_good) {
        let relay_state = if case["solicited"] == true { &*left.relay_state } else { "" };
        let reply = stage.post(&mut browser, case["response_base64"].as_str().unwrap(), relay_state).await;
        assert_eq!(reply.status, 303, "{}: {reply:?}", case["name"]);
        n_good += 1;
    }
    assert!(n_good > 0);
}
