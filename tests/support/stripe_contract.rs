//! Whether what was said to the fake Stripe and by it is what Stripe's own library says and hears.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// Python with Stripe's library, which `scripts/setup.sh test` installs.
fn python() -> PathBuf {
    let cache = std::env::var_os("BUSINESSOS_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap());
    let cache = cache.unwrap_or_else(|| {
        let xdg = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        xdg.unwrap_or_else(|| home().join(".cache")).join("businessos")
    });
    let python = cache.join("stripe-contract/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh test", python.display());
    python
}

/// Checks records; the error is what is wrong with them.
pub fn check(records: &[String]) -> Result<(), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(records.join("\n").as_bytes()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/stripe-contract.py");
    let output = Command::new(python()).arg(script).arg(file.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(told.into_owned()) }
}
