//! Which bytes of a head arrive.

use std::sync::mpsc;

use crate::harness::{Gateway, Service, next};

fn recording() -> (Service, mpsc::Receiver<String>) {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, _| {
        while let Some(head) = wire.try_read_until("\r\n\r\n") {
            report.send(head).unwrap();
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    (service, seen)
}

#[test]
fn the_service_sees_our_context_and_not_the_clients() {
    let (service, seen) = recording();
    let gateway = Gateway::start(&[service.address], "");
    let reply = gateway.exchange(
        "GET /a%2Fb?x=%20&y HTTP/1.1\r\nHost: t.example\r\nConnection: x-tenant-id, x-hop\r\nX-Tenant-Id: theirs\r\n\
         X-Hop: 1\r\nX-Forwarded-For: 1.2.3.4\r\nTE: trailers\r\nCookie: a=b\r\n\r\n",
    );
    assert_eq!((reply.status, &*reply.body), (200, "ok"));
    let head = next(&seen);
    let (first, rest) = head.split_once("\r\n").unwrap();
    assert_eq!(first, "GET /a%2Fb?x=%20&y HTTP/1.1");
    let mut lines: Vec<_> = rest.trim_end().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["cookie: a=b", "host: t.example", "x-tenant-id: ours"]);
}

#[test]
fn a_request_that_two_programs_may_read_differently_never_reaches_the_service() {
    let (service, seen) = recording();
    let gateway = Gateway::start(&[service.address], "");
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX_Tenant_Id: b\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", 417),
    ] {
        let mut wire = gateway.connect();
        wire.send(request);
        let reply = wire.read_reply(false);
        assert_eq!(reply.status, status, "{request:?}: {reply:?}");
        wire.read_to_end();
    }
    assert_eq!(gateway.exchange("GET /last HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert!(next(&seen).starts_with("GET /last "), "the first that arrived");
}

#[test]
fn an_answer_keeps_two_cookies_and_loses_the_hop() {
    let service = Service::answering(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: s\r\nX-Powered-By: p\r\n\
         Keep-Alive: timeout=5\r\ncontent-length: 2\r\n\r\nok",
    );
    let gateway = Gateway::start(&[service.address], "");
    let reply = gateway.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(reply.has("set-cookie: a=1") && reply.has("set-cookie: b=2"), "{reply:?}");
    for gone in ["server:", "x-powered-by:", "keep-alive:"] {
        assert!(!reply.head.contains(gone), "{reply:?}");
    }
}

#[test]
fn an_upgrade_request_is_forwarded_without_its_upgrade() {
    let (service, seen) = recording();
    let gateway = Gateway::start(&[service.address], "");
    let reply = gateway.exchange(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(reply.status, 200);
    let head = next(&seen).to_ascii_lowercase();
    assert!(!head.contains("\r\nupgrade") && !head.contains("\r\nconnection"), "{head}");
}

#[test]
fn a_request_without_host_gets_the_endpoints() {
    let (service, seen) = recording();
    let gateway = Gateway::start(&[service.address], "");
    assert_eq!(gateway.exchange("GET / HTTP/1.0\r\n\r\n").status, 200);
    let expected = format!("host: {}", service.address);
    let head = next(&seen);
    assert!(head.lines().any(|line| line == expected), "{head}");
}
