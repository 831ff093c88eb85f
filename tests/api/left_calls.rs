//! Clients that leave while a call that is counted is under way.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use businessos::config::Settings;
use serde_json::json;

use crate::ai::{chat, with_key};
use crate::helpers::{App, PATIENCE, Session, until};
use crate::metered::{app_with, counted};
use crate::provider::{Provider, begin_events, reply, send_chunk};
use crate::usage::used;

/// A service that says when it was asked, and answers when it is told to; as its path says, or as a provider.
fn waiting_service() -> (Provider, Receiver<String>, Sender<()>) {
    let ((say, asked), (go_on, goes_on)) = (channel(), channel::<()>());
    let (say, goes_on) = (Mutex::new(say), Mutex::new(goes_on));
    let service = Provider::start(move |request, stream| {
        let path = request.line.split(' ').nth(1).unwrap().to_owned();
        let is_streamed = path.ends_with("/completions") && request.json()["stream"] == true;
        if is_streamed {
            begin_events(stream);
            send_chunk(stream, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
        }
        say.lock().unwrap().send(path.clone()).unwrap();
        goes_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let usage = "x-usage: ai_tokens=7\r\n";
        match path.rsplit('/').next().unwrap() {
            "ok" => reply(stream, 200, usage, "fine"),
            "none" => reply(stream, 204, usage, ""),
            "missing" => reply(stream, 404, usage, "no"),
            "completions" if is_streamed => {
                send_chunk(stream, "data: {\"choices\":[],\"usage\":{\"total_tokens\":30}}\n\ndata: [DONE]\n\n");
                send_chunk(stream, "");
            }
            "completions" => reply(stream, 200, "", r#"{"usage":{"total_tokens":12}}"#),
            other => panic!("{other}"),
        }
    });
    (service, asked, go_on)
}

/// Sends a request, or as much of it as there is, and keeps the connection.
fn send(app: &App, by: &Session, line: &str, length: usize, body: &str) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
    write!(
        client,
        "{line} HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n{body}",
        by.access
    )
    .unwrap();
    client
}

async fn leave(app: &App, client: TcpStream) {
    drop(client);
    until("the gateway knows", async || app.admin("/metrics").await.body.contains("http_requests_in_flight 0")).await;
}

#[tokio::test]
async fn what_a_client_asked_for_is_counted_although_it_left_before_the_answer() {
    let (service, asked, go_on) = waiting_service();
    let text = service.route("/run", "meter = \"workflow_runs\"\nmeter_quantity = 5\nusage_header = [\"ai_tokens\"]")
        + &service.route("/reports", "usage_header = [\"ai_tokens\"]");
    let app = app_with(text, |_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for (line, runs, tokens) in [
        ("POST /run/ok", 5, 7),
        ("GET /run/none", 10, 14),
        ("POST /run/missing", 10, 21),
        ("POST /reports/ok", 10, 28),
        ("POST /run/ok", 15, 35),
    ] {
        let client = send(&app, &owner, line, 5, "hello");
        assert!(line.ends_with(&asked.recv_timeout(PATIENCE).unwrap()));
        leave(&app, client).await;
        go_on.send(()).unwrap();
        counted(&app, &owner, "ai_tokens", tokens).await;
        counted(&app, &owner, "workflow_runs", runs).await;
        // A request that is not whole asks for nothing.
        let client = send(&app, &owner, line, 100, "hello");
        until("it waits for its client", async || {
            app.admin("/metrics").await.body.contains("http_requests_in_flight 1")
        })
        .await;
        leave(&app, client).await;
    }
    assert!(asked.try_recv().is_err());
}

/// Checks that each kind of counted call takes its place until it is over, under a cap that has one.
async fn keeps_its_place(cap: fn(&mut Settings)) {
    let (service, asked, go_on) = waiting_service();
    let text = service.ai_route() + &service.route("/run", "meter = \"workflow_runs\"");
    let app = app_with(text, cap).await;
    let (_, owner) = with_key(&app).await;
    let (whole, streamed) = (chat(false).to_string(), chat(true).to_string());
    for (line, body) in [
        ("POST /run/ok", "hello"),
        ("POST /ai/chat/completions", whole.as_str()),
        ("POST /ai/chat/completions", streamed.as_str()),
    ] {
        let mut client = send(&app, &owner, line, body.len(), body);
        asked.recv_timeout(PATIENCE).unwrap();
        let mut got = Vec::new();
        while body == streamed && !String::from_utf8_lossy(&got).contains("\"content\":\"a\"") {
            let mut piece = [0; 4096];
            let n = client.read(&mut piece).unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&piece[..n]);
        }
        leave(&app, client).await;
        app.get("acme", "/auth/me").token(&owner).await.problem(503, "overloaded");
        go_on.send(()).unwrap();
        until("the place is given back", async || app.get("acme", "/auth/me").token(&owner).await.status == 200).await;
    }
    counted(&app, &owner, "ai_tokens", 42).await;
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], json!(1));
}

#[tokio::test]
async fn a_call_without_its_client_keeps_its_place_among_the_tenants() {
    keeps_its_place(|settings| settings.limits.tenant_in_flight = 1).await;
}

#[tokio::test]
async fn a_call_without_its_client_keeps_its_place_among_all() {
    keeps_its_place(|settings| settings.server.max_in_flight = 1).await;
}
