//! The whole walk with real providers: npm `saml-idp`, and `pysaml2`, which reads the platform's metadata and checks its signatures.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::signer::Pair;
use super::stage::told;
use crate::browser::{Browser, location};
use crate::helpers::{Reply, Session};
use crate::provider::modules;
use crate::world::World;

/// A provider in a process of its own, until this is dropped.
struct Process {
    address: String,
    process: Child,
    _stdout: BufReader<ChildStdout>,
    _files: Option<tempfile::TempDir>,
}

impl Process {
    fn start(mut command: Command, settings: &Value, files: Option<tempfile::TempDir>) -> Self {
        let command = command.env("PROVIDER", settings.to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("http://127.0.0.1:"), "the provider does not start: {line:?}");
        Self { address: line.trim().to_owned(), process, _stdout: stdout, _files: files }
    }

    /// npm `saml-idp`.
    fn saml_idp(more: Value) -> Self {
        let pair = Pair::new();
        let mut settings = json!({"issuer": "urn:test:saml-idp", "key": pair.key, "cert": pair.certificate});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut command = Command::new("node");
        command.arg("--no-warnings").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sso/saml_provider/idp.mjs"));
        command.env("PROVIDER_MODULES", modules("saml-provider"));
        Self::start(command, &settings, None)
    }

    fn pysaml2(more: Value) -> Self {
        let (pair, files) = (Pair::new(), tempfile::tempdir().unwrap());
        let (key, certificate) = (files.path().join("key.pem"), files.path().join("certificate.pem"));
        std::fs::write(&key, &pair.key).unwrap();
        std::fs::write(&certificate, &pair.certificate).unwrap();
        let person = json!({"mail": ["ann@acme.test"], "displayName": ["Ann Smith"]});
        let mut settings = json!({"key": key, "certificate": certificate, "name_id": "ann-1", "person": person});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut command = Command::new(modules("pysaml2-venv").join("bin/python"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sso/saml_provider/pysaml2_idp.py"));
        Self::start(command, &settings, Some(files))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A connection by the provider's metadata URL.
async fn connected(world: &World, provider: &Process, saml: Value) -> Value {
    world.prove(&world.tenant, "acme.test").await;
    let mut settings = json!({ "metadata_url": format!("{}/metadata", provider.address) });
    settings.as_object_mut().unwrap().extend(saml.as_object().unwrap().clone());
    let body = json!({"name": "real", "kind": "saml", "jit": true, "domains": ["acme.test"], "saml": settings,
                      "role_map": [{"value": "admins", "role": "admin"}]});
    let made = world.app.post("acme", "/sso/connections").token(&world.owner).json(&body).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()
}

fn path_of(made: &Value, path: &str) -> String {
    format!("{}{path}", made["start_url"].as_str().unwrap())
}

/// The value of a field of a page's form.
fn field(page: &str, name: &str) -> String {
    let at = page.find(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("no {name}: {page}"));
    // In quotes of either kind.
    let rest = page[at..].split("value=").nth(1).expect("a value");
    let (quote, rest) = rest.split_at(1);
    rest.split(quote).next().unwrap().replace("&#x3D;", "=").replace("&#x2B;", "+").replace("&amp;", "&")
}

/// Has the page with the response post itself, and goes on to the client.
async fn carry_back(world: &World, browser: &mut Browser, page: &Reply) -> Result<String, String> {
    assert_eq!(page.status, 200, "{page:?}");
    let (response, relay_state) = (field(&page.body, "SAMLResponse"), field(&page.body, "RelayState"));
    let form = [("SAMLResponse", &*response), ("RelayState", &*relay_state)];
    let reply = browser.submit_from_elsewhere(&world.redirect_uri(), &form).await;
    if reply.status != 303 {
        return Err(reply.json()["code"].as_str().unwrap_or_default().to_owned());
    }
    let link = location(&world.redirect_uri(), &reply);
    told(&location(&link, &browser.get(&link).await))
}

/// At the page of `saml-idp`, as ann.
async fn at_saml_idp(browser: &mut Browser, provider: &Process, there: &str) -> Reply {
    let page = browser.get(there).await;
    assert_eq!(page.status, 200, "{page:?}");
    let request = field(&page.body, "_authnRequest");
    let person = [
        ("_authnRequest", &*request),
        ("userName", "ann-1"),
        ("nameIdFormat", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
        ("email", "ann@acme.test"),
        ("displayName", "Ann Smith"),
        ("groups", "users,admins"),
        ("userType", "Admin"),
    ];
    browser.submit(&format!("{}/signin", provider.address), &person).await
}

async fn set_audience(browser: &mut Browser, provider: &Process, made: &Value) {
    let audience = made["saml"]["sp_entity_id"].as_str().unwrap();
    let reply = browser.submit(&format!("{}/settings", provider.address), &[("audience", audience)]).await;
    assert_eq!(reply.status, 302, "{reply:?}");
}

#[tokio::test]
async fn somebody_signs_in_by_saml_idp() {
    let world = World::new().await;
    let provider = Process::saml_idp(json!({}));
    let made = connected(&world, &provider, json!({})).await;
    let mut browser = Browser::new();
    set_audience(&mut browser, &provider, &made).await;
    let start = path_of(&made, "");
    let there = location(&start, &browser.get(&start).await);
    assert!(there.starts_with(&provider.address), "{there}");
    let page = at_saml_idp(&mut browser, &provider, &there).await;
    let code = carry_back(&world, &mut browser, &page).await.expect("a code");
    let session = Session::of(&world.redeem(&mut browser, &code).await);
    let me = world.app.get("acme", "/auth/me").token(&session).await.json();
    assert_eq!(
        (&me["email"], &me["name"], &me["role"]),
        (&json!("ann@acme.test"), &json!("Ann Smith"), &json!("admin"))
    );
    // The same page once more.
    assert_eq!(carry_back(&world, &mut browser, &page).await, Err("invalid-sso-state".to_owned()));
}

#[tokio::test]
async fn saml_idp_encrypts_as_entra_does() {
    let world = World::new().await;
    let provider = Process::saml_idp(json!({}));
    let made = connected(&world, &provider, json!({"want_encrypted": true})).await;
    let mut browser = Browser::new();
    set_audience(&mut browser, &provider, &made).await;
    let start = path_of(&made, "");
    let there = location(&start, &browser.get(&start).await);
    let page = at_saml_idp(&mut browser, &provider, &there).await;
    assert_eq!(carry_back(&world, &mut browser, &page).await, Err("sso-failed".to_owned()), "in the clear");
    let certificate = made["saml"]["keys"][0]["certificate"].as_str().unwrap();
    let settings = [
        ("encryptAssertion", "true"),
        // It thinks less of CBC than Entra does, which has nothing else.
        ("disallowEncryptionWithInsecureAlgorithm", "false"),
        ("encryptionCert", certificate),
        ("encryptionPublicKey", &public_key(certificate)),
    ];
    assert_eq!(browser.submit(&format!("{}/settings", provider.address), &settings).await.status, 302);
    let there = location(&start, &browser.get(&start).await);
    let page = at_saml_idp(&mut browser, &provider, &there).await;
    let code = carry_back(&world, &mut browser, &page).await.expect("a code");
    assert_eq!(world.redeem(&mut browser, &code).await.status, 200);
}

/// The key of a certificate, PEM.
fn public_key(certificate: &str) -> String {
    use std::io::Write as _;
    let mut openssl = Command::new("openssl");
    let openssl = openssl.args(["x509", "-pubkey", "-noout"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut openssl = openssl.spawn().unwrap();
    openssl.stdin.take().unwrap().write_all(certificate.as_bytes()).unwrap();
    String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn pysaml2_reads_our_metadata_and_checks_our_signature() {
    let world = World::new().await;
    let provider = Process::pysaml2(json!({"wants_signed": true}));
    let made = connected(&world, &provider, json!({})).await;
    assert_eq!(made["saml"]["sign_requests"], true);
    let mut browser = Browser::new();
    introduce(&world, &provider, &made).await;
    let start = path_of(&made, "");
    let there = location(&start, &browser.get(&start).await);
    let page = browser.get(&there).await;
    let code = carry_back(&world, &mut browser, &page).await.expect("a code");
    let session = Session::of(&world.redeem(&mut browser, &code).await);
    let me = world.app.get("acme", "/auth/me").token(&session).await.json();
    assert_eq!((&me["email"], &me["name"]), (&json!("ann@acme.test"), &json!("Ann Smith")));
    // A request that somebody has changed on the way, it does not answer.
    let other = location(&start, &browser.get(&start).await);
    let state = crate::browser::parameter(&other, "RelayState").unwrap();
    let forged = there.replace(&crate::browser::parameter(&there, "RelayState").unwrap(), &state);
    assert_ne!(forged, there);
    let refused = reqwest::get(&forged).await;
    assert!(!refused.is_ok_and(|reply| reply.status().is_success()), "pysaml2 believes a forged request");
}

/// Gives the provider our metadata.
async fn introduce(world: &World, provider: &Process, made: &Value) {
    let path = format!("/auth/sso/{}/metadata", made["id"].as_str().unwrap());
    let metadata = world.app.get("acme", &path).await.body;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let reply = client.post(format!("{}/sp", provider.address)).body(metadata).send().await.unwrap();
    let id = reply.text().await.unwrap();
    assert_eq!(id, made["saml"]["sp_entity_id"].as_str().unwrap());
}

#[tokio::test]
async fn pysaml2_takes_forms_and_begins_by_itself_where_it_may() {
    let world = World::new().await;
    let provider = Process::pysaml2(json!({"only_post": true}));
    let made = connected(&world, &provider, json!({"idp_initiated": true})).await;
    introduce(&world, &provider, &made).await;
    let mut browser = Browser::new();
    let page = browser.get(&path_of(&made, "")).await;
    assert_eq!(page.status, 200, "{page:?}");
    let form = [("SAMLRequest", field(&page.body, "SAMLRequest")), ("RelayState", field(&page.body, "RelayState"))];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answered = browser.submit(&format!("{}/sso", provider.address), &form).await;
    let code = carry_back(&world, &mut browser, &answered).await.expect("a code");
    assert_eq!(world.redeem(&mut browser, &code).await.status, 200);
    let mut another = Browser::new();
    let unasked = another.get(&format!("{}/unasked?RelayState=/reports", provider.address)).await;
    let code = carry_back(&world, &mut another, &unasked).await.expect("a code");
    assert_eq!(world.redeem(&mut another, &code).await.status, 200);
    assert_eq!(carry_back(&world, &mut another, &unasked).await, Err("sso-failed".to_owned()), "once");
}
