//! The spool: usage that the gateway saw, in files that outlive the process.
//!
//! A line is written before the last byte of the metered answer is handed on. So whatever a client has seen completed is in
//! a file, and killing the process loses none of it: the kernel keeps what was written. A power cut, or a crash of the kernel,
//! may lose what no disk has yet: files are handed to the disk when the meter takes them, and once a second besides, so that is
//! about the last second, and more only while the disk is slow or refuses (then the log says so).
//!
//! A record is a line of its own. Calls that only add up, which are most, share lines that grow in place (`sums`).
//!
//! Each process writes into a directory of its own, which it holds by a file lock. When the lock is free its process is dead,
//! and another one counts what it left behind (`leftovers`). Workers write into a few segments side by side; the meter takes
//! the segments out of their hands, counts them and deletes them.

pub(super) mod leftovers;
mod record;
pub(super) mod segment;
mod segment_file;
mod sums;

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use self::record::GATEWAY;
use self::segment_file::SegmentFile;
use self::sums::Sums;
use crate::clock;
use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::usage::UsageRecord;

/// Segments that are written side by side. Workers are spread over them by thread, so they rarely wait for each other.
const SLOTS: usize = 8;
/// A segment that has grown so large is closed, in bytes.
const MAX_SEGMENT: u64 = 8 << 20;
/// File that a process locks in its directory.
const LOCK: &str = "lock";
/// Ending of segments.
const SEGMENT: &str = "log";

/// Usage could not be written down; the call that it belongs to must not complete.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The files have reached their largest size together.
    #[error("the spool is full")]
    Full,
    /// The disk refused.
    #[error("the spool could not be written")]
    Io(#[from] io::Error),
}

/// What one group of workers writes.
#[derive(Debug, Default)]
struct Slot {
    /// Records, one behind the other.
    lines: Option<SegmentFile>,
    /// Figures that grow in place.
    sums: Option<Sums>,
}

impl Slot {
    fn files(&mut self) -> impl Iterator<Item = &mut SegmentFile> {
        self.lines.iter_mut().chain(self.sums.iter_mut().map(|sums| &mut sums.file))
    }
}

/// A segment that nobody writes any more.
#[derive(Debug)]
struct Sealed {
    path: PathBuf,
    len: u64,
    /// Until it has been handed to the disk.
    unsynced: Option<File>,
}

/// The files of this process.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    dir: PathBuf,
    /// Locked as long as the process lives.
    _lock: File,
    slots: [Mutex<Slot>; SLOTS],
    sealed: Mutex<Vec<Sealed>>,
    max_bytes: u64,
    own_bytes: AtomicU64,
    /// Bytes that dead processes left and nobody has counted yet.
    leftover_bytes: AtomicU64,
}

impl Spool {
    /// Opens a spool without a largest size in a directory, which is made if it is missing. Any number of processes may do so
    /// in the same directory.
    ///
    /// # Errors
    /// The directory or a file in it cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        let name = clock::new_id::<Uuid>().to_string();
        let (hidden, dir) = (root.join(format!(".{name}")), root.join(&name));
        std::fs::create_dir_all(&hidden)?;
        let lock = OpenOptions::new().write(true).create_new(true).open(hidden.join(LOCK))?;
        lock.try_lock()?;
        // Nobody who looks for leftovers sees it without its lock.
        std::fs::rename(&hidden, &dir)?;
        sync_names(root)?;
        Ok(Self {
            root: root.to_owned(),
            dir,
            _lock: lock,
            slots: Default::default(),
            sealed: Mutex::default(),
            max_bytes: u64::MAX,
            own_bytes: AtomicU64::new(0),
            leftover_bytes: AtomicU64::new(0),
        })
    }

    /// The same spool with a largest size of all its files together.
    #[must_use]
    pub fn limited_to(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// Writes a record down; after this returns, killing the process does not lose it. Takes microseconds and blocks: it is a write to
    /// the kernel's page cache.
    ///
    /// # Errors
    /// [`SpoolError`]; then nothing is counted.
    pub fn append(&self, record: &UsageRecord) -> Result<(), SpoolError> {
        let line = record::encode(record);
        let len = line.len() as u64;
        self.make_room(len)?;
        let mut slot = lock(self.slot());
        let file = match &mut slot.lines {
            Some(file) => file,
            none => none.insert(self.open_segment()?),
        };
        let written = file.append(&line);
        if written.is_ok() {
            self.own_bytes.fetch_add(len, Ordering::Relaxed);
        }
        if written.is_err() || file.len() > MAX_SEGMENT {
            self.seal(slot.lines.take());
        }
        Ok(written?)
    }

    /// The same for what the gateway counted of a meter whose figure is a sum, and what needs no name: it is added to what the tenant
    /// used in this hour. Many times cheaper than a record, for whoever writes it and for whoever counts it.
    ///
    /// # Errors
    /// [`SpoolError`]; then nothing is counted.
    pub fn add(&self, tenant: TenantId, meter: &MeterName, quantity: i64, at: DateTime<Utc>) -> Result<(), SpoolError> {
        let mut slot = lock(self.slot());
        let sums = match &mut slot.sums {
            Some(sums) => sums,
            none => none.insert(Sums::new(self.open_segment()?)),
        };
        let before = sums.file.len();
        let added = sums.add((tenant, meter, quantity), at, || self.make_room(sums::PAIR));
        self.own_bytes.fetch_add(sums.file.len() - before, Ordering::Relaxed);
        if matches!(added, Err(SpoolError::Io(_))) || sums.file.len() > MAX_SEGMENT {
            self.seal(slot.sums.take().map(|sums| sums.file));
        }
        added
    }

    fn make_room(&self, len: u64) -> Result<(), SpoolError> {
        if self.n_bytes().saturating_add(len) > self.max_bytes { Err(SpoolError::Full) } else { Ok(()) }
    }

    /// Whether [`Self::append`] can be expected to work: asked before a metered call is let through.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.n_bytes() < self.max_bytes
    }

    /// Bytes that wait to be counted.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.own_bytes.load(Ordering::Relaxed).saturating_add(self.leftover_bytes.load(Ordering::Relaxed))
    }

    /// Where all processes have their directories.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// This process's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn set_leftover_bytes(&self, n: u64) {
        self.leftover_bytes.store(n, Ordering::Relaxed);
    }

    /// Takes all segments with lines out of the writers' hands. Blocks for as long as the disk takes to have what they hold; a
    /// disk that refuses that is told about in the log, and the lines are counted all the same.
    pub(super) fn seal_all(&self) {
        for slot in &self.slots {
            let mut slot = lock(slot);
            let Slot { lines, sums } = &mut *slot;
            self.seal(lines.take_if(|file| file.len() > 0));
            self.seal(sums.take_if(|sums| sums.file.len() > 0).map(|sums| sums.file));
        }
        let unsynced: Vec<File> = lock(&self.sealed).iter_mut().filter_map(|sealed| sealed.unsynced.take()).collect();
        if unsynced.is_empty() {
            return;
        }
        let synced = unsynced.iter().try_for_each(File::sync_data).and_then(|()| sync_names(&self.dir));
        if let Err(error) = synced {
            tracing::warn!(%error, "segments of the spool were not synced");
        }
    }

    /// Hands to the disk what segments that are being written hold; returns of how many. Blocks, but no writer: they go on meanwhile.
    ///
    /// # Errors
    /// The disk refuses; what it refused may be tried again.
    pub(super) fn sync_open(&self) -> io::Result<usize> {
        let (mut n_synced, mut has_new) = (0, false);
        for slot in &self.slots {
            let begun: Vec<_> = lock(slot).files().map(|file| file.unsynced()).collect::<io::Result<_>>()?;
            for (file, path, n_writes) in begun.into_iter().flatten() {
                file.sync_data()?;
                n_synced += 1;
                // It may have been sealed meanwhile, and another one opened.
                if let Some(open) = lock(slot).files().find(|open| open.path == path) {
                    has_new |= open.synced(n_writes);
                }
            }
        }
        if has_new {
            sync_names(&self.dir)?;
        }
        Ok(n_synced)
    }

    /// The sealed segments, those that wait longest first.
    pub(super) fn sealed(&self) -> Vec<PathBuf> {
        lock(&self.sealed).iter().map(|sealed| sealed.path.clone()).collect()
    }

    /// A sealed segment was counted, and its file is gone.
    pub(super) fn forget(&self, path: &Path) {
        let mut sealed = lock(&self.sealed);
        if let Some(at) = sealed.iter().position(|sealed| sealed.path == path) {
            let gone = sealed.remove(at);
            self.own_bytes.fetch_sub(gone.len, Ordering::Relaxed);
        }
    }

    /// A sealed segment could not be counted now: the others go first.
    pub(super) fn postpone(&self, path: &Path) {
        let mut sealed = lock(&self.sealed);
        if let Some(at) = sealed.iter().position(|sealed| sealed.path == path) {
            let last = sealed.remove(at);
            sealed.push(last);
        }
    }

    fn seal(&self, file: Option<SegmentFile>) {
        if let Some((path, file, len)) = file.map(SegmentFile::into_parts) {
            lock(&self.sealed).push(Sealed { path, len, unsynced: Some(file) });
        }
    }

    fn open_segment(&self) -> io::Result<SegmentFile> {
        SegmentFile::create(self.dir.join(format!("{}.{SEGMENT}", clock::new_id::<Uuid>())))
    }

    /// The thread's slot.
    fn slot(&self) -> &Mutex<Slot> {
        static N_THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: Cell<usize> = Cell::new(N_THREADS.fetch_add(1, Ordering::Relaxed));
        }
        let [first, ..] = &self.slots;
        self.slots.get(MINE.get() % SLOTS).unwrap_or(first)
    }
}

/// Hands a directory's names to the disk: a file whose name is lost is lost.
fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "spool/tests.rs"]
mod tests;
