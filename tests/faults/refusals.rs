//! Starts that must be refused: with words that help, the right exit code, and nothing left running.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;

use super::world::{Server, World, free_address};

fn stop(mut server: Server) {
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
}

#[test]
fn a_wrong_master_key_is_refused_with_both_fingerprints_and_postgresql_stopped() {
    let world = World::new();
    stop(world.start());
    let mut server = world.spawn_with(&[("BUSINESSOS_MASTER_KEY", &"11".repeat(32))]);
    assert_eq!(server.wait_exit().code(), Some(1));
    let log = server.log();
    let line = log.lines().last().unwrap();
    assert!(line.contains("refusing to start: the master key has fingerprint "), "{line}");
    let fingerprints = line.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 16).count();
    assert_eq!(fingerprints, 2, "{line}");
    assert_eq!(world.postmaster(), None);
    drop(server);
    stop(world.start());
}

#[test]
fn other_figures_for_a_plan_that_was_sold_are_refused_as_a_mistake_in_the_configuration() {
    let world = World::new();
    stop(world.start());
    let dearer = ("BUSINESSOS__PLANS__BASIC__PRICE_MINOR", "5900");
    let mut server = world.spawn_with(&[dearer]);
    assert_eq!(server.wait_exit().code(), Some(78), "{}", server.log());
    let log = server.log();
    let line = log.lines().last().unwrap();
    assert!(line.contains("plans.basic: found other figures than were sold as version 1"), "{line}");
    assert_eq!(world.postmaster(), None);
    drop(server);
    // Under a number of their own they are taken, and so is what was there before.
    for more in [&[dearer, ("BUSINESSOS__PLANS__BASIC__VERSION", "2")][..], &[]] {
        let mut server = world.spawn_with(more);
        server.wait_ready();
        stop(server);
    }
}

#[test]
fn a_role_that_could_see_every_tenant_is_put_right_or_refused() {
    let world = World::new();
    let server = world.start();
    // Beside the server, as an administrator would.
    world.as_superuser("ALTER ROLE app_rw SUPERUSER");
    stop(server);
    let no_migration = ("BUSINESSOS__DATABASE__MIGRATE_ON_START", "false");
    let mut refused = world.spawn_with(&[no_migration]);
    let code = refused.wait_exit().code();
    let log = refused.log();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.lines().last().unwrap().contains("app_rw has SUPERUSER"), "{log}");
    assert_eq!(world.postmaster(), None);
    drop(refused);
    // A server that may bring the schema up to date puts the role right instead.
    let mut healed = world.start();
    assert!(healed.log().contains("NOSUPERUSER"), "{}", healed.log());
    healed.kill();
    let mut adopting = world.spawn_with(&[no_migration]);
    adopting.wait_ready();
}

#[test]
fn a_second_server_in_the_same_directory_and_a_taken_port_are_refused_and_disturb_nobody() {
    let world = World::new();
    let server = world.start();
    let postmaster = world.postmaster();
    let mut second = world.spawn();
    assert_eq!(second.wait_exit().code(), Some(1));
    let log = second.log();
    let last = log.lines().last().unwrap();
    assert!(last.contains("another") || last.contains("in use"), "{last}");

    let third = world.command(&server.config, &["serve"]).output().unwrap();
    assert_eq!(third.status.code(), Some(1));
    let stderr = String::from_utf8(third.stderr).unwrap();
    assert!(stderr.contains(&format!("cannot listen on {}", server.public)), "{stderr}");
    assert_eq!(world.postmaster(), postmaster);
    assert!(server.is_ready());
    stop(server);

    let taken = TcpListener::bind(free_address()).unwrap();
    let mut server = world.spawn_at(taken.local_addr().unwrap(), "", &[]);
    assert_eq!(server.wait_exit().code(), Some(1));
    let log = server.log();
    assert!(log.contains(&format!("cannot listen on {}: ", taken.local_addr().unwrap())), "{log}");
    assert_eq!(world.postmaster(), None, "nothing is left running");
}

#[test]
fn a_bad_configuration_ends_with_78_and_a_line_for_each_mistake() {
    let world = World::new();
    let file = world.data_dir().with_extension("toml");
    for (text, parts) in [
        ("[server]\nworkers = \"many\"\n", vec![vec!["server.workers", "\"many\"", "expected"]]),
        ("[sessions]\nstore = \"redis\"\n", vec![vec!["redis.url", "expected"]]),
        ("[server]\nlistne = 1\n", vec![vec!["server", "listne", "expected"]]),
        (
            "[auth]\naccess_token_ttl_s = 1\n[gateway]\npublic_scheme = \"ftp\"\n",
            vec![
                vec!["auth.access_token_ttl_s", "found 1", "expected"],
                vec!["gateway.public_scheme", "found \"ftp\"", "expected"],
            ],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let output = world.command(&file, &["serve"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.lines().count(), parts.len(), "{stderr}");
        for parts in parts {
            let matching = |line: &&str| parts.iter().all(|part| line.contains(part));
            let line = stderr.lines().find(matching).unwrap_or_else(|| panic!("{parts:?} in {stderr}"));
            assert!(line.contains(&file.display().to_string()), "{line}");
        }
        assert!(!world.data_dir().exists(), "nothing was made");
    }
}
