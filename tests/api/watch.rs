//! `businessos watch`, as somebody runs it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::helpers::{App, PASSWORD, PATIENCE, spawn_app};
use crate::stream_client::Hand;

/// The client, running; killed when dropped.
struct Watch {
    child: Child,
    lines: std::sync::mpsc::Receiver<Value>,
}

impl Watch {
    fn start(app: &App, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_businessos"))
            .args(["watch", "--tenant", "acme", "--url", &format!("http://localhost:{}", app.port)])
            .args(arguments)
            .env_remove("BUSINESSOS_TOKEN")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = read(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line. Blocks, while the application runs on threads of its own.
    fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE);
        line.unwrap_or_else(|_ended| {
            self.child.kill().ok();
            panic!("no line: {}", self.complaint())
        })
    }

    /// Exit code and what was said on standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let complaint = self.complaint();
        (self.child.wait().unwrap().code(), complaint)
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn read(out: ChildStdout) -> std::sync::mpsc::Receiver<Value> {
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}

#[tokio::test]
async fn the_client_signs_in_outlives_its_token_and_ends_with_its_session() {
    let app = spawn_app(|settings| settings.auth.access_token_ttl_s = 10).await;
    let tenant = app.onboard("acme").await;
    let hand = Hand::new(&app);
    let mut watch = Watch::start(&app, &["--email", &tenant.owner], &[("BUSINESSOS_PASSWORD", PASSWORD)]);
    assert_eq!(watch.next()["type"], "snapshot");
    let first = hand.cross(&tenant).await;
    let event = watch.next();
    assert_eq!((&event["id"], &event["type"]), (&json!(first), &json!("threshold.crossed")));
    // The stream is closed with the token, and opened again with a new one.
    assert_eq!(watch.next()["type"], "snapshot");
    let second = hand.cross(&tenant).await;
    assert_eq!(watch.next()["id"], second, "once, and none before it again");
    // The token of before has run out by now.
    let owner = app.sign_in("acme", &tenant.owner).await;
    let reply = app.post("acme", "/auth/logout").token(&owner).json(&json!({ "all": true })).await;
    assert_eq!(reply.status, 204, "{reply:?}");
    let (code, complaint) = watch.end();
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("/auth/refresh: 401"), "{complaint}");
}

#[tokio::test]
async fn what_no_other_try_can_mend_ends_the_client() {
    let app = spawn_app(|_| {}).await;
    let tenant = app.onboard("acme").await;
    let member = app.user("acme", "member").await;
    for (arguments, environment, wanted) in [
        (&["--email", tenant.owner.as_str()][..], ("BUSINESSOS_PASSWORD", "wrong"), "401 invalid-credentials"),
        (&[], ("BUSINESSOS_TOKEN", "none"), "401 invalid-token"),
        (&[], ("BUSINESSOS_TOKEN", member.access.as_str()), "403 forbidden"),
        (&[], ("NOTHING", ""), "set BUSINESSOS_TOKEN"),
    ] {
        let (code, complaint) = Watch::start(&app, arguments, &[environment]).end();
        assert_eq!(code, Some(1), "{complaint}");
        assert!(complaint.contains(wanted), "{wanted}: {complaint}");
    }
}
