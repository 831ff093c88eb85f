use super::*;
use crate::clock;
use crate::domain::meter::MeterName;
use crate::domain::usage::UsageRecord;

#[test]
fn a_segment_that_cannot_be_read_goes_last_and_one_that_is_gone_is_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = Spool::open(dir.path()).expect("opened");
    for quantity in [1, 2, 4] {
        let record = UsageRecord {
            tenant: clock::new_id(),
            meter: MeterName::parse("tokens").expect("a name"),
            quantity,
            occurred_at: clock::now(),
            key: None,
            source: "gateway".to_owned(),
            dims: BTreeMap::new(),
            reservation: None,
        };
        spool.append(&record).expect("appended");
        spool.seal_all();
    }
    let paths = spool.sealed();
    let [unreadable, gone, good] = &paths[..] else { panic!("{paths:?}") };
    std::fs::remove_file(gone).expect("removed");
    std::fs::remove_file(unreadable).expect("removed");
    std::fs::create_dir(unreadable).expect("made");
    let Readable { segments, n_unreadable } = read(&spool, paths.clone());
    let read: Vec<&PathBuf> = segments.iter().map(|segment| &segment.path).collect();
    assert_eq!((read, n_unreadable), (vec![good], 1));
    assert_eq!(spool.sealed(), [good.clone(), unreadable.clone()]);
}
