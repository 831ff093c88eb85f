//! SIGTERM: every request that was sent gets its whole answer.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::load::Load;
use super::upstream::STREAM_CHUNKS;
use super::wire::{Call, Client, Failure};
use super::world::{World, wait_until};
use crate::support::is_running;

#[test]
fn sigterm_under_load_loses_no_request_and_stops_everything_in_order() {
    let world = World::new();
    let mut server = world.start();
    let tenant = server.onboard("acme");
    let token = server.login("acme").access;
    let call = |path: &str| Call::get(&tenant.host(), path).bearer(&token);
    let mut calls = vec![call("/crm/fast"); 6];
    calls.extend(vec![call("/crm/slow"); 4]);
    calls.extend(vec![call("/crm/stream"); 2]);
    calls.extend(vec![call("/auth/me"); 2]);
    let busy = Load::start(server.public, calls, Duration::ZERO);
    // Idle between its requests more often than not: these meet the server while it closes what is idle.
    let now_and_then = Load::start(server.public, vec![call("/crm/fast"); 6], Duration::from_millis(70));
    // A client that opens a connection for each request.
    let fresh = call("/crm/fast").header("connection", "close");
    let fresh = Load::start(server.public, vec![fresh; 3], Duration::ZERO);
    busy.wait_for(400);

    let postmaster = world.postmaster().unwrap();
    let asked = Instant::now();
    server.signal(Signal::SIGTERM);
    let mut outcomes = busy.join();
    outcomes.0.extend(now_and_then.join().0);
    outcomes.0.extend(fresh.join().0);
    let drained = asked.elapsed();
    let status = server.wait_exit();
    eprintln!(
        "{} answers, all connections closed {drained:?} after SIGTERM, ended after {:?}",
        outcomes.n(200),
        asked.elapsed()
    );

    assert_eq!(outcomes.others(&[200]), Vec::<String>::new());
    for outcome in &outcomes.0 {
        if let (Ok(answer), "/crm/stream") = (&outcome.result, outcome.path.as_str()) {
            assert_eq!(answer.body.len(), STREAM_CHUNKS * "chunk".len());
        }
    }
    assert_eq!(outcomes.refused(), 23, "each client ends by being refused");
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(!is_running(postmaster));
    assert!(!server.log().contains("ERROR"), "{}", server.log());
    drop(server);

    let again = world.start();
    assert_eq!(again.call(&call("/crm/fast")).status, 200);
    let log = world.postgres_log();
    assert!(!log.contains("automatic recovery") && !log.contains("not properly shut down"), "{log}");
}

#[test]
fn a_request_that_meets_the_drain_on_an_idle_connection_is_answered_and_told_to_go() {
    let world = World::new();
    let mut server = world.start();
    let mut idle = Client::new(server.public);
    assert_eq!(idle.send(&Call::get("localhost", "/healthz")).unwrap().header("connection"), None);
    let mut silent = Client::new(server.public);
    silent.connect().unwrap();
    // The silent one has been accepted when this answer is there.
    assert_eq!(server.call(&Call::get("localhost", "/healthz")).status, 200);

    server.signal(Signal::SIGTERM);
    wait_until("new connections are refused", || {
        matches!(Client::new(server.public).connect(), Err(Failure::Refused(_))).then_some(())
    });
    for client in [&mut idle, &mut silent] {
        let answer = client.send(&Call::get("localhost", "/healthz")).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(server.wait_exit().code(), Some(0));
}
