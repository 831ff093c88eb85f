//! The spool: usage that the gateway saw, in files that outlive the process.
//!
//! A line is written before the last byte of the metered answer is handed on. So whatever a client has seen completed is in
//! a file, and killing the process loses none of it: the kernel keeps what was written. A power cut may lose the last second.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::usage::UsageRecord;

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

/// The files of this process.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    open: Mutex<Option<File>>,
}

impl Spool {
    /// Opens the spool in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), open: Mutex::default() })
    }

    /// Writes a record down; after this returns, killing the process does not lose it. Takes microseconds and blocks: it is a write to
    /// the kernel's page cache.
    ///
    /// # Errors
    /// [`SpoolError`]; then nothing is counted.
    pub fn append(&self, record: &UsageRecord) -> Result<(), SpoolError> {
        let line = format!("{record:?}\n");
        let mut open = self.lock();
        let file = match &mut *open {
            Some(file) => file,
            none => none.insert(OpenOptions::new().append(true).create(true).open(self.dir.join("open"))?),
        };
        file.write_all(line.as_bytes())?;
        Ok(())
    }

    /// Whether [`Self::append`] can be expected to work: asked before a metered call is let through.
    #[must_use]
    pub fn has_room(&self) -> bool {
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
