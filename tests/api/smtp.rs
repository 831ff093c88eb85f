//! A real SMTP server beside the tests: `aiosmtpd`, which `scripts/setup.sh` installs.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::helpers::until;
use crate::mailbox::{Mail, mails_in};

/// A server that keeps what it is given.
pub struct SmtpSink {
    pub port: u16,
    pub directory: tempfile::TempDir,
    process: Child,
}

/// Python with what the sink needs, and a library that makes certificates.
pub fn python() -> PathBuf {
    let cache = std::env::var_os("BUSINESSOS_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home directory"));
    let cache = cache.unwrap_or_else(|| {
        let xdg = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        xdg.unwrap_or_else(|| home().join(".cache")).join("businessos")
    });
    let python = cache.join("smtp-sink/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup.sh test", python.display());
    python
}

impl SmtpSink {
    /// `mode` is `plain`, `starttls` or `tls`; `credentials` are `user:password`.
    pub fn start(mode: &str, credentials: Option<&str>) -> Self {
        Self::start_on(0, mode, credentials)
    }

    /// The same on a port that was somebody's before.
    pub fn start_on(port: u16, mode: &str, credentials: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/smtp_sink.py"))
            .arg(directory.path())
            .args([&port.to_string(), mode])
            .args(credentials)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the sink says its port");
        Self { port, directory, process }
    }

    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// What was delivered so far.
    pub fn mails(&self) -> Vec<Mail> {
        mails_in(self.directory.path()).into_iter().map(|(_, mail)| mail).collect()
    }

    /// Waits for mail to an address.
    pub async fn mail_to(&self, to: &str) -> Mail {
        until(&format!("mail to {to}"), async || self.mails().iter().any(|mail| mail.to == to)).await;
        self.mails().into_iter().find(|mail| mail.to == to).unwrap()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
