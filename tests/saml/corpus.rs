//! Runs the generator of the abuse corpus.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use businessos::clients::saml::{
    Expectation, IdentityProvider, Saml, SamlRefusal, SamlVerifier as _, ServiceProvider, SpKey, VerifiedAssertion,
};
use businessos::clock;
use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

/// Both sides of a connection, and every response that the generator made for it.
pub struct Corpus {
    /// What the provider publishes.
    pub metadata: String,
    pub sp: ServiceProvider,
    pub idp: IdentityProvider,
    pub request_id: String,
    pub now: DateTime<Utc>,
    pub cases: Vec<Case>,
}

/// One response.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub expect: Expected,
    pub solicited: bool,
    pub encrypted_only: bool,
    pub response_base64: String,
    pub python3_saml: Opinion,
    pub name_id: Option<String>,
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    Accept,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opinion {
    Accepted,
    Refused,
    Unable,
}

#[derive(Deserialize)]
struct About {
    metadata: String,
    certificates: Vec<String>,
}

impl Corpus {
    /// Fresh keys on both sides, and the corpus for them.
    pub fn generate() -> Self {
        let now = clock::now().trunc_subsecs(0);
        let key = SpKey::generate("businessos test", now).unwrap();
        let sp = ServiceProvider {
            entity_id: "https://app.example/saml/metadata/1".to_owned(),
            acs_url: "https://app.example/sso/callback/saml/1".to_owned(),
            keys: vec![key],
        };
        let request_id = "_0123456789abcdef".to_owned();
        let directory = tempfile::tempdir().unwrap();
        let certificate = directory.path().join("sp.crt");
        let private_key = directory.path().join("sp.key");
        std::fs::write(&certificate, &sp.keys[0].certificate_pem).unwrap();
        std::fs::write(&private_key, sp.keys[0].private_key_pem.expose_secret()).unwrap();
        let moment = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        let output = python("corpus.py")
            .args(["--acs", &sp.acs_url, "--sp-entity", &sp.entity_id, "--request-id", &request_id])
            .args(["--idp-entity", "https://idp.example/metadata", "--now", &moment])
            .arg("--sp-certificate")
            .arg(&certificate)
            .arg("--sp-key")
            .arg(&private_key)
            .output()
            .unwrap();
        assert!(output.status.success(), "the generator failed: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        let about: About = serde_json::from_str(lines.next().unwrap()).unwrap();
        let cases: Vec<Case> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        // The provider is what its metadata says, as in a connection.
        let idp = Saml.read_metadata(&about.metadata).unwrap();
        let without_lines = |pem: &String| pem.split_whitespace().collect::<String>();
        let read: Vec<_> = idp.certificates.iter().map(without_lines).collect();
        assert_eq!(read, about.certificates.iter().map(without_lines).collect::<Vec<_>>());
        Self { metadata: about.metadata, sp, idp, request_id, now, cases }
    }

    /// What the verifier says of a case.
    pub fn verify(&self, case: &Case) -> Result<VerifiedAssertion, SamlRefusal> {
        self.verify_text(&case.response_base64, case.solicited, case.encrypted_only)
    }

    /// What the verifier says of a response.
    pub fn verify_text(
        &self,
        response_base64: &str,
        solicited: bool,
        want_encrypted: bool,
    ) -> Result<VerifiedAssertion, SamlRefusal> {
        let request_id = solicited.then_some(self.request_id.as_str());
        Saml.verify(&self.sp, &self.idp, response_base64, &Expectation { request_id, want_encrypted, now: self.now })
    }

    /// The case of this name.
    pub fn case(&self, name: &str) -> &Case {
        self.cases.iter().find(|case| case.name == name).unwrap_or_else(|| panic!("there is no case {name}"))
    }
}

/// A script of this directory, by the Python that `scripts/setup.sh test` installs.
pub fn python(script: &str) -> Command {
    let cache = std::env::var_os("BUSINESSOS_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        std::env::var_os("XDG_CACHE_HOME").map_or(home.join(".cache"), PathBuf::from).join("businessos")
    });
    let python = cache.join("saml-venv/bin/python");
    assert!(python.exists(), "{} is missing; run scripts/setup.sh test", python.display());
    let mut command = Command::new(python);
    command.arg(format!("{}/tests/saml/{script}", env!("CARGO_MANIFEST_DIR"))).stdin(Stdio::null());
    command
}

/// Gives a script its input and returns what it prints; it must succeed.
pub fn ask_python(script: &str, input: &serde_json::Value) -> serde_json::Value {
    let mut child = python(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
