//! Services and clients that break off, stall, or were never there.

use std::sync::mpsc;
use std::time::Duration;

use crate::harness::{Gateway, Service, next, refusing};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_service_that_closes_idle_connections_costs_no_request() {
    let service = Service::start(|mut wire, _| {
        wire.read_head();
        wire.send(OK);
        wire.close();
    });
    let gateway = Gateway::start(&[service.address], "retries = 0");
    let mut wire = gateway.connect();
    for n in 0..200 {
        wire.send(GET);
        let reply = wire.read_reply(false);
        assert_eq!((reply.status, &*reply.body), (200, "ok"), "request {n}");
    }
    assert_eq!(service.n_connections(), 200);
}

#[test]
fn one_connection_serves_many_requests() {
    let service = Service::answering(OK);
    let gateway = Gateway::start(&[service.address], "");
    for _ in 0..20 {
        assert_eq!(gateway.exchange(GET).body, "ok");
    }
    assert_eq!(service.n_connections(), 1);
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        wire.send(OK);
        report.send(wire.read_to_end()).unwrap();
    });
    let gateway = Gateway::start_with(&[service.address], "", Duration::from_millis(50));
    assert_eq!(gateway.exchange(GET).body, "ok");
    assert_eq!(next(&seen), b"");
}

#[test]
fn a_client_that_leaves_ends_the_exchange_with_the_service() {
    for answer in ["", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let (report, seen) = mpsc::channel();
        let service = Service::start(move |mut wire, _| {
            wire.read_head();
            wire.send(answer);
            report.send(Vec::new()).unwrap();
            report.send(wire.read_to_end()).unwrap();
        });
        let gateway = Gateway::start(&[service.address], "");
        let mut wire = gateway.connect();
        wire.send(GET);
        next(&seen);
        if !answer.is_empty() {
            wire.read_until("abc");
        }
        wire.close();
        assert_eq!(next(&seen), b"", "{answer:?}: the connection ends");
    }
}

#[test]
fn a_client_that_leaves_during_its_upload_ends_the_exchange_with_the_service() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        wire.read_until("part\r\n");
        report.send(Vec::new()).unwrap();
        report.send(wire.read_to_end()).unwrap();
    });
    let gateway = Gateway::start(&[service.address], "");
    let mut wire = gateway.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
    next(&seen);
    wire.close();
    assert_eq!(next(&seen), b"", "no end of chunks that would make the part look whole");
}

#[test]
fn a_service_that_hangs_is_a_timeout_and_its_connection_is_closed() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        report.send(wire.read_to_end()).unwrap();
    });
    let gateway = Gateway::start(&[service.address], "first_byte_timeout_ms = 50");
    for request in [GET, POST] {
        let reply = gateway.exchange(request);
        assert_eq!((reply.status, &*reply.body), (504, "FirstByteTimeout"));
        next(&seen);
    }
    assert_eq!(service.n_connections(), 2, "no retry");
}

#[test]
fn a_slow_upload_is_not_a_slow_service() {
    let service = Service::start(|mut wire, _| {
        wire.read_head();
        wire.read_until("0\r\n\r\n");
        wire.send(OK);
    });
    let gateway = Gateway::start(&[service.address], "first_byte_timeout_ms = 3000");
    let mut wire = gateway.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    // Longer than the timeout in total: the pauses are what is tested.
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(600));
        wire.send("1\r\nx\r\n");
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.read_reply(false).status, 200);
}

#[test]
fn a_client_that_stalls_its_upload_is_told_so() {
    let service = Service::start(|mut wire, _| {
        wire.read_to_end();
    });
    let gateway = Gateway::start(&[service.address], "first_byte_timeout_ms = 30\nidle_timeout_ms = 90");
    let reply = gateway.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\npart");
    assert_eq!((reply.status, &*reply.body), (408, "ClientStalled"));
}

#[test]
fn an_answer_that_falls_silent_is_broken_off() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        report.send(wire.read_to_end()).unwrap();
    });
    let gateway = Gateway::start(&[service.address], "idle_timeout_ms = 50");
    let mut wire = gateway.connect();
    wire.send(GET);
    wire.read_until("abc");
    assert!(!wire.read_to_end().ends_with(b"0\r\n\r\n"), "a part must not look whole");
    assert_eq!(next(&seen), b"");
}

#[test]
fn a_truncated_answer_does_not_look_whole() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let service = Service::start(move |mut wire, _| {
            wire.read_head();
            wire.send(answer);
            wire.close();
        });
        let gateway = Gateway::start(&[service.address], "");
        let mut wire = gateway.connect();
        wire.send(GET);
        let bytes = wire.read_to_end();
        assert!(!bytes.ends_with(b"0\r\n\r\n"), "{answer:?}: {:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_service_that_is_not_there_is_a_bad_gateway() {
    let gateway = Gateway::start(&[refusing()], "");
    for request in [GET, POST] {
        let reply = gateway.exchange(request);
        assert_eq!((reply.status, &*reply.body), (502, "ConnectFailed"));
    }
}

#[test]
fn a_request_goes_to_the_second_endpoint_when_the_first_refuses() {
    let service = Service::start(|mut wire, _| {
        while let Some(head) = wire.try_read_until("\r\n\r\n") {
            if head.starts_with("POST") {
                wire.read_exact(2);
            }
            wire.send(OK);
        }
    });
    let gateway = Gateway::start(&[refusing(), service.address], "");
    let mut retries = 0;
    for request in [GET, POST].iter().cycle().take(60) {
        let reply = gateway.exchange(request);
        assert_eq!((reply.status, &*reply.body), (200, "ok"));
        retries += usize::from(reply.has("x-test-retries: 1"));
    }
    assert!((1..=5).contains(&retries), "found out and then left alone, not {retries} retries");
}

#[test]
fn only_what_may_be_repeated_is_sent_again_after_a_reset() {
    for (request, n_connections) in [
        (GET, 2),
        ("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 1),
        (POST, 1),
    ] {
        let service = Service::start(|mut wire, _| {
            wire.read_head();
            wire.close();
        });
        let gateway = Gateway::start(&[service.address], "retries = 1");
        let reply = gateway.exchange(request);
        assert_eq!((reply.status, &*reply.body), (502, "UpstreamReset"), "{request:?}");
        assert_eq!(service.n_connections(), n_connections, "{request:?}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_a_bad_gateway() {
    for answer in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    ] {
        let service = Service::answering(answer);
        let gateway = Gateway::start(&[service.address], "");
        let reply = gateway.exchange(GET);
        assert_eq!((reply.status, &*reply.body), (502, "UpstreamProtocol"), "{answer:?}");
    }
}

#[test]
fn more_than_was_announced_ends_the_connection_to_the_service() {
    let service = Service::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    );
    let gateway = Gateway::start(&[service.address], "");
    let mut wire = gateway.connect();
    for n in 1..=3 {
        wire.send(GET);
        assert_eq!(wire.read_reply(false).body, "ok");
        assert_eq!(service.n_connections(), n);
    }
}

#[test]
fn a_body_above_the_limit_is_refused_before_or_while_it_comes() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, n| {
        let head = wire.read_head();
        if head.starts_with("get") {
            wire.send(OK);
        } else {
            let first = wire.read_until("x\r\n").len();
            report.send((n, first)).unwrap();
            report.send((n, first + wire.read_to_end().len())).unwrap();
        }
    });
    let gateway = Gateway::start(&[service.address], "body_limit_bytes = 1000");
    let reply = gateway.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!((reply.status, &*reply.body), (413, "BodyTooLarge"));
    assert_eq!(service.n_connections(), 0, "nothing reached the service");

    let chunk = format!("200\r\n{}\r\n", "x".repeat(0x200));
    let mut wire = gateway.connect();
    wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
    assert_eq!(next(&seen), (0, chunk.len()));
    wire.send(&chunk);
    let reply = wire.read_reply(false);
    assert_eq!((reply.status, &*reply.body), (413, "BodyTooLarge"));
    assert_eq!(next(&seen), (0, chunk.len()), "no more than that, and the connection ends");
    assert_eq!(gateway.exchange(GET).body, "ok");
    assert_eq!(service.n_connections(), 2, "the cut-off connection is not used again");
}
