//! A real OpenID provider beside the tests: npm `oidc-provider`, which `scripts/setup.sh` installs.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The provider's client secret.
pub const SECRET: &str = "a secret of the real provider";

/// A provider that runs until this is dropped.
pub struct Provider {
    pub issuer: String,
    process: Child,
    _stdout: BufReader<ChildStdout>,
}

/// Where `scripts/setup.sh` has put a package.
pub fn modules(name: &str) -> PathBuf {
    let cache = std::env::var_os("BUSINESSOS_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home directory"));
    let cache = cache.unwrap_or_else(|| {
        let xdg = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        xdg.unwrap_or_else(|| home().join(".cache")).join("businessos")
    });
    let modules = cache.join(name);
    assert!(modules.join("installed").exists(), "{} is missing: run scripts/setup.sh test", modules.display());
    modules
}

impl Provider {
    /// A provider that sends browsers back to `redirect_uri`, and these people.
    pub fn start(redirect_uri: &str, people: &Value) -> Self {
        let settings = json!({
            "client_id": "bos", "client_secret": SECRET, "redirect_uris": [redirect_uri],
            "post_logout_redirect_uris": ["http://localhost:9/bye"], "people": people,
        });
        let mut process = Command::new("node")
            .arg("--no-warnings")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sso/provider/provider.mjs"))
            .env("PROVIDER", settings.to_string())
            .env("PROVIDER_MODULES", modules("oidc-provider"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("http://127.0.0.1:"), "the provider does not start: {line:?}");
        Self { issuer: line.trim().to_owned(), process, _stdout: stdout }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
