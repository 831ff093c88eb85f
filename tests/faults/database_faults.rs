//! PostgreSQL killed and frozen under a server that goes on.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::load::{Load, Outcomes};
use super::wire::{Call, Client};
use super::world::{Server, Tenant, Tokens, World, free_address, refreshing, signing_in, wait_until};

/// An answer that needs the database may take this long while there is none: the wait for a connection (2 s) or a statement
/// (5 s), and a slow machine. It is a bound on hanging, not a measurement.
const BOUND: Duration = Duration::from_secs(20);

/// Calls that need no database once a tenant is active: through the gateway, the platform's own, and the tenant's keys.
fn calls_without_database(tenant: &Tenant, tokens: &Tokens) -> Vec<Call> {
    let get = |path: &str| Call::get(&tenant.host(), path).bearer(&tokens.access);
    vec![get("/crm/fast"), get("/crm/fast"), get("/auth/validate"), get("/.well-known/jwks.json")]
}

fn calls_with_database(tenant: &Tenant, tokens: &Tokens) -> Vec<Call> {
    let me = Call::get(&tenant.host(), "/auth/me").bearer(&tokens.access);
    vec![me, signing_in(&tenant.slug), Call::get("stranger.localhost", "/crm/fast")]
}

/// 200 (or 404 for who does not exist) while the database is there, else a problem that says when to try again.
fn assert_available_or_503(outcomes: &Outcomes) {
    assert_eq!(outcomes.others(&[200, 404, 503]), Vec::<String>::new());
    for outcome in &outcomes.0 {
        if let Ok(answer) = &outcome.result {
            assert!(answer.status != 503 || answer.is_retryable_problem(), "{outcome:?}");
        }
    }
    assert!(outcomes.longest() < BOUND, "{:?}", outcomes.longest());
}

/// Replaces the tenant's configuration through one server.
fn set_limit(server: &Server, tenant: &Tenant, tokens: &Tokens, limit: u32) {
    let path = format!("/tenants/{}/config", tenant.id);
    let read = server.call(&Call::get(&tenant.host(), &path).bearer(&tokens.access));
    let body = json!({ "limits": { "requests_per_minute": limit } });
    let mut call = Call::post(&tenant.host(), &path, &body).bearer(&tokens.access);
    call.method = "PUT";
    let answer = server.call(&call.header("if-match", read.header("etag").unwrap()));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Waits until a server's gateway works with this limit.
fn wait_for_limit(server: &Server, tenant: &Tenant, tokens: &Tokens, limit: u32) {
    let call = Call::get(&tenant.host(), "/crm/fast").bearer(&tokens.access);
    let wanted = limit.to_string();
    let mut client = Client::new(server.public);
    wait_until("the change is seen", || {
        let answer = client.send(&call).unwrap();
        (answer.header("x-ratelimit-limit") == Some(wanted.as_str())).then_some(())
    });
}

#[test]
fn sigkill_of_postgresql_costs_503_for_a_while_and_nothing_that_needs_no_database() {
    let world = World::new();
    let server = world.start();
    let tenant = server.onboard("acme");
    let tokens = server.login("acme");
    // A second process on the same database.
    let mut other = world.spawn_beside(free_address());
    other.wait_ready();
    set_limit(&server, &tenant, &tokens, 50_000_001);
    wait_for_limit(&other, &tenant, &tokens, 50_000_001);

    let with = Load::start(server.public, calls_with_database(&tenant, &tokens), Duration::ZERO);
    let without = Load::start(server.public, calls_without_database(&tenant, &tokens), Duration::ZERO);
    with.wait_for(20);
    without.wait_for(50);
    for round in 1..=2 {
        let killed = world.signal_postmaster(Signal::SIGKILL);
        wait_until("PostgreSQL is started again", || world.postmaster().filter(|pid| *pid != killed));
        wait_until("the server is ready again", || server.is_ready().then_some(()));
        assert_eq!(server.call(&Call::get(&tenant.host(), "/auth/me").bearer(&tokens.access)).status, 200);
        server.login("acme");
        // The watcher listens again, here and there.
        let limit = 50_000_001 + round;
        set_limit(&server, &tenant, &tokens, limit);
        wait_for_limit(&server, &tenant, &tokens, limit);
        wait_for_limit(&other, &tenant, &tokens, limit);
    }
    let (with, without) = (with.finish(), without.finish());
    eprintln!("with database: {} × 200, {} × 503, longest {:?}", with.n(200), with.n(503), with.longest());
    eprintln!("without: {} × 200, longest {:?}", without.n(200), without.longest());
    assert_available_or_503(&with);
    assert_eq!(without.others(&[200]), Vec::<String>::new());
    assert_eq!(server.call(&refreshing("acme", &tokens.refresh)).status, 200);
    assert_eq!(server.metric("actor_deaths_total", ""), 0.0, "no actor died of it:\n{}", server.metrics());
}

#[test]
fn a_frozen_postgresql_costs_503_in_bounded_time_and_leaves_the_gateway_alone() {
    let world = World::new();
    let server = world.start();
    let tenant = server.onboard("acme");
    let tokens = server.login("acme");
    for call in calls_without_database(&tenant, &tokens) {
        assert_eq!(server.call(&call).status, 200);
    }
    let frozen = world.postgres_processes();
    let signal = |signal: Signal| {
        for pid in &frozen {
            // One that has ended meanwhile needs none.
            let _ = kill(Pid::from_raw(*pid), signal);
        }
    };
    signal(Signal::SIGSTOP);
    let without = Load::start(server.public, calls_without_database(&tenant, &tokens), Duration::ZERO);
    let with = Load::start(server.public, calls_with_database(&tenant, &tokens), Duration::ZERO);
    with.wait_for(6);
    without.wait_for(200);
    assert!(!server.is_ready(), "readiness says that the database is away");
    signal(Signal::SIGCONT);
    wait_until("everything works again", || {
        thread::yield_now();
        let calls = calls_with_database(&tenant, &tokens);
        calls.iter().take(2).all(|call| server.call(call).status == 200).then_some(())
    });
    let (with, without) = (with.finish(), without.finish());
    eprintln!("with database: {} × 200, {} × 503, longest {:?}", with.n(200), with.n(503), with.longest());
    eprintln!("without: {} × 200, longest {:?}", without.n(200), without.longest());
    assert!(with.n(503) > 0);
    assert_available_or_503(&with);
    assert_eq!(without.others(&[200]), Vec::<String>::new());
}
