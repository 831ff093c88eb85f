//! Both directions flow as they come, and no faster than they are read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use crate::harness::{Gateway, PATIENCE, Service, next};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn the_service_has_the_first_chunk_before_the_client_sends_the_second() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        for text in ["first", "second"] {
            wire.read_until(text);
            report.send(text).unwrap();
        }
        wire.read_until("0\r\n\r\n");
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Gateway::start(&[service.address], "");
    let mut wire = gateway.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(next(&seen), "first");
    wire.send("6\r\nsecond\r\n");
    assert_eq!(next(&seen), "second");
    wire.send("0\r\n\r\n");
    assert_eq!(wire.read_reply(false).body, "ok");
}

#[test]
fn an_event_reaches_the_client_before_the_next_one_exists() {
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        for event in ["8\r\ndata: 1\n\r\n", "8\r\ndata: 2\n\r\n", "0\r\n\r\n"] {
            next(&may_go_on.lock().unwrap());
            wire.send(event);
        }
    });
    let gateway = Gateway::start(&[service.address], "");
    let mut wire = gateway.connect();
    wire.send(GET);
    assert!(wire.read_head().contains("content-type: text/event-stream"), "the head comes before any event");
    for event in ["data: 1\n", "data: 2\n", "0\r\n\r\n"] {
        go_on.send(()).unwrap();
        wire.read_until(event);
    }
}

#[test]
fn both_directions_flow_at_once() {
    let service = Service::start(|mut wire, _| {
        wire.read_head();
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while let Some(chunk) = wire.try_read_until("!\r\n") {
            let word = chunk.split("\r\n").nth(1).unwrap().to_owned();
            wire.send(format!("{:x}\r\n{word}\r\n", word.len()));
        }
    });
    let gateway = Gateway::start(&[service.address], "");
    let mut wire = gateway.connect();
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.read_head();
    for word in ["one!", "three!", "ten!"] {
        wire.send(format!("{:x}\r\n{word}\r\n", word.len()));
        wire.read_until(word);
    }
}

#[test]
fn an_answer_during_the_upload_is_delivered_and_ends_the_connection_to_the_service() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, n| {
        wire.read_head();
        if n == 0 {
            wire.send("HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nstop");
            report.send(String::from_utf8(wire.read_to_end()).unwrap()).unwrap();
        } else {
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let gateway = Gateway::start(&[service.address], "");
    let reply = gateway.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\npart");
    assert_eq!((reply.status, &*reply.body), (413, "stop"));
    assert_eq!(next(&seen), "part", "closed after what the client had sent");
    assert_eq!(gateway.exchange(GET).status, 200);
    assert_eq!(service.n_connections(), 2);
}

const TOTAL: usize = 96 * 1024 * 1024;
/// Far above what the kernel's buffers of two connections take, far below the total.
const BOUND: usize = TOTAL / 2;

/// Writes up to [`TOTAL`] bytes and stops when nobody reads for a while.
fn write_until_blocked(stream: &mut TcpStream) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
    let block = [b'x'; 64 * 1024];
    let mut n_bytes = 0;
    while n_bytes < TOTAL {
        match stream.write(&block[..block.len().min(TOTAL - n_bytes)]) {
            Ok(n) => n_bytes += n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    n_bytes
}

fn write_rest(stream: &mut TcpStream, mut n_bytes: usize) {
    let block = [b'x'; 64 * 1024];
    while n_bytes < TOTAL {
        n_bytes += stream.write(&block[..block.len().min(TOTAL - n_bytes)]).unwrap();
    }
}

/// Reads what is left of [`TOTAL`] after `n_bytes`.
fn read_total(stream: &mut TcpStream, mut n_bytes: usize) {
    let mut block = vec![0; 256 * 1024];
    while n_bytes < TOTAL {
        match stream.read(&mut block).unwrap() {
            0 => panic!("ended after {n_bytes} bytes"),
            n => n_bytes += n,
        }
    }
}

#[test]
fn a_client_that_does_not_read_stops_the_service() {
    let (report, seen) = mpsc::channel();
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n"));
        let mut stream = wire.stream().try_clone().unwrap();
        let n_bytes = write_until_blocked(&mut stream);
        report.send(n_bytes).unwrap();
        write_rest(&mut stream, n_bytes);
    });
    let gateway = Gateway::start(&[service.address], "");
    let mut wire = gateway.connect();
    wire.send(GET);
    assert!(next(&seen) < BOUND);
    wire.read_head();
    let n_bytes = wire.take_buffered().len();
    let mut stream = wire.stream().try_clone().unwrap();
    read_total(&mut stream, n_bytes);
}

#[test]
fn a_service_that_does_not_read_stops_the_client() {
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let service = Service::start(move |mut wire, _| {
        wire.read_head();
        next(&may_go_on.lock().unwrap());
        let n_bytes = wire.take_buffered().len();
        let mut stream = wire.stream().try_clone().unwrap();
        read_total(&mut stream, n_bytes);
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let gateway = Gateway::start(&[service.address], "body_limit_bytes = 0");
    let mut wire = gateway.connect();
    wire.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {TOTAL}\r\n\r\n"));
    let mut stream = wire.stream().try_clone().unwrap();
    let n_bytes = write_until_blocked(&mut stream);
    assert!(n_bytes < BOUND, "{n_bytes}");
    go_on.send(()).unwrap();
    write_rest(&mut stream, n_bytes);
    assert_eq!(wire.read_reply(false).body, "ok");
}
