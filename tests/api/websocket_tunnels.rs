//! WebSockets of services, through the gateway.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::helpers::{App, Session, routes, spawn_app, spawn_app_on, until};
use crate::metered;
use crate::support::TestDatabase;
use crate::websocket_service::{EchoService, closed, echo, try_tunnel};

const WEBSOCKET: &str = "websocket = true";

/// An application with the service at `/live`, and at `/plain` without WebSockets; the tenant acme and its owner.
async fn app_with(service: &EchoService, more: &str, tenant_websockets: u32) -> (App, Session) {
    let text = service.route("/live", &format!("{WEBSOCKET}\n{more}")) + &service.route("/off", "");
    let app = spawn_app(move |settings| {
        settings.gateway.routes = routes(&text);
        settings.limits.tenant_websockets = tenant_websockets;
        settings.limits.tenant_in_flight = 1;
        settings.server.shutdown_timeout_s = 60;
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    (app, owner)
}

#[tokio::test]
async fn bytes_go_both_ways_and_the_service_knows_who_calls() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "", 100).await;
    let headers = [("sec-websocket-protocol", "chat"), ("x-tenant-id", "forged"), ("x-note", "passes")];
    let (mut tunnel, answer) = try_tunnel(&app, "/live/room?x=1", Some(&owner.access), &headers).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    let head = service.last_head();
    assert_eq!(head.uri(), "/room?x=1");
    let header = |name: &str| head.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("x-tenant-slug").as_deref(), Some("acme"));
    assert_ne!(header("x-tenant-id").as_deref(), Some("forged"));
    assert!(header("x-tenant-context").is_some() && header("x-user-id").is_some());
    assert_eq!((header("authorization"), header("x-note").as_deref()), (None, Some("passes")));
    for n in [0, 1, 125, 126, 65_535, 65_536, 3_000_000] {
        echo(&mut tunnel, Message::binary(vec![7; n])).await;
    }
    echo(&mut tunnel, Message::text("grüße")).await;
    assert_eq!(
        app.get("acme", "/auth/me").token(&owner).await.status,
        200,
        "the tenant's only place in flight is free"
    );
    tunnel.close(None).await.unwrap();
    until("the service hears of the end", async || service.ends.lock().unwrap().len() == 1).await;
}

#[tokio::test]
async fn an_end_by_the_service_reaches_the_client() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "", 1).await;
    let (mut tunnel, _) = try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.unwrap();
    futures_util::SinkExt::send(&mut tunnel, Message::text("close please")).await.unwrap();
    closed(&mut tunnel).await;
    drop(tunnel);
    until("the place is given back", async || try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.is_ok())
        .await;
}

#[tokio::test]
async fn a_service_that_does_not_switch_is_passed_on_and_one_that_lies_is_not() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "", 100).await;
    let refused = try_tunnel(&app, "/live/refuse", Some(&owner.access), &[]).await.map(drop).unwrap_err();
    assert_eq!(refused, (403, "not you".to_owned()));
    let (status, body) = try_tunnel(&app, "/live/forged", Some(&owner.access), &[]).await.map(drop).unwrap_err();
    assert_eq!(status, 502, "{body}");
    assert!(body.contains("\"bad-gateway\""), "{body}");
}

#[tokio::test]
async fn whoever_the_route_does_not_let_in_opens_nothing() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "roles = [\"owner\"]", 100).await;
    let member = app.user("acme", "member").await;
    let (_, stranger) = app.tenant_with_owner("globex").await;
    let by_query = format!("/live/room?access_token={}", owner.access);
    for (path, token, status) in [
        ("/live/room", None, 401),
        (by_query.as_str(), None, 401),
        ("/live/room", Some(&member.access), 403),
        ("/live/room", Some(&stranger.access), 403),
    ] {
        let refused = try_tunnel(&app, path, token.map(String::as_str), &[]).await.map(drop).unwrap_err();
        assert_eq!(refused.0, status, "{path}");
    }
    assert!(service.heads.lock().unwrap().is_empty(), "the service heard of none of them");
    let request = async |name: &'static str, value: &str| {
        let handshake = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let mut text =
            format!("GET /live/room HTTP/1.1\r\nhost: acme.localhost\r\nauthorization: Bearer {}\r\n", owner.access);
        for (known, usual) in handshake {
            text += &format!("{known}: {}\r\n", if known == name { value } else { usual });
        }
        app.raw(format!("{text}\r\n").as_bytes())
    };
    for (name, value, status) in [
        ("sec-websocket-version", "8", "426"),
        ("sec-websocket-key", "short", "400"),
        ("connection", "close", "400"),
        ("upgrade", "websocket, h2c", "400"),
    ] {
        let answer = request(name, value).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {answer}");
    }
    assert!(service.heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_route_without_websockets_forwards_the_request_as_any_other() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "", 100).await;
    let reply = app
        .get("acme", "/off/plain")
        .token(&owner)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "upgrade passed: false"));
}

#[tokio::test]
async fn tunnels_are_capped_for_each_tenant_and_places_are_given_back() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "", 2).await;
    let open = async || try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await;
    let is_told =
        async |n| app.admin("/metrics").await.body.lines().any(|line| line == format!("gateway_tunnels_open {n}"));
    assert!(is_told(0).await);
    let (first, _) = open().await.unwrap();
    let (second, _) = open().await.unwrap();
    assert!(is_told(2).await);
    let (status, body) = open().await.map(drop).unwrap_err();
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("\"too-many-connections\""), "{body}");
    drop(first);
    until("the place is given back", async || open().await.is_ok()).await;
    drop(second);
    until("nobody is told of them any more", async || is_told(0).await).await;
}

#[tokio::test]
async fn a_tunnel_counts_as_a_call_and_what_its_service_says_it_used() {
    let service = EchoService::start().await;
    let more = "meter = \"workflow_runs\"\nusage_header = [\"ai_tokens\"]\nidempotency_key = true";
    let text = service.route("/live", &format!("{WEBSOCKET}\n{more}"));
    let app = metered::app_with(text, |_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let key = [("idempotency-key", "k1")];
    for n in 1..=2 {
        let (_tunnel, answer) = try_tunnel(&app, "/live/room", Some(&owner.access), &key).await.unwrap();
        assert!(!answer.headers().contains_key("x-usage"));
        metered::counted(&app, &owner, "workflow_runs", n).await;
        metered::counted(&app, &owner, "ai_tokens", 5 * n).await;
    }
    try_tunnel(&app, "/live/refuse", Some(&owner.access), &key).await.map(drop).unwrap_err();
    metered::counted(&app, &owner, "ai_tokens", 12).await;
    metered::counted(&app, &owner, "workflow_runs", 2).await;
}

#[tokio::test]
async fn a_tunnel_outlives_a_reload_that_takes_its_route_away() {
    let service = EchoService::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let with = service.route("/live", WEBSOCKET).replace("[[routes]]", "[[gateway.routes]]");
    std::fs::write(&file, &with).unwrap();
    let live = routes(&service.route("/live", WEBSOCKET));
    let app = spawn_app_on(std::sync::Arc::new(TestDatabase::new().await), Some(file.clone()), |settings| {
        settings.gateway.routes = live;
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (mut tunnel, _) = try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.unwrap();
    let without = service.route("/elsewhere", "").replace("[[routes]]", "[[gateway.routes]]");
    std::fs::write(&file, without).unwrap();
    let operator = app.operator().await;
    assert_eq!(app.post("platform", "/operator/reload").token(&operator).await.status, 200);
    let gone = try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.map(drop).unwrap_err();
    assert_eq!(gone.0, 404, "the route is gone");
    echo(&mut tunnel, Message::text("still here")).await;
}

#[tokio::test]
async fn whoever_is_shut_out_loses_the_tunnel() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "", 100).await;
    let (mut tunnel, _) = try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.unwrap();
    echo(&mut tunnel, Message::text("hello")).await;
    assert_eq!(app.post("acme", "/auth/logout").token(&owner).await.status, 204);
    assert_eq!(closed(&mut tunnel).await, Some((4401, "session-ended".to_owned())));
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_is_closed() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "idle_timeout_ms = 3000", 100).await;
    let (mut tunnel, _) = try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.unwrap();
    echo(&mut tunnel, Message::text("hello")).await;
    closed(&mut tunnel).await;
    until("the service is let go, too", async || service.ends.lock().unwrap().len() == 1).await;
}

#[tokio::test]
async fn a_stop_says_goodbye_to_both_sides_and_does_not_wait_for_either() {
    let service = EchoService::start().await;
    let (app, owner) = app_with(&service, "", 100).await;
    let (mut tunnel, _) = try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.unwrap();
    echo(&mut tunnel, Message::text("hello")).await;
    // One that says nothing and reads nothing.
    let (_deaf, _) = try_tunnel(&app, "/live/room", Some(&owner.access), &[]).await.unwrap();
    let stopping = tokio::task::spawn_blocking(move || {
        let asked = Instant::now();
        drop(app);
        asked.elapsed()
    });
    assert_eq!(closed(&mut tunnel).await, Some((1012, "restarting".to_owned())));
    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}: much less than server.shutdown_timeout_s");
    until("the service hears it, too", async || service.ends.lock().unwrap().len() == 2).await;
    let ends = service.ends.lock().unwrap();
    let codes: Vec<u16> = ends.iter().flatten().map(|frame| frame.code.into()).collect();
    assert_eq!(json!(codes), json!([1012, 1012]));
}
