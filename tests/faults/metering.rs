//! Usage that is posted, and calls that the gateway counts, while everything is killed again and again: the sum is what was
//! acknowledged and answered, to the unit.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::upstream::{REPORTED, TOKENS};
use super::wire::{Call, Client, Failure};
use super::world::{Server, Tokens, World, free_address, wait_until};

/// Rounds; in each something is killed.
const ROUNDS: usize = 24;
/// Threads that post.
const POSTERS: usize = 4;

/// Callers of each kind of call.
const CALLERS: usize = 2;

/// Routes whose calls are counted, and limits that are never reached but under which usage is set aside before each call.
const ROUTES: &str = r#"
[meters.named_calls]
[meters.plain_calls]
[meters.reported_units]
[meters.limited_calls]
[meters.model_tokens]
[plans.free.meters.limited_calls]
hard_limit = 1000000000
[plans.free.meters.model_tokens]
hard_limit = 1000000000
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
[[gateway.routes]]
prefix = "/reported"
upstreams = ["http://UPSTREAM"]
strip_prefix = true
usage_header = ["reported_units"]
[[gateway.routes]]
prefix = "/limited"
upstreams = ["http://UPSTREAM"]
strip_prefix = true
meter = "limited_calls"
meter_quantity = 2
idempotency_key = true
[[gateway.routes]]
prefix = "/model"
upstreams = ["http://UPSTREAM"]
strip_prefix = true
upstream_path = "/v1"
kind = "openai"
meter = "model_tokens"
provider_secret = "openai"
"#;

/// How the gateway comes to count a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By the piece; the caller names the call.
    Named,
    /// By the piece, without a name.
    Plain,
    /// By what the service says that it used, under a name of the service's.
    Reported,
    /// By the piece under a hard limit, so that usage is set aside before; the caller names the call.
    Limited,
    /// By the tokens of the answer, under a hard limit, without a name.
    Model,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Named, Self::Plain, Self::Reported, Self::Limited, Self::Model];

    fn meter(self) -> &'static str {
        match self {
            Self::Named => "named_calls",
            Self::Plain => "plain_calls",
            Self::Reported => "reported_units",
            Self::Limited => "limited_calls",
            Self::Model => "model_tokens",
        }
    }

    /// What one call is of its meter.
    fn quantity(self) -> i64 {
        match self {
            Self::Named | Self::Plain => 1,
            Self::Reported => REPORTED,
            Self::Limited => 2,
            Self::Model => TOKENS,
        }
    }

    /// Whether a call has a name, so that it counts once however often it is repeated.
    fn is_named(self) -> bool {
        matches!(self, Self::Named | Self::Reported | Self::Limited)
    }

    /// Whether usage is set aside before a call.
    fn is_limited(self) -> bool {
        matches!(self, Self::Limited | Self::Model)
    }

    /// A new call.
    fn call(self) -> Call {
        let name = uuid::Uuid::new_v4().to_string();
        let post = |path, body| Call::post("acme.localhost", path, &body);
        match self {
            Self::Named => post("/named/fast", json!({})).header("Idempotency-Key", name),
            Self::Plain => Call::get("acme.localhost", "/plain/fast"),
            Self::Reported => Call::get("acme.localhost", &format!("/reported/used/{name}")),
            // It takes its time, so that a kill finds usage that is set aside for it.
            Self::Limited => post("/limited/pause", json!({})).header("Idempotency-Key", name),
            Self::Model => post("/model/chat/completions", json!({ "model": "m", "messages": [], "max_tokens": 100 })),
        }
    }
}

/// What callers of the gateway saw.
#[derive(Default)]
struct Called {
    /// Calls that were answered in the end.
    n_answered: i64,
    /// Attempts that were sent and whose answer never came: they may have been counted.
    n_broken: i64,
}

/// Calls until told to stop. What has a name is repeated until it is answered, and sometimes once more.
fn caller(address: SocketAddr, token: String, told: Arc<Told>, kind: Kind) -> JoinHandle<Called> {
    thread::spawn(move || {
        let (mut client, mut called) = (Client::new(address), Called::default());
        while !told.stop.load(SeqCst) {
            let call = kind.call().bearer(&token);
            // A kill seldom comes between the counting and the answer: some are repeated as if it had.
            let mut n_answers = if kind.is_named() && uuid::Uuid::new_v4().as_bytes()[0] < 64 { 2 } else { 1 };
            loop {
                client.let_go_if_closed();
                match client.send(&call) {
                    Ok(answer) if answer.status == 200 => {
                        n_answers -= 1;
                        if n_answers == 0 {
                            called.n_answered += 1;
                            break;
                        }
                    }
                    // Refused before it reached the service.
                    Ok(answer) => assert_eq!(answer.status, 503, "{kind:?}: {}", answer.text()),
                    Err(Failure::Broken(_)) => called.n_broken += 1,
                    // Nothing was sent.
                    Err(Failure::Refused(_)) => {}
                }
                thread::sleep(Duration::from_millis(5));
                if !kind.is_named() {
                    break;
                }
            }
            // Some hundred calls a second are enough, and leave the machine to the others.
            thread::sleep(Duration::from_millis(10));
        }
        called
    })
}

fn add(called: Vec<JoinHandle<Called>>) -> Called {
    called.into_iter().map(|caller| caller.join().unwrap()).fold(Called::default(), |sum, called| Called {
        n_answered: sum.n_answered + called.n_answered,
        n_broken: sum.n_broken + called.n_broken,
    })
}

/// What must have been counted of a kind of call.
struct Expected {
    kind: Kind,
    /// From here.
    least: i64,
    /// To here: the same where calls have names, else with what nobody was told of.
    most: i64,
}

impl Expected {
    /// By what the callers saw.
    fn of(kind: Kind, called: &Called) -> Self {
        let Called { n_answered, n_broken } = called;
        eprintln!("{kind:?}: {n_answered} answered, {n_broken} broken off");
        assert!(*n_answered > 0 && *n_broken > 0, "{kind:?}: the kills hit nobody");
        // Each kill breaks off what a caller is at, and no more; or else what was not told of would excuse every figure.
        assert!(*n_broken <= (CALLERS * ROUNDS) as i64, "{kind:?}: {n_broken} were broken off in {ROUNDS} rounds");
        let least = n_answered * kind.quantity();
        let unknown = if kind.is_named() { 0 } else { n_broken * kind.quantity() };
        Self { kind, least, most: least + unknown }
    }

    fn check(&self, server: &Server, tokens: &Tokens) {
        let Self { kind, least, most } = self;
        let used = usage(server, tokens, kind.meter())["used"].as_i64().unwrap();
        assert!((*least..=*most).contains(&used), "{kind:?}: {used} counted, expected {least} to {most}");
    }
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

/// Stores acme's key for the model, and waits until the gateway has it.
fn put_provider_key(world: &World, server: &Server) {
    let mut command = world.command(&server.config, &["secret", "put", "acme", "openai"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"sk-secret").unwrap();
    assert!(child.wait().unwrap().success());
    let tokens = server.login("acme");
    // Costs no tokens.
    let models = Call::get("acme.localhost", "/model/models").bearer(&tokens.access);
    wait_until("the gateway has the key", || (server.call(&models).status == 200).then_some(()));
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
    put_provider_key(&world, &server);
    let told = Arc::new(Told::default());
    let posters: Vec<_> = (0..POSTERS).map(|_| poster(address, tokens.access.clone(), Arc::clone(&told))).collect();
    let callers =
        |kind| (0..CALLERS).map(|_| caller(address, tokens.access.clone(), Arc::clone(&told), kind)).collect();
    let calling: Vec<(Kind, Vec<_>)> = Kind::ALL.map(|kind| (kind, callers(kind))).into();
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
    let (sum, n_events, n_duplicates) =
        (told.sum.load(SeqCst), told.n_events.load(SeqCst), told.n_duplicates.load(SeqCst));
    eprintln!(
        "{n_events} events acknowledged, {n_duplicates} of them known from a lost answer; {} attempts failed",
        told.n_failed.load(SeqCst)
    );
    assert!(n_duplicates > 0, "no kill came between a commit and its answer");
    let expected: Vec<Expected> = calling.into_iter().map(|(kind, called)| Expected::of(kind, &add(called))).collect();
    // What the processes left behind is counted by the last one.
    for Expected { kind, least, most: _ } in &expected {
        wait_until("every answered call is counted", || {
            usage(&server, &tokens, kind.meter())["used"].as_i64().filter(|used| used >= least)
        });
    }
    // Stopped, it has settled everything; then nothing may have come on top.
    server.signal(Signal::SIGTERM);
    server.wait_exit();
    let mut server = start();
    // What is set aside still was so for calls that were killed: their time is over one day, and then it is given back.
    let reserved = |server: &Server, kind: Kind| usage(server, &tokens, kind.meter())["reserved"].as_i64().unwrap();
    assert!(reserved(&server, Kind::Limited) > 0, "no kill hit a call for which usage was set aside");
    world.as_superuser(
        "UPDATE billing.quota_reservations SET expires_at = now(); DELETE FROM platform.job_runs WHERE job = 'sweep_reservations'",
    );
    server.signal(Signal::SIGKILL);
    server.kill();
    let server = start();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_limited()) {
        wait_until("nothing is set aside", || (reserved(&server, kind) == 0).then_some(()));
    }
    for expected in expected {
        expected.check(&server, &tokens);
    }
    let usage = usage(&server, &tokens, "workflow_runs");
    assert_eq!(usage["used"], sum, "{usage}");
    let days: i64 = usage["days"].as_array().unwrap().iter().map(|day| day["quantity"].as_i64().unwrap()).sum();
    assert_eq!(days, sum, "{usage}");
}
