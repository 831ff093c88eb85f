//! Every way an answer can end.

use crate::harness::{Gateway, Service};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn an_answer_arrives_whole_however_it_is_framed() {
    for (request, answer, status, body, line) in [
        (GET, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 200, "hello", "content-length: 5"),
        (GET, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, "", "content-length: 0"),
        (
            GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nx-trailer: 1\r\n\r\n",
            200,
            "hello",
            "transfer-encoding: chunked",
        ),
        (
            GET,
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            200,
            "ok",
            "content-length: 2",
        ),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""),
        (GET, "HTTP/1.1 304 Not Modified\r\ncontent-length: 1234\r\netag: x\r\n\r\n", 304, "", "content-length: 1234"),
        (HEAD, "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", 200, "", "content-length: 1234"),
        (HEAD, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, "", ""),
        (GET, "HTTP/1.1 599 Odd\r\ncontent-length: 1\r\n\r\nx", 599, "x", "content-length: 1"),
    ] {
        let service = Service::answering(answer);
        let gateway = Gateway::start(&[service.address], "");
        let mut wire = gateway.connect();
        for _ in 0..3 {
            wire.send(request);
            let reply = wire.read_reply(request == HEAD);
            assert_eq!((reply.status, &*reply.body), (status, body), "{request:?} {answer:?}: {reply:?}");
            assert!(line.is_empty() || reply.has(line), "{request:?} {answer:?}: {reply:?}");
            assert!(!reply.head.contains("x-trailer") && !reply.head.contains("link:"), "{reply:?}");
        }
        assert_eq!(service.n_connections(), 1, "{answer:?}: the connection is used again");
    }
}

#[test]
fn an_answer_that_ends_with_the_connection_arrives_whole() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        let service = Service::start(move |mut wire, _| {
            wire.read_head();
            wire.send(head);
            wire.send("x".repeat(100_000));
            wire.send("end");
            wire.close();
        });
        let gateway = Gateway::start(&[service.address], "");
        let mut wire = gateway.connect();
        for n in 1..=2 {
            wire.send(GET);
            let reply = wire.read_reply(false);
            assert!(reply.has("transfer-encoding: chunked"), "{}", reply.head);
            assert_eq!((reply.body.len(), reply.body.ends_with("xend")), (100_003, true));
            assert_eq!(service.n_connections(), n);
        }
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let service =
        Service::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    let gateway = Gateway::start(&[service.address], "");
    let mut wire = gateway.connect();
    wire.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    let reply = wire.read_reply(false);
    assert!(!reply.head.contains("transfer-encoding"), "{}", reply.head);
    assert_eq!(reply.body, "hello");
}

#[test]
fn a_request_body_arrives_with_the_framing_it_had() {
    for (request, line, body) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "content-length: 5", "hello"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "content-length: 0", ""),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "content-length: 5", "hello"),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "hello",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "hello",
        ),
    ] {
        let service = Service::start(move |mut wire, _| {
            while let Some(head) = wire.try_read_until("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let body = if head.contains("chunked") {
                    let chunks = if body.is_empty() { String::new() } else { wire.read_until("0\r\n\r\n") };
                    chunks.split("\r\n").skip(1).step_by(2).collect()
                } else {
                    wire.read_exact(body.len())
                };
                let found = head.lines().filter(|found| *found == line).count();
                let text = format!("{found} {body}");
                wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()));
            }
        });
        let gateway = Gateway::start(&[service.address], "");
        let mut wire = gateway.connect();
        for _ in 0..2 {
            wire.send(request);
            assert_eq!(wire.read_reply(false).body, format!("1 {body}"), "{request:?}");
        }
        assert_eq!(service.n_connections(), 1, "{request:?}");
    }
}

#[test]
fn a_get_without_a_body_says_nothing_about_one() {
    let service = Service::start(|mut wire, _| {
        let head = wire.read_head();
        let clean = !head.contains("content-length") && !head.contains("transfer-encoding");
        wire.send(format!("HTTP/1.1 {} x\r\ncontent-length: 0\r\n\r\n", if clean { 200 } else { 500 }));
    });
    let gateway = Gateway::start(&[service.address], "");
    assert_eq!(gateway.exchange(GET).status, 200);
}
