//! A provider without pages: it says of anybody whatever a test wants, signed as npm `samlp` signs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use businessos::clients::saml::SpKey;
use openidconnect::url::Url;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::browser::parameter;
use crate::provider::modules;

/// A key pair of a provider, PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    pub key: String,
    pub certificate: String,
}

impl Pair {
    pub fn new() -> Self {
        let made = SpKey::generate("test provider", businessos::clock::now()).unwrap();
        Self { key: made.private_key_pem.expose_secret().to_owned(), certificate: made.certificate_pem }
    }

    /// One whose certificate, made ten years ago less so many days, ends in so many days.
    pub fn ending_in_days(days: i64) -> Self {
        let years = chrono::TimeDelta::days(3_652);
        let made =
            SpKey::generate("test provider", businessos::clock::now() - years + chrono::TimeDelta::days(days + 2));
        let made = made.unwrap();
        Self { key: made.private_key_pem.expose_secret().to_owned(), certificate: made.certificate_pem }
    }

    /// The certificate as metadata has it.
    pub fn bare(&self) -> String {
        self.certificate.lines().filter(|line| !line.starts_with("-----")).collect()
    }
}

/// Signs, until this is dropped.
pub struct Signer {
    pub entity_id: String,
    pub pair: Pair,
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// What a browser left with.
#[derive(Debug, Clone)]
pub struct Left {
    pub id: String,
    pub relay_state: String,
    pub xml: String,
}

impl Left {
    /// The value of an attribute of the request.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.xml.split(&format!(" {name}=\"")).nth(1)?.split('"').next()
    }
}

impl Signer {
    pub fn start() -> Self {
        Self::with("urn:test:idp", Pair::new())
    }

    pub fn with(entity_id: &str, pair: Pair) -> Self {
        let mut process = Command::new("node")
            .arg("--no-warnings")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sso/saml_provider/samlp.mjs"))
            .env("PROVIDER_MODULES", modules("saml-provider"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pipes = Mutex::new((process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap())));
        Self { entity_id: entity_id.to_owned(), pair, process, pipes }
    }

    fn ask(&self, question: &Value) -> Value {
        let mut pipes = self.pipes.lock().unwrap();
        writeln!(pipes.0, "{question}").unwrap();
        let mut line = String::new();
        pipes.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Its metadata, with these certificates.
    pub fn metadata(&self, pairs: &[&Pair]) -> String {
        let key = |pair: &&Pair| {
            format!(
                "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:X509Data>\
                 <ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
                pair.bare()
            )
        };
        let keys: String = pairs.iter().map(key).collect();
        format!(
            "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"{}\">\
             <md:IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{keys}\
             <md:SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" \
             Location=\"http://127.0.0.1:9/sso\"/></md:IDPSSODescriptor></md:EntityDescriptor>",
            self.entity_id
        )
    }

    /// What a URL of HTTP-Redirect asks.
    pub fn read(&self, there: &str) -> Left {
        let request = parameter(there, "SAMLRequest").expect("a request");
        let xml = self.ask(&json!({ "inflate": request }))["xml"].as_str().unwrap().to_owned();
        let left = Left { id: String::new(), relay_state: parameter(there, "RelayState").expect("a relay state"), xml };
        Left { id: left.attribute("ID").expect("an ID").to_owned(), ..left }
    }

    /// A response; `change` is laid over what an honest provider says of ann.
    pub fn answer(&self, to: Option<&Left>, audience: &str, change: Value) -> String {
        let url = Url::parse(audience).unwrap();
        let acs = url.join("/auth/sso/callback").unwrap();
        let mut question = json!({
            "key": self.pair.key, "cert": self.pair.certificate, "issuer": self.entity_id, "audience": audience,
            "recipient": acs, "destination": acs, "in_response_to": to.map(|left| &left.id),
            "name_id": "ann-1", "name_id_format": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
            "context": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
            "attributes": {"email": ["ann@acme.test"], "displayName": ["Ann Smith"]},
        });
        for (name, value) in change.as_object().unwrap() {
            question[name] = value.clone();
        }
        let answer = self.ask(&question);
        answer["response"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
