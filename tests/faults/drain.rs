//! SIGTERM: every request that was sent gets its whole answer.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::load::{Load, Outcomes};
use super::upstream::STREAM_CHUNKS;
use super::wire::{Call, Client, Failure};
use super::world::{PATIENT_WITH_THE_DISK, Server, World, free_address, wait_until};
use crate::support::is_running;

const N_CLIENTS: usize = 23;

/// All kinds of clients at once.
struct Clients {
    busy: Load,
    /// Idle between its requests more often than not: these meet the server while it closes what is idle.
    now_and_then: Load,
    /// Opens a connection for each request.
    fresh: Load,
}

impl Clients {
    fn start(address: SocketAddr, call: impl Fn(&str) -> Call) -> Self {
        let mut calls = vec![call("/crm/fast"); 6];
        calls.extend(vec![call("/crm/slow"); 4]);
        calls.extend(vec![call("/crm/stream"); 2]);
        calls.extend(vec![call("/auth/me"); 2]);
        let fresh = call("/crm/fast").header("connection", "close");
        Self {
            busy: Load::start(address, calls, Duration::ZERO),
            now_and_then: Load::start(address, vec![call("/crm/fast"); 6], Duration::from_millis(70)),
            fresh: Load::start(address, vec![fresh; 3], Duration::ZERO),
        }
    }

    /// Waits for so many more answers to each kind.
    fn wait_for_each(&self, n: usize) {
        for load in [&self.busy, &self.now_and_then, &self.fresh] {
            load.wait_for(n);
        }
    }

    fn end(self, how: impl Fn(Load) -> Outcomes) -> Outcomes {
        let [mut all, more, most] = [self.busy, self.now_and_then, self.fresh].map(how);
        all.0.extend(more.0);
        all.0.extend(most.0);
        all
    }
}

fn assert_streams_are_whole(outcomes: &Outcomes) {
    for outcome in &outcomes.0 {
        if let (Ok(answer), "/crm/stream") = (&outcome.result, outcome.path.as_str()) {
            assert_eq!(answer.body.len(), STREAM_CHUNKS * "chunk".len());
        }
    }
}

/// The server has nothing to complain of, nor says that it had to reset anybody.
fn assert_quiet(server: &Server) {
    let log = server.log();
    assert!(!log.contains("ERROR") && !log.contains("reset") && !log.contains("cut off"), "{log}");
}

#[test]
fn sigterm_under_load_loses_no_request_and_stops_everything_in_order() {
    let world = World::new();
    let mut server = world.spawn_with(&PATIENT_WITH_THE_DISK);
    server.wait_ready();
    let tenant = server.onboard("acme");
    let token = server.login("acme").access;
    let call = |path: &str| Call::get(&tenant.host(), path).bearer(&token);
    let clients = Clients::start(server.public, call);
    clients.busy.wait_for(400);

    let postmaster = world.postmaster().unwrap();
    let asked = Instant::now();
    server.signal(Signal::SIGTERM);
    let outcomes = clients.end(Load::join);
    let drained = asked.elapsed();
    let status = server.wait_exit();
    eprintln!(
        "{} answers, all connections closed {drained:?} after SIGTERM, ended after {:?}",
        outcomes.n(200),
        asked.elapsed()
    );

    assert_eq!(outcomes.others(&[200]), Vec::<String>::new());
    assert_streams_are_whole(&outcomes);
    assert_eq!(outcomes.refused(), N_CLIENTS, "each client ends by being refused");
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(!is_running(postmaster));
    assert_quiet(&server);
    let log = server.log();
    eprintln!("{}", log.lines().find(|line| line.contains("the port is closed")).unwrap());
    drop(server);

    let again = world.start();
    assert_eq!(again.call(&call("/crm/fast")).status, 200);
    let log = world.postgres_log();
    assert!(!log.contains("automatic recovery") && !log.contains("not properly shut down"), "{log}");
}

#[test]
fn a_restart_on_a_socket_that_somebody_else_holds_refuses_nobody_and_loses_nothing() {
    let world = World::new();
    let socket = TcpListener::bind(free_address()).unwrap();
    let mut server = world.spawn_on(&socket);
    server.wait_ready();
    let tenant = server.onboard("acme");
    let token = server.login("acme").access;
    let clients = Clients::start(server.public, |path| Call::get(&tenant.host(), path).bearer(&token));
    clients.wait_for_each(100);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    assert_quiet(&server);
    let mut successor = world.spawn_on(&socket);
    successor.wait_ready();
    clients.wait_for_each(100);
    let outcomes = clients.end(Load::finish);
    eprintln!("{} answers over a restart, the slowest after {:?}", outcomes.n(200), outcomes.longest());

    assert_eq!(outcomes.others(&[200]), Vec::<String>::new());
    assert_eq!(outcomes.refused(), 0, "the port was never closed");
    assert_streams_are_whole(&outcomes);
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
