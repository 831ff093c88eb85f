//! The file of a segment that is being written.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// A segment in its writer's hands.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    file: File,
    /// Bytes of it that hold whole lines.
    len: u64,
    /// Writes so far, and how many of them the disk has.
    n_writes: u64,
    n_synced: u64,
}

impl SegmentFile {
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { path, file, len: 0, n_writes: 0, n_synced: 0 })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Writes behind its end, in one go: a line is whole, or it is not there.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = write_whole(&self.file, bytes, self.len);
        if written.is_ok() {
            self.len += bytes.len() as u64;
            self.n_writes += 1;
        } else if let Err(error) = self.file.set_len(self.len) {
            // Half a line at the very end is no line, and nothing is written behind it.
            tracing::warn!(%error, path = %self.path.display(), "a torn line stays at a segment's end");
        }
        written
    }

    /// Writes over what stands at `at`, in one go.
    pub(super) fn overwrite(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let written = write_whole(&self.file, bytes, at);
        if written.is_err() {
            // A part of it may be a whole line, of which its writer was told that it is not there.
            let _best_effort = write_whole(&self.file, &vec![b' '; bytes.len()], at);
        }
        self.n_writes += 1;
        written
    }

    /// What is to be handed to the disk, if there is anything new: the file, and what to tell [`Self::synced`] when the disk has it.
    pub(super) fn unsynced(&self) -> io::Result<Option<(File, PathBuf, u64)>> {
        if self.n_writes == self.n_synced {
            return Ok(None);
        }
        Ok(Some((self.file.try_clone()?, self.path.clone(), self.n_writes)))
    }

    /// The disk has the first `n_writes`; returns whether it had none before.
    pub(super) fn synced(&mut self, n_writes: u64) -> bool {
        let is_first = self.n_synced == 0;
        self.n_synced = n_writes;
        is_first
    }

    pub(super) fn into_parts(self) -> (PathBuf, File, u64) {
        (self.path, self.file, self.len)
    }
}

/// One write, so that two lines never mix and a line is whole or at the end.
fn write_whole(file: &File, line: &[u8], at: u64) -> io::Result<()> {
    loop {
        return match file.write_at(line, at) {
            Ok(n) if n == line.len() => Ok(()),
            Ok(_part) => Err(ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}
