//! SIGKILL of the server, alone and together with PostgreSQL: what was acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::load::Load;
use super::wire::{Call, Client};
use super::world::{Server, Tokens, World, onboarding, refreshing, signing_in, wait_until};

/// Rounds of killing while tenants are being made.
const ROUNDS: usize = 10;

/// What the makers of one round were told.
#[derive(Default)]
struct Made {
    acknowledged: Vec<String>,
    /// Asked for, and no answer came.
    unknown: Vec<String>,
}

/// Makes tenants from several threads, each until its connection breaks.
fn make_tenants(server: &Server, round: usize) -> Vec<thread::JoinHandle<Made>> {
    let address = server.public;
    let maker = move |maker: usize| {
        let mut made = Made::default();
        let mut client = Client::new(address);
        for n in 0.. {
            let slug = format!("r{round}-m{maker}-n{n}");
            match client.send(&onboarding(&slug)) {
                Ok(answer) => {
                    assert_eq!(answer.status, 201, "{}", answer.text());
                    made.acknowledged.push(slug);
                }
                Err(_broken) => {
                    made.unknown.push(slug);
                    break;
                }
            }
        }
        made
    };
    (0..4).map(|n| thread::spawn(move || maker(n))).collect()
}

/// Starts a server and tells how long PostgreSQL was ready before the first request was answered.
fn restart(world: &World) -> (Server, Duration) {
    let server = world.spawn();
    wait_until("PostgreSQL is ready", || server.log().contains("PostgreSQL accepts connections").then_some(()));
    let ready = Instant::now();
    let mut client = Client::new(server.public);
    wait_until("the first answer", || {
        // A real one: it needs a tenant, its keys and the database.
        let answer = client.send(&Call::get("first.localhost", "/.well-known/jwks.json"));
        answer.ok().filter(|answer| answer.status == 200)
    });
    (server, ready.elapsed())
}

#[test]
fn sigkill_of_the_server_loses_nothing_that_was_acknowledged() {
    let world = World::new();
    let mut server = world.start();
    server.onboard("first");
    let tokens = server.login("first");
    let mut refresh = tokens.refresh;
    let postmaster = world.postmaster();
    let (mut n_acknowledged, mut n_whole, mut n_absent) = (0, 0, 0);
    for round in 0..ROUNDS {
        let calls = vec![Call::get("first.localhost", "/crm/fast").bearer(&tokens.access); 2];
        let traffic = Load::start(server.public, calls, Duration::ZERO);
        let makers = make_tenants(&server, round);
        traffic.wait_for(20);
        // Random enough: wherever the makers happen to be.
        let nap = 100 + 4 * u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
        thread::sleep(Duration::from_millis(nap));
        server.signal(Signal::SIGKILL);
        server.kill();
        traffic.finish();
        let mut made = Made::default();
        for maker in makers {
            let Made { acknowledged, unknown } = maker.join().unwrap();
            made.acknowledged.extend(acknowledged);
            made.unknown.extend(unknown);
        }

        let (again, took) = restart(&world);
        server = again;
        assert_eq!(world.postmaster(), postmaster, "PostgreSQL was adopted");
        eprintln!("round {round}: first answer {took:?} after PostgreSQL was ready; {} made", made.acknowledged.len());
        assert_eq!(server.call(&Call::get("first.localhost", "/auth/me").bearer(&tokens.access)).status, 200);
        let answer = server.call(&refreshing("first", &refresh));
        assert_eq!(answer.status, 200, "{}", answer.text());
        refresh = Tokens::of(&answer.json()).refresh;
        for slug in &made.acknowledged {
            server.login(slug);
        }
        n_acknowledged += made.acknowledged.len();
        for slug in made.unknown {
            let answer = server.call(&signing_in(&slug));
            match answer.status {
                200 => n_whole += 1,
                404 => {
                    n_absent += 1;
                    // Not even its name is taken.
                    assert_eq!(server.call(&onboarding(&slug)).status, 201);
                }
                other => panic!("{slug} is there in part: {other} {}", answer.text()),
            }
        }
    }
    eprintln!("{n_acknowledged} acknowledged; of the others {n_whole} whole, {n_absent} absent");
    assert!(n_acknowledged > 0);
}

#[test]
fn sigkill_of_server_and_postgresql_at_once_is_recovered_by_the_next_start() {
    let world = World::new();
    let mut server = world.start();
    server.onboard("first");
    let tokens = server.login("first");
    let makers = make_tenants(&server, 0);
    wait_until("some tenants are made", || (server.metric("http_requests_total", "onboard") >= 8.0).then_some(()));
    let victims: BTreeSet<i32> = world.postgres_processes().into_iter().collect();
    server.signal(Signal::SIGKILL);
    // Every process of it, as when the machine loses power.
    for pid in &victims {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL).ok();
    }
    server.kill();
    let made: Vec<Made> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();

    let (server, took) = restart(&world);
    eprintln!("first answer {took:?} after PostgreSQL was ready");
    assert!(world.postgres_log().contains("automatic recovery"), "it was killed, not stopped");
    assert_eq!(server.call(&Call::get("first.localhost", "/auth/me").bearer(&tokens.access)).status, 200);
    assert_eq!(server.call(&refreshing("first", &tokens.refresh)).status, 200);
    let acknowledged: Vec<_> = made.iter().flat_map(|made| &made.acknowledged).collect();
    assert!(!acknowledged.is_empty());
    for slug in acknowledged {
        server.login(slug);
    }
}
