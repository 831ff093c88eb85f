//! Usage that is posted while everything is killed again and again: the sum is what was acknowledged, to the unit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::wire::{Call, Client};
use super::world::{Server, Tokens, World, free_address, wait_until};

/// Rounds; in each something is killed.
const ROUNDS: usize = 24;
/// Threads that post.
const POSTERS: usize = 4;

/// What the posters were told.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    /// Quantities of acknowledged events.
    sum: AtomicI64,
    n_events: AtomicUsize,
    n_batches: AtomicUsize,
    /// Events that an earlier attempt had counted, though its answer was lost.
    n_duplicates: AtomicUsize,
    /// Attempts without an answer, or with 503.
    n_failed: AtomicUsize,
}

/// Posts batches, each until it is answered, with the same ids.
fn poster(address: SocketAddr, token: String, told: Arc<Told>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut client = Client::new(address);
        while !told.stop.load(SeqCst) {
            let [size, seed, ..] = *uuid::Uuid::new_v4().as_bytes();
            let (size, seed) = (1 + i64::from(size % 20), i64::from(seed));
            let event = |n| json!({ "id": uuid::Uuid::new_v4(), "meter": "workflow_runs", "quantity": seed + n });
            let events: Vec<Value> = (0..size).map(event).collect();
            let body = json!({ "events": events });
            let call = Call::post("acme.localhost", "/billing/usage/events", &body).bearer(&token);
            let answer = loop {
                match client.send(&call) {
                    Ok(answer) if answer.status == 200 => break answer,
                    Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
                    Err(_no_answer) => {}
                }
                told.n_failed.fetch_add(1, SeqCst);
                thread::sleep(Duration::from_millis(5));
            };
            for result in answer.json()["results"].as_array().unwrap() {
                match result["status"].as_str().unwrap() {
                    "accepted" => {}
                    "duplicate" => drop(told.n_duplicates.fetch_add(1, SeqCst)),
                    other => panic!("{other}: {}", answer.text()),
                }
            }
            told.sum.fetch_add((0..size).map(|n| seed + n).sum(), SeqCst);
            told.n_events.fetch_add(events.len(), SeqCst);
            told.n_batches.fetch_add(1, SeqCst);
        }
    })
}

fn kill_postgres(world: &World) {
    for pid in world.postgres_processes() {
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
}

fn usage(server: &Server, tokens: &Tokens) -> Value {
    let call = Call::get("acme.localhost", "/billing/usage?by=day").bearer(&tokens.access);
    let answer = server.call(&call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let meters = answer.json()["meters"].as_array().unwrap().clone();
    meters.into_iter().find(|meter| meter["meter"] == "workflow_runs").unwrap()
}

#[test]
fn whatever_is_killed_the_sum_of_usage_is_the_sum_of_what_was_acknowledged() {
    let world = World::new();
    let address = free_address();
    let start = || {
        let mut server = world.spawn_at(address, "", &[]);
        server.wait_ready();
        server
    };
    let mut server = start();
    server.onboard("acme");
    let tokens = server.login("acme");
    let told = Arc::new(Told::default());
    let posters: Vec<_> = (0..POSTERS).map(|_| poster(address, tokens.access.clone(), Arc::clone(&told))).collect();
    let mut n_server_kills = 0;
    for round in 0..ROUNDS {
        let goal = told.n_batches.load(SeqCst) + 10;
        wait_until("batches are acknowledged", || (told.n_batches.load(SeqCst) >= goal).then_some(()));
        // Random enough: wherever the posters happen to be.
        thread::sleep(Duration::from_micros(200 * u64::from(uuid::Uuid::new_v4().as_bytes()[0])));
        match round % 6 {
            2 => kill_postgres(&world),
            5 => {
                let victims = world.postgres_processes();
                server.signal(Signal::SIGKILL);
                for pid in victims {
                    kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
                }
                server.kill();
            }
            _ => {
                server.signal(Signal::SIGKILL);
                server.kill();
            }
        }
        if round % 6 != 2 {
            n_server_kills += 1;
            server = start();
        }
    }
    assert!(n_server_kills >= 20);
    told.stop.store(true, SeqCst);
    for poster in posters {
        poster.join().unwrap();
    }
    let (sum, n_events) = (told.sum.load(SeqCst), told.n_events.load(SeqCst));
    eprintln!(
        "{n_events} events acknowledged, {} of them known from a lost answer; {} attempts failed",
        told.n_duplicates.load(SeqCst),
        told.n_failed.load(SeqCst)
    );
    let usage = usage(&server, &tokens);
    assert_eq!(usage["used"], sum, "{usage}");
    let days: i64 = usage["days"].as_array().unwrap().iter().map(|day| day["quantity"].as_i64().unwrap()).sum();
    assert_eq!(days, sum, "{usage}");
}
