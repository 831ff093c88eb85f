//! Usage that is posted, and calls that the gateway counts, while everything is killed again and again: the sum is what was
//! acknowledged and answered, to the unit.

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

/// Routes whose calls are counted: one whose callers name their calls and repeat them, one whose callers do not.
const ROUTES: &str = r#"
[meters.named_calls]
[meters.plain_calls]
[[gateway.routes]]
prefix = "/named"
upstreams = ["http://UPSTREAM"]
strip_prefix = true
meter = "named_calls"
idempotency_key = true
[[gateway.routes]]
prefix = "/plain"
upstreams = ["http://UPSTREAM"]
strip_prefix = true
meter = "plain_calls"
"#;

/// What callers of the gateway saw.
#[derive(Default)]
struct Called {
    /// Calls that were answered in the end.
    n_answered: AtomicI64,
    /// Attempts whose answer never came: they may have been counted.
    n_lost: AtomicI64,
}

/// Calls until told to stop. With `names`, each call has a key and is repeated until it is answered.
fn caller(address: SocketAddr, token: String, told: Arc<Told>, names: bool) -> JoinHandle<Called> {
    thread::spawn(move || {
        let (mut client, called) = (Client::new(address), Called::default());
        let path = if names { "/named/fast" } else { "/plain/fast" };
        while !told.stop.load(SeqCst) {
            let call = if names {
                let key = uuid::Uuid::new_v4().to_string();
                Call::post("acme.localhost", path, &json!({})).header("Idempotency-Key", key)
            } else {
                Call::get("acme.localhost", path)
            };
            let call = call.bearer(&token);
            loop {
                match client.send(&call) {
                    Ok(answer) if answer.status == 200 => {
                        called.n_answered.fetch_add(1, SeqCst);
                        break;
                    }
                    // Refused before it reached the service.
                    Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
                    Err(_no_answer) => drop(called.n_lost.fetch_add(1, SeqCst)),
                }
                thread::sleep(Duration::from_millis(5));
                if !names {
                    break;
                }
            }
            // Some hundred calls a second are enough, and leave the machine to the others.
            thread::sleep(Duration::from_millis(2));
        }
        called
    })
}

fn add(called: Vec<JoinHandle<Called>>) -> (i64, i64) {
    called.into_iter().map(|caller| caller.join().unwrap()).fold((0, 0), |(answered, lost), called| {
        (answered + called.n_answered.into_inner(), lost + called.n_lost.into_inner())
    })
}

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

fn usage(server: &Server, tokens: &Tokens, name: &str) -> Value {
    let call = Call::get("acme.localhost", "/billing/usage?by=day").bearer(&tokens.access);
    let answer = server.call(&call);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let meters = answer.json()["meters"].as_array().unwrap().clone();
    meters.into_iter().find(|meter| meter["meter"] == name).unwrap()
}

#[test]
fn whatever_is_killed_the_sum_of_usage_is_the_sum_of_what_was_acknowledged() {
    let world = World::with(ROUTES);
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
    let callers = |names| (0..2).map(|_| caller(address, tokens.access.clone(), Arc::clone(&told), names)).collect();
    let (named, plain): (Vec<_>, Vec<_>) = (callers(true), callers(false));
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
    let (n_named, n_repeated) = add(named);
    let (n_plain, n_lost) = add(plain);
    eprintln!(
        "{n_named} named calls answered, {n_repeated} repeated; {n_plain} plain ones, {n_lost} without an answer"
    );
    assert!(n_named > 0 && n_repeated > 0 && n_plain > 0 && n_lost > 0, "the kills hit nobody");
    // What the processes left behind is counted by the last one.
    wait_until("every named call is counted", || {
        (usage(&server, &tokens, "named_calls")["used"] == n_named).then_some(())
    });
    wait_until("every plain call is counted", || {
        usage(&server, &tokens, "plain_calls")["used"].as_i64().filter(|used| *used >= n_plain)
    });
    // Stopped, it has settled everything; then nothing may have come on top.
    server.signal(Signal::SIGTERM);
    server.wait_exit();
    let server = start();
    assert_eq!(usage(&server, &tokens, "named_calls")["used"], n_named);
    let used = usage(&server, &tokens, "plain_calls")["used"].as_i64().unwrap();
    assert!((n_plain..=n_plain + n_lost).contains(&used), "{used} counted, {n_plain} answered, {n_lost} unknown");
    let usage = usage(&server, &tokens, "workflow_runs");
    assert_eq!(usage["used"], sum, "{usage}");
    let days: i64 = usage["days"].as_array().unwrap().iter().map(|day| day["quantity"].as_i64().unwrap()).sum();
    assert_eq!(days, sum, "{usage}");
}
