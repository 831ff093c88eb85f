//! What dead processes left.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::{LOCK, Spool, segment};

/// The directory of a process that is dead, held by its lock.
#[derive(Debug)]
pub(in crate::actors::billing_meter) struct Leftover {
    dir: PathBuf,
    /// Keeps others away until this is dropped.
    _lock: File,
    /// What is to be counted, the oldest first.
    pub(in crate::actors::billing_meter) segments: Vec<PathBuf>,
}

impl Leftover {
    /// Removes the directory if nothing is left to be counted.
    pub(in crate::actors::billing_meter) fn remove_if_empty(&self) {
        let is_empty = segment::list(&self.dir).is_ok_and(|left| left.is_empty());
        if is_empty {
            remove(&self.dir);
        }
    }
}

/// Takes over the directories whose processes are dead, and says how much lies in them.
pub(in crate::actors::billing_meter) fn adopt(spool: &Spool) -> Vec<Leftover> {
    let found = dirs(spool).unwrap_or_else(|error| {
        tracing::warn!(%error, "the spool's directory cannot be read");
        Vec::new()
    });
    let leftovers: Vec<Leftover> = found
        .into_iter()
        .filter_map(|dir| {
            take(&dir).unwrap_or_else(|error| {
                tracing::warn!(%error, dir = %dir.display(), "usage left by a dead process cannot be read");
                None
            })
        })
        .collect();
    let sizes = leftovers.iter().flat_map(|leftover| &leftover.segments).map(|path| size(path));
    spool.set_leftover_bytes(sizes.sum());
    leftovers
}

/// Removes this process's directory if everything in it was counted; nothing can be written after that.
pub(in crate::actors::billing_meter) fn close(spool: &Spool) {
    if segment::list(spool.dir()).is_ok_and(|left| left.is_empty()) {
        remove(spool.dir());
    }
}

fn dirs(spool: &Spool) -> io::Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for entry in std::fs::read_dir(spool.root())? {
        let entry = entry?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if entry.file_type()?.is_dir() && !is_hidden && entry.path() != spool.dir() {
            dirs.push(entry.path());
        }
    }
    dirs.sort_unstable();
    Ok(dirs)
}

/// The directory, if its lock is free.
fn take(dir: &Path) -> io::Result<Option<Leftover>> {
    let lock = match OpenOptions::new().write(true).open(dir.join(LOCK)) {
        // Another process has just removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match lock.try_lock() {
        Ok(()) => match segment::list(dir) {
            Ok(segments) => Ok(Some(Leftover { segments, dir: dir.to_owned(), _lock: lock })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        },
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

fn remove(dir: &Path) {
    let removed = std::fs::remove_file(dir.join(LOCK)).and_then(|()| std::fs::remove_dir(dir));
    if let Err(error) = removed {
        tracing::warn!(%error, dir = %dir.display(), "an empty directory of the spool stays");
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
