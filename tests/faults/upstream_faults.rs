//! A service that hangs, breaks off and goes away behind the real server.

use std::time::Duration;

use super::load::Load;
use super::upstream::Upstream;
use super::wire::{Call, Client, Failure};
use super::world::{World, wait_until};

#[test]
fn a_hung_service_costs_504_on_its_requests_alone() {
    let world = World::new();
    let server = world.start();
    let tenant = server.onboard("acme");
    let token = server.login("acme").access;
    let call = |path: &str| Call::get(&tenant.host(), path).bearer(&token);
    let others = Load::start(
        server.public,
        vec![call("/hung/fast"), call("/crm/fast"), call("/open/fast"), call("/auth/me")],
        Duration::ZERO,
    );
    let hung = Load::start(server.public, vec![call("/hung/hang"); 8], Duration::ZERO);
    hung.wait_for(16);
    others.wait_for(100);
    let (hung, others) = (hung.finish(), others.finish());
    eprintln!("504 after at most {:?}; the others' longest {:?}", hung.longest(), others.longest());
    assert_eq!(hung.others(&[504]), Vec::<String>::new());
    assert_eq!(others.others(&[200]), Vec::<String>::new());
}

#[test]
fn a_service_that_breaks_off_breaks_the_transfer_and_one_that_is_back_is_served_again() {
    let mut world = World::new();
    let server = world.start();
    let tenant = server.onboard("acme");
    let token = server.login("acme").access;
    let call = |path: &str| Call::get(&tenant.host(), path).bearer(&token);
    for path in ["/crm/half", "/crm/half-chunked"] {
        let result = Client::new(server.public).send(&call(path));
        assert!(matches!(result, Err(Failure::Broken(_))), "{path}: {result:?}");
    }
    // In the middle of streams, with idle connections in the gateway's pool.
    let seen = world.upstream.as_ref().unwrap().n_requests();
    let streams = Load::start(server.public, vec![call("/crm/stream"); 2], Duration::ZERO);
    assert_eq!(server.call(&call("/crm/fast")).status, 200);
    wait_until("the streams run", || (world.upstream.as_ref().unwrap().n_requests() >= seen + 3).then_some(()));
    world.upstream = None;
    wait_until("a problem says so", || (server.call(&call("/crm/fast")).status != 200).then_some(()));
    let answer = server.call(&call("/crm/fast"));
    assert!([502, 503].contains(&answer.status), "{}", answer.text());
    assert!(!answer.text().contains(&world.upstream_address.ip().to_string()), "{}", answer.text());
    let streams = streams.finish();
    assert!(streams.broken().len() >= 2, "{streams:?}");
    assert_eq!(streams.n(500), 0);

    world.upstream = Some(Upstream::start(world.upstream_address));
    wait_until("it is served again", || (server.call(&call("/crm/fast")).status == 200).then_some(()));
}
