use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};

use super::leftovers::{adopt, close};
use super::segment::Segment;
use super::*;
use crate::domain::ids::TenantId;
use crate::domain::meter::{Aggregation, MeterName};
use crate::domain::usage::UsageEvent;
use crate::domain::usage_intake::{IntakeRules, MeterRule};

fn meter(name: &str) -> MeterName {
    MeterName::parse(name).expect("a name")
}

fn record(quantity: i64) -> UsageRecord {
    UsageRecord {
        tenant: TenantId::from(Uuid::from_u128(1)),
        meter: meter("tokens"),
        quantity,
        occurred_at: DateTime::from_timestamp(1_800_000_000, 123_456_000).expect("a time"),
        key: None,
        source: "gateway".to_owned(),
        dims: BTreeMap::new(),
        reservation: None,
    }
}

fn rules() -> IntakeRules {
    let rule = |aggregation| MeterRule { aggregation, unique_by: None };
    IntakeRules {
        meters: BTreeMap::from([(meter("tokens"), rule(Aggregation::Sum)), (meter("calls"), rule(Aggregation::Count))]),
        max_age: TimeDelta::days(62),
        late_grace: TimeDelta::hours(72),
    }
}

fn sealed_events(spool: &Spool) -> Vec<UsageEvent> {
    spool.seal_all();
    let segments = spool.sealed().into_iter().map(|path| Segment::read(path).expect("read"));
    segments.flat_map(|segment| segment.events(&rules())).map(|(_, event)| event).collect()
}

fn total(events: &[UsageEvent]) -> i64 {
    events.iter().map(|event| event.quantity).sum()
}

#[test]
fn every_field_of_a_record_comes_back() {
    let full = UsageRecord {
        key: Some("a\nb\"\u{1F600}".to_owned()),
        source: "service:/ai".to_owned(),
        dims: BTreeMap::from([("model".to_owned(), "m\r\n".to_owned())]),
        reservation: Some(Uuid::from_u128(7).into()),
        ..record(i64::MAX)
    };
    for record in [record(0), full] {
        let line = super::record::encode(&record);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let text = line.strip_suffix(b"\n").expect("a whole line");
        assert_eq!(super::record::decode(text).map(|line| (line.record, line.figure)), Some((record, None)));
        for at in 0..text.len() {
            let mut damaged = text.to_vec();
            damaged[at] ^= 1;
            assert_eq!(super::record::decode(&damaged), None, "byte {at}");
        }
    }
}

#[test]
fn records_of_an_hour_are_one_event_and_what_must_stay_one_stays_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    let next_hour = record(1).occurred_at + TimeDelta::hours(1);
    let keyed = UsageRecord { key: Some("k".to_owned()), source: "service:/ai".to_owned(), ..record(100) };
    let reserved = UsageRecord { reservation: Some(Uuid::from_u128(7).into()), ..record(200) };
    let records = [
        record(1),
        record(2),
        UsageRecord { occurred_at: next_hour, ..record(4) },
        keyed,
        reserved,
        UsageRecord { meter: meter("calls"), ..record(1) },
        UsageRecord { meter: meter("calls"), ..record(1) },
    ];
    for record in &records {
        spool.append(record).expect("appended");
    }
    let events = sealed_events(&spool);
    let mut quantities: Vec<i64> = events.iter().map(|event| event.quantity).collect();
    quantities.sort_unstable();
    assert_eq!(quantities, [1, 1, 3, 4, 100, 200]);
    let mut names: Vec<(&str, &str)> = events.iter().map(|event| (&*event.source, &*event.key)).collect();
    assert!(names.contains(&("service:/ai", "k")), "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 6, "each has a name of its own");
    assert_eq!(sealed_events(&spool), events, "reading it again gives the same events");
}

#[test]
fn a_sum_that_is_too_large_for_one_event_is_several() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    let max = crate::domain::usage::MAX_QUANTITY;
    for quantity in [max, max - 1, 1, 1] {
        spool.append(&record(quantity)).expect("appended");
    }
    let events = sealed_events(&spool);
    assert_eq!(total(&events), 2 * max + 1);
    assert!(events.iter().all(|event| event.quantity <= max), "{events:?}");
    assert_eq!(events.iter().map(|event| &event.key).collect::<std::collections::BTreeSet<_>>().len(), events.len());
}

#[test]
fn a_torn_last_line_is_no_line_and_a_damaged_one_hides_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    for quantity in [1, 2, 4] {
        spool.append(&record(quantity)).expect("appended");
    }
    spool.seal_all();
    let path = spool.sealed().pop().expect("a segment");
    let whole = std::fs::read(&path).expect("read");
    let line = whole.len() / 3;
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("written");
        let segment = Segment::read(path.clone()).expect("read");
        let events: Vec<UsageEvent> = segment.events(&rules()).into_iter().map(|(_, event)| event).collect();
        (total(&events), segment.n_damaged)
    };
    assert_eq!(read(&whole), (7, 0));
    for torn in 2 * line..3 * line {
        assert_eq!(read(&whole[..torn]), (3, 0), "{torn}");
    }
    let mut damaged = whole.clone();
    damaged[line + 20] ^= 0x10;
    assert_eq!(read(&damaged), (5, 1));
    assert_eq!(read(&[]), (0, 0));
}

#[test]
fn only_what_dead_processes_left_is_adopted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (dead, living) = (Spool::open(dir.path()).expect("opened"), Spool::open(dir.path()).expect("opened"));
    dead.append(&record(5)).expect("appended");
    living.append(&record(7)).expect("appended");
    let heir = Spool::open(dir.path()).expect("opened").limited_to(1 << 20);
    assert!(adopt(&heir).is_empty(), "both live");
    // As SIGKILL leaves it: not sealed, not closed, the lock free.
    drop(dead);
    let found = adopt(&heir);
    assert_eq!(found.len(), 1);
    let paths = found[0].segments.clone();
    assert_eq!(heir.n_bytes(), std::fs::metadata(&paths[0]).expect("a file").len());
    assert!(adopt(&living).is_empty(), "one process counts it");
    let events = Segment::read(paths[0].clone()).expect("read").events(&rules());
    assert_eq!(events.iter().map(|(_, event)| event.quantity).collect::<Vec<_>>(), [5]);
    found[0].remove_if_empty();
    assert!(paths[0].exists(), "it was not counted yet");
    std::fs::remove_file(&paths[0]).expect("removed");
    found[0].remove_if_empty();
    drop(found);
    assert!(adopt(&heir).is_empty());
    close(&heir);
    assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 1, "the living one's directory");
    assert!(matches!(heir.append(&record(1)), Err(SpoolError::Io(_))), "nothing is written behind our back");
}

#[test]
fn a_full_spool_says_so_and_has_room_when_it_was_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened").limited_to(400);
    let mut n_written = 0;
    while spool.append(&record(1)).is_ok() {
        n_written += 1;
    }
    assert!((1..10).contains(&n_written), "{n_written}");
    assert!(matches!(spool.append(&record(1)), Err(SpoolError::Full)));
    assert_eq!(total(&sealed_events(&spool)), n_written, "what was refused is not there");
    for path in spool.sealed() {
        std::fs::remove_file(&path).expect("removed");
        spool.forget(&path);
    }
    assert!(spool.has_room() && spool.n_bytes() == 0);
    spool.append(&record(1)).expect("room again");
}

#[test]
fn many_threads_write_side_by_side_while_segments_are_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Arc::new(Spool::open(dir.path()).expect("opened"));
    let writer = |_| {
        let spool = Arc::clone(&spool);
        std::thread::spawn(move || (0..500).for_each(|_| spool.append(&record(1)).expect("appended")))
    };
    let writers: Vec<_> = (0..12).map(writer).collect();
    let mut counted = 0;
    loop {
        let is_last = writers.iter().all(std::thread::JoinHandle::is_finished);
        counted += total(&sealed_events(&spool));
        for path in spool.sealed() {
            spool.forget(&path);
        }
        if is_last {
            break;
        }
    }
    assert_eq!(counted, 6_000);
}

#[test]
fn lines_that_no_disk_has_yet_are_handed_to_it_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    assert_eq!(spool.sync_open().expect("synced"), 0, "nothing is written");
    for _ in 0..2 {
        spool.append(&record(1)).expect("appended");
        assert_eq!(spool.sync_open().expect("synced"), 1);
        assert_eq!(spool.sync_open().expect("synced"), 0, "the disk has it");
    }
    spool.append(&record(1)).expect("appended");
    assert_eq!(total(&sealed_events(&spool)), 3);
    assert_eq!(spool.sync_open().expect("synced"), 0, "sealing did it");
}

fn adds(spool: &Spool, tenant: u128, name: &str, quantity: i64, at: DateTime<Utc>) {
    spool.add(TenantId::from(Uuid::from_u128(tenant)), &meter(name), quantity, at).expect("added");
}

#[test]
fn what_only_adds_up_grows_in_place_and_is_apart_by_tenant_meter_and_hour() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    let at = record(1).occurred_at;
    for n in 1..=100 {
        adds(&spool, 1, "tokens", n, at);
    }
    let n_bytes = spool.n_bytes();
    for (tenant, name, at) in [(2, "tokens", at), (1, "requests", at), (1, "tokens", at + TimeDelta::hours(1))] {
        adds(&spool, tenant, name, 7, at);
    }
    assert_eq!(spool.n_bytes(), 4 * n_bytes);
    spool.append(&record(1)).expect("appended");
    let mut quantities: Vec<i64> = sealed_events(&spool).iter().map(|event| event.quantity).collect();
    quantities.sort_unstable();
    // A meter that no rule knows is no sum.
    assert_eq!(quantities, [1, 7, 7, 7, 5_050]);
    let events = sealed_events(&spool);
    let keys: std::collections::BTreeSet<_> = events.iter().map(|event| &event.key).collect();
    assert_eq!(keys.len(), 4, "two tenants' figures may have one key, because keys are the tenant's");
}

#[test]
fn a_figure_that_is_torn_while_it_is_written_is_what_it_was_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    let path = |spool: &Spool| {
        spool.seal_all();
        spool.sealed().pop().expect("a segment")
    };
    let total_of = |bytes: &[u8]| {
        let path = dir.path().join("copy.log");
        std::fs::write(&path, bytes).expect("written");
        let events = Segment::read(path).expect("read").events(&rules());
        total(&events.into_iter().map(|(_, event)| event).collect::<Vec<_>>())
    };
    for n in 1..=5 {
        let at = record(1).occurred_at;
        (0..n).for_each(|_| adds(&spool, 1, "tokens", 10, at));
        let before = std::fs::read(path(&spool)).expect("read");
        assert_eq!(total_of(&before), 10 * n);
        (0..=n).for_each(|_| adds(&spool, 1, "tokens", 10, at));
        let after = std::fs::read(path(&spool)).expect("read");
        for torn in 0..after.len().min(before.len()) {
            // As many bytes of the last write as came.
            let mixed = [&after[..torn], &before[torn..]].concat();
            let total = total_of(&mixed);
            assert!(total == 10 * n || total == 10 * (n + 1), "{total} after {torn} bytes of addition {}", n + 1);
        }
    }
}

#[test]
fn a_figure_that_is_too_large_for_one_event_is_several() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    let max = crate::domain::usage::MAX_QUANTITY;
    for quantity in [max, max - 1, 1, 1] {
        adds(&spool, 1, "tokens", quantity, record(1).occurred_at);
    }
    let events = sealed_events(&spool);
    assert_eq!(total(&events), 2 * max + 1);
    assert!(events.iter().all(|event| event.quantity <= max), "{events:?}");
}

#[test]
fn a_full_spool_takes_what_does_not_make_it_larger() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened").limited_to(600);
    let at = record(1).occurred_at;
    adds(&spool, 1, "tokens", 1, at);
    adds(&spool, 1, "tokens", 1, at);
    let other = spool.add(TenantId::from(Uuid::from_u128(2)), &meter("tokens"), 1, at);
    assert!(matches!(other, Err(SpoolError::Full)));
    assert_eq!(total(&sealed_events(&spool)), 2);
}

#[test]
fn many_threads_add_up_while_segments_are_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Arc::new(Spool::open(dir.path()).expect("opened"));
    let writer = |n: u128| {
        let spool = Arc::clone(&spool);
        std::thread::spawn(move || (0..500).for_each(|_| adds(&spool, n % 3, "tokens", 1, record(1).occurred_at)))
    };
    let writers: Vec<_> = (0..12).map(writer).collect();
    let mut counted = 0;
    loop {
        let is_last = writers.iter().all(std::thread::JoinHandle::is_finished);
        counted += total(&sealed_events(&spool));
        for path in spool.sealed() {
            spool.forget(&path);
        }
        if is_last {
            break;
        }
    }
    assert_eq!(counted, 6_000);
}

#[test]
fn the_longest_line_fits_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    let latest = DateTime::from_timestamp(253_402_300_799, 999_999_000).expect("a time");
    for n in 1..=3 {
        adds(&spool, u128::MAX, &"m".repeat(64), crate::domain::usage::MAX_QUANTITY, latest);
        assert_eq!(spool.n_bytes(), 512 * n);
    }
    assert_eq!(sealed_events(&spool).len(), 3);
}
