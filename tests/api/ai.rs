//! AI routes: the tenant's own key, the tokens of answers, and clients that do not wait for them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::helpers::{App, PATIENCE, Session, Tenant, until};
use crate::metered::{app_with, counted, limit};
use crate::provider::{Provider, begin_events, reply, send_chunk};
use crate::usage::used;

/// Onboards acme and stores a key for the provider.
pub async fn with_key(app: &App) -> (Tenant, Session) {
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    let path = format!("/tenants/{}/secrets/openai", tenant.id);
    let stored = app.put("acme", &path).token(&owner).json(&json!({ "value": "sk-very-secret" })).await;
    assert_eq!(stored.status, 200, "{stored:?}");
    (tenant, owner)
}

pub fn chat(stream: bool) -> Value {
    json!({ "model": "m-1", "stream": stream, "messages": [{ "role": "user", "content": "what only we two know" }] })
}

/// The dimensions of the one event of the gateway's.
async fn dims(app: &App) -> Value {
    let mut admin = app.db.connect("postgres").await;
    let sql = "SELECT dims FROM billing.usage_events WHERE source = 'gateway'";
    sqlx::query_scalar::<_, Value>(sql).fetch_one(&mut admin).await.unwrap()
}

#[tokio::test]
async fn the_provider_gets_the_tenants_key_and_nothing_of_the_client() {
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let provider = Provider::start(move |request, stream| {
        seen.lock().unwrap().send(request).unwrap();
        reply(stream, 200, "", r#"{"model":"m-2","usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#);
    });
    let app = app_with(provider.ai_route(), |_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let missing = app.post("acme", "/ai/chat/completions").token(&owner).json(&chat(false)).await;
    let detail = missing.problem(424, "provider-key-missing")["detail"].clone();
    assert!(detail.as_str().unwrap().contains(&format!("/tenants/{}/secrets/openai", tenant.id)), "{detail}");
    let owner = app.stepped_up("acme", &owner).await;
    let path = format!("/tenants/{}/secrets/openai", tenant.id);
    app.put("acme", &path).token(&owner).json(&json!({ "value": "sk-very-secret" })).await;
    let request = app.post("acme", "/ai/chat/completions?x=1").token(&owner).json(&chat(false));
    let answer = request.header("cookie", "a=b").header("accept-encoding", "gzip").header("openai-beta", "z").await;
    assert_eq!((answer.status, &answer.json()["model"]), (200, &json!("m-2")), "{answer:?}");
    let request = sees.recv_timeout(PATIENCE).unwrap();
    assert_eq!(request.line, "POST /v1/chat/completions?x=1 HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer sk-very-secret"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("openai-beta"), Some("z"));
    assert_eq!(request.header("host"), Some(&*provider.address.to_string()));
    let kept = [
        "authorization",
        "accept-encoding",
        "openai-beta",
        "host",
        "content-type",
        "content-length",
        "accept",
        "user-agent",
        "x-request-id",
    ];
    let strange: Vec<_> = request.headers.iter().filter(|(name, _)| !kept.contains(&&**name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert_eq!(request.json(), chat(false));
    counted(&app, &owner, "ai_tokens", 7).await;
    let dims = dims(&app).await;
    for (name, value) in [("model", "m-2"), ("prompt_tokens", "3"), ("completion_tokens", "4"), ("stream", "false")] {
        assert_eq!(dims[name], value, "{dims}");
    }
    assert_eq!(dims["request_id"], answer.header("x-request-id"));
    assert!(dims["user_id"].is_string() && !dims.to_string().contains("only we two"), "{dims}");
}

#[tokio::test]
async fn the_usage_of_a_stream_is_asked_for_and_taken_out() {
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let provider = Provider::start(move |request, stream| {
        seen.lock().unwrap().send(request.json()).unwrap();
        begin_events(stream);
        // Cut where it hurts.
        for piece in [
            "data: {\"model\":\"m-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\r\n\r",
            "\ndata: {\"choices\":[],\"us",
            "age\":{\"total_tokens\":11}}\n",
            "\ndata: [DO",
            "NE]\n\n",
            "",
        ] {
            send_chunk(stream, piece);
        }
    });
    let app = app_with(provider.ai_route(), |_| {}).await;
    let (_, owner) = with_key(&app).await;
    let event = "data: {\"model\":\"m-1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\r\n\r\n";
    let reply = app.post("acme", "/ai/chat/completions").token(&owner).json(&chat(true)).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, &*format!("{event}data: [DONE]\n\n")));
    assert_eq!(sees.recv_timeout(PATIENCE).unwrap()["stream_options"], json!({ "include_usage": true }));
    counted(&app, &owner, "ai_tokens", 11).await;
    // A client that asks for it gets it.
    let mut asked = chat(true);
    asked["stream_options"] = json!({ "include_usage": true });
    let reply = app.post("acme", "/ai/chat/completions").token(&owner).json(&asked).await;
    assert!(reply.body.contains("\"total_tokens\":11") && reply.body.ends_with("data: [DONE]\n\n"), "{reply:?}");
    counted(&app, &owner, "ai_tokens", 22).await;
}

#[tokio::test]
async fn a_client_that_leaves_early_is_counted_all_the_same() {
    let (go_on, goes_on) = channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let provider = Provider::start(move |request, stream| {
        let is_streamed = request.json()["stream"] == true;
        if is_streamed {
            begin_events(stream);
            send_chunk(stream, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
        }
        goes_on.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        if is_streamed {
            send_chunk(stream, "data: {\"choices\":[],\"usage\":{\"total_tokens\":30}}\n\ndata: [DONE]\n\n");
            send_chunk(stream, "");
        } else {
            reply(stream, 200, "", r#"{"usage":{"total_tokens":12}}"#);
        }
    });
    let app = app_with(provider.ai_route(), |_| {}).await;
    let (_, owner) = with_key(&app).await;
    for (is_streamed, total) in [(true, 30), (false, 42)] {
        let body = chat(is_streamed).to_string();
        let mut client = TcpStream::connect(("127.0.0.1", app.port)).unwrap();
        write!(
            client,
            "POST /ai/chat/completions HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            owner.access,
            body.len()
        )
        .unwrap();
        if is_streamed {
            let mut head = [0; 4096];
            let mut got = Vec::new();
            while !String::from_utf8_lossy(&got).contains("\"content\":\"a\"") {
                let n = client.read(&mut head).unwrap();
                assert!(n > 0, "{}", String::from_utf8_lossy(&got));
                got.extend_from_slice(&head[..n]);
            }
        } else {
            // Its request is at the provider when the tenant has it in flight; then the client leaves.
            until("it waits for the provider", async || {
                app.admin("/metrics").await.body.contains("http_requests_in_flight 1")
            })
            .await;
        }
        drop(client);
        until("the gateway knows", async || app.admin("/metrics").await.body.contains("http_requests_in_flight 0"))
            .await;
        go_on.send(()).unwrap();
        counted(&app, &owner, "ai_tokens", total).await;
    }
}

#[tokio::test]
async fn what_nobody_says_is_estimated_and_what_failed_is_free() {
    let provider = Provider::start(|request, stream| {
        match request.json()["model"].as_str().unwrap() {
            "fails" => reply(stream, 500, "", r#"{"error":{"message":"no"}}"#),
            "silent" => drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")),
            "stated" => reply(stream, 400, "", r#"{"error":{},"usage":{"total_tokens":1000}}"#),
            _ => {
                // Without a usage, and it breaks off in the middle: 40 bytes came.
                begin_events(stream);
                let text = "x".repeat(40);
                send_chunk(stream, &format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"));
            }
        }
    });
    let app = app_with(provider.ai_route(), |_| {}).await;
    let (_, owner) = with_key(&app).await;
    let ask = |model: &str| {
        let body = json!({ "model": model, "stream": true }).to_string();
        app.raw(
            format!(
                "POST /ai/chat/completions HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {}\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                owner.access,
                body.len()
            )
            .as_bytes(),
        )
    };
    assert!(ask("fails").starts_with("HTTP/1.1 500"));
    ask("silent");
    let broken = ask("breaks");
    assert!(broken.contains("xxxx") && !broken.ends_with("0\r\n\r\n"), "{broken}");
    // The body as it was sent on, and the text that came.
    let sent = json!({ "model": "breaks", "stream": true, "stream_options": { "include_usage": true } }).to_string();
    let estimate = (sent.len() as i64 + 40 + 3) / 4;
    counted(&app, &owner, "ai_tokens", estimate).await;
    assert_eq!(dims(&app).await["estimated"], "true");
    assert!(app.admin("/metrics").await.body.contains("metering_estimated_answers_total 1"));
    // An answer that failed and says what it used has used it.
    ask("stated");
    counted(&app, &owner, "ai_tokens", estimate + 1_000).await;
}

#[tokio::test]
async fn under_a_hard_limit_tokens_are_set_aside_first() {
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let provider = Provider::start(move |request, stream| {
        seen.lock().unwrap().send(request.json()).unwrap();
        reply(stream, 200, "", r#"{"usage":{"total_tokens":150}}"#);
    });
    let app = app_with(provider.ai_route(), |settings| limit(settings, "ai_tokens", None, Some(400))).await;
    let (_, owner) = with_key(&app).await;
    let ask = |body: &Value| app.post("acme", "/ai/chat/completions").token(&owner).json(body);
    let mut greedy = chat(false);
    greedy["max_tokens"] = json!(1_000);
    ask(&greedy).await.problem(429, "quota-exceeded");
    assert_eq!(ask(&chat(false)).await.status, 200);
    assert_eq!(sees.recv_timeout(PATIENCE).unwrap()["max_completion_tokens"], 100);
    counted(&app, &owner, "ai_tokens", 150).await;
    assert_eq!(ask(&chat(false)).await.status, 200);
    counted(&app, &owner, "ai_tokens", 300).await;
    ask(&chat(false)).await.problem(429, "quota-exceeded");
    until("nothing is set aside", async || used(&app, &owner, "ai_tokens", "").await["reserved"] == 0).await;
    assert!(sees.try_recv().is_ok() && sees.try_recv().is_err(), "what is refused does not reach the provider");
}

#[tokio::test]
async fn what_cannot_be_counted_is_refused_and_what_has_no_tokens_passes() {
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let provider = Provider::start(move |request, stream| {
        seen.lock().unwrap().send(request.line).unwrap();
        reply(stream, 200, "", r#"{"object":"list","data":[]}"#);
    });
    let app = app_with(provider.ai_route(), |_| {}).await;
    let (_, owner) = with_key(&app).await;
    let post = |path: &str| app.post("acme", &format!("/ai/{path}")).token(&owner);
    post("chat/completions")
        .header("content-type", "multipart/form-data; boundary=x")
        .body("--x--")
        .await
        .problem(415, "unsupported-media-type");
    post("chat/completions").body("not JSON").await.problem(400, "malformed-request");
    post("responses").json(&json!({ "background": true })).await.problem(400, "malformed-request");
    let refused = post("chat/completions").json(&json!({ "n": "5" })).await.problem(422, "validation-failed");
    assert_eq!(refused["errors"][0]["pointer"], "/n", "{refused}");
    let refused = post("chat/completions").json(&json!({ "Max_Tokens": 5 })).await.problem(422, "validation-failed");
    assert_eq!(refused["errors"][0]["pointer"], "/max_tokens", "{refused}");
    for path in [
        "audio/transcriptions",
        "images/generations",
        "threads/x/runs",
        "batches",
        "v1/chat/completions",
        "chat/completions/",
        "chat/Completions",
        "chat%20/completions",
        "models",
        "",
    ] {
        let detail = post(path).json(&json!({})).await.problem(404, "no-route")["detail"].clone();
        assert!(detail.as_str().unwrap().contains("chat/completions"), "{path}: {detail}");
    }
    for path in ["responses/r1", "models/", "models/a%20b", "files/f/content"] {
        app.get("acme", &format!("/ai/{path}")).token(&owner).await.problem(404, "no-route");
    }
    for path in ["models", "models/m-1"] {
        assert_eq!(app.get("acme", &format!("/ai/{path}")).token(&owner).await.status, 200);
        assert_eq!(sees.recv_timeout(PATIENCE).unwrap(), format!("GET /v1/{path} HTTP/1.1"));
    }
    assert!(sees.try_recv().is_err(), "what is refused does not reach the provider");
    assert_eq!(used(&app, &owner, "ai_tokens", "").await["used"], 0);
}

#[tokio::test]
async fn the_body_is_sent_as_what_it_was_read() {
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let provider = Provider::start(move |request, stream| {
        seen.lock().unwrap().send(request).unwrap();
        reply(stream, 200, "", r#"{"usage":{"total_tokens":1}}"#);
    });
    // Where the route puts no version in, the client may.
    let app = app_with(provider.ai_route().replace("upstream_path = \"/v1\"", ""), |_| {}).await;
    let (_, owner) = with_key(&app).await;
    let call = app.post("acme", "/ai/v1/chat/completions").token(&owner);
    assert_eq!(call.header("content-type", "application/x-www-form-urlencoded").body("{}").await.status, 200);
    let request = sees.recv_timeout(PATIENCE).unwrap();
    assert_eq!(request.line, "POST /v1/chat/completions HTTP/1.1");
    let kinds: Vec<_> = request.headers.iter().filter(|(name, _)| name == "content-type").collect();
    assert!(matches!(kinds[..], [(_, kind)] if kind == "application/json"), "{kinds:?}");
    counted(&app, &owner, "ai_tokens", 1).await;
}
