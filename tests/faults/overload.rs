//! More sign-ins than the machine can hash.

use std::time::Duration;

use super::load::{Load, Outcomes};
use super::wire::{Call, Client};
use super::world::{World, signing_in};

#[test]
fn a_storm_of_sign_ins_is_refused_beyond_the_queue_and_leaves_the_gateway_alone() {
    let world = World::with("[auth]\nhashing_permits = 1\nhashing_queue = 2\n");
    let server = world.start();
    let tenant = server.onboard("acme");
    let token = server.login("acme").access;
    let proxied = vec![Call::get(&tenant.host(), "/crm/fast").bearer(&token); 2];
    let proxied = Load::start(server.public, proxied, Duration::ZERO);
    proxied.wait_for(20);
    let address = server.public;
    let storm: Vec<_> = (0..200)
        .map(|_| {
            std::thread::spawn(move || {
                let result = Client::new(address).send(&signing_in("acme"));
                super::load::Outcome { path: "/auth/login".to_owned(), result, took: Duration::ZERO }
            })
        })
        .collect();
    let storm = Outcomes(storm.into_iter().map(|thread| thread.join().unwrap()).collect());
    let proxied = proxied.finish();
    eprintln!("{} signed in, {} refused; proxied {} × 200", storm.n(200), storm.n(503), proxied.n(200));
    assert_eq!(storm.refused(), 0);
    assert_eq!(storm.others(&[200, 503]), Vec::<String>::new());
    assert!(storm.n(200) > 0 && storm.n(503) > 0);
    for outcome in &storm.0 {
        let answer = outcome.result.as_ref().unwrap();
        assert!(answer.status == 200 || answer.is_retryable_problem(), "{answer:?}");
    }
    assert_eq!(proxied.others(&[200]), Vec::<String>::new());
    assert_eq!(server.call(&signing_in("acme")).status, 200, "the queue is empty again");
}
