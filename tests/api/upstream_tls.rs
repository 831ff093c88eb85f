//! Services that are reached by TLS.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::helpers::{App, routes, spawn_app};
use crate::smtp::python;

/// An HTTPS service with an authority of its own.
struct TlsService {
    port: u16,
    directory: tempfile::TempDir,
    process: Child,
}

impl TlsService {
    /// One whose certificate is for `name`.
    fn start(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tls_service.py"))
            .arg(directory.path())
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the service says its port");
        Self { port, directory, process }
    }

    async fn app(&self, more: &str, is_trusted: bool) -> App {
        let url = format!("https://localhost:{}", self.port);
        let text = format!("[[routes]]\nprefix = \"/\"\nauth = \"none\"\nupstreams = [\"{url}\"]\n{more}");
        let ca = is_trusted.then(|| self.directory.path().join("ca.pem"));
        let app = spawn_app(move |settings| {
            settings.gateway.routes = routes(&text);
            settings.gateway.upstream_ca_file = ca;
        })
        .await;
        app.onboard("acme").await;
        app
    }
}

impl Drop for TlsService {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test]
async fn a_service_behind_tls_is_reached_by_its_own_name() {
    let service = TlsService::start("localhost");
    let app = service.app("", true).await;
    for _ in 0..2 {
        let reply = app.get("acme", "/x").await;
        assert_eq!((reply.status, reply.body), (200, format!("localhost:{}", service.port)));
    }
    drop(app);
    let keeping = service.app("preserve_host = true", true).await;
    assert!(keeping.get("acme", "/x").await.body.starts_with("acme.localhost"));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_or_of_another_name_is_not_believed() {
    let service = TlsService::start("localhost");
    service.app("", false).await.get("acme", "/x").await.problem(503, "upstream-unavailable");
    let other = TlsService::start("other.test");
    other.app("", true).await.get("acme", "/x").await.problem(503, "upstream-unavailable");
}
