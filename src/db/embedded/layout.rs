//! Where the embedded cluster's files are.
//!
//! ```text
//! <data_dir>/postgres/            the server's own; PostgreSQL passes through it only
//!     data/                       the cluster (PGDATA)
//!     run/                        the socket, unless its path would be too long
//!     socket_dir                  the socket's directory, for other commands of this program
//!     postgresql.conf pg_hba.conf written at each start
//!     log log.1                   PostgreSQL's log and its predecessor
//!     lock                        held while a server uses the cluster
//! ```

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use nix::fcntl::{Flock, FlockArg};

use super::account::Account;
use super::error::EmbeddedError;

/// PostgreSQL's port only names the socket file here.
pub(super) const PORT: u16 = 5432;

/// Bytes a socket's path may have (`sun_path` without its NUL).
const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The log is moved aside when it is larger than this, in bytes.
const MAX_LOG_BYTES: u64 = 8 * 1024 * 1024;

/// Paths of one cluster, all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub root: PathBuf,
    pub data: PathBuf,
    pub socket_dir: PathBuf,
    pub conf: PathBuf,
    pub hba: PathBuf,
    pub log: PathBuf,
}

impl Layout {
    /// Makes the directories and settles where the socket goes.
    pub fn prepare(data_dir: &Path, account: &Account) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(data_dir).map_err(EmbeddedError::io("create", data_dir))?;
        let data_dir = fs::canonicalize(data_dir).map_err(EmbeddedError::io("find", data_dir))?;
        let root = data_dir.join("postgres");
        account.make_passage(&root)?;
        account.check_reachable(&root)?;
        let socket_dir = settle_socket_dir(&root, account)?;
        Ok(Self::new(root, socket_dir))
    }

    fn new(root: PathBuf, socket_dir: PathBuf) -> Self {
        Self {
            data: root.join("data"),
            conf: root.join("postgresql.conf"),
            hba: root.join("pg_hba.conf"),
            log: root.join("log"),
            root,
            socket_dir,
        }
    }

    /// Takes the cluster for this process. The lock goes with the process, however that ends.
    pub fn lock(&self) -> Result<Flock<File>, EmbeddedError> {
        let path = self.root.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(EmbeddedError::io("open", &path))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            nix::errno::Errno::EWOULDBLOCK => EmbeddedError::InUse(self.root.clone()),
            other => EmbeddedError::io("lock", path)(other.into()),
        })
    }

    /// Major version of the cluster on disk; `None` before the first start.
    pub fn cluster_version(&self) -> Result<Option<String>, EmbeddedError> {
        let path = self.data.join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::io("read", path)(error)),
        }
    }

    /// Opens the log for PostgreSQL to append to.
    pub fn open_log(&self) -> Result<File, EmbeddedError> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.log)
            .map_err(EmbeddedError::io("open", &self.log))
    }

    /// Keeps the log and its predecessor at 8 MiB each, also while PostgreSQL writes: it appends, so it goes on at the
    /// start of the emptied file.
    pub fn bound_log(&self) -> Result<(), EmbeddedError> {
        if fs::metadata(&self.log).map_or(0, |metadata| metadata.len()) <= MAX_LOG_BYTES {
            return Ok(());
        }
        fs::copy(&self.log, self.root.join("log.1")).map_err(EmbeddedError::io("copy", &self.log))?;
        let log = OpenOptions::new().write(true).open(&self.log).map_err(EmbeddedError::io("open", &self.log))?;
        log.set_len(0).map_err(EmbeddedError::io("empty", &self.log))
    }

    /// Bytes in the log now; what a failed start wrote is behind this mark.
    pub fn log_mark(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    /// What PostgreSQL has written behind `mark`, at most the last 2 KiB of it.
    pub fn log_since(&self, mark: u64) -> String {
        let mut text = Vec::new();
        let read = || -> std::io::Result<Vec<u8>> {
            let mut log = File::open(&self.log)?;
            let start = mark.max(log.metadata()?.len().saturating_sub(2048));
            log.seek(SeekFrom::Start(start))?;
            log.read_to_end(&mut text)?;
            Ok(text)
        };
        read().map_or_else(|error| error.to_string(), |text| String::from_utf8_lossy(&text).trim().to_owned())
    }
}

/// The socket's directory that a server recorded for `data_dir`, if there is one.
pub(super) fn recorded_socket_dir(data_dir: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(data_dir.join("postgres/socket_dir")).ok()?;
    Some(PathBuf::from(text.trim_end_matches('\n')))
}

/// Writes a file so that a reader sees the old or the new text, never a part. Tells whether the text is another one.
pub(super) fn write_whole(path: &Path, text: &str) -> Result<bool, EmbeddedError> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(EmbeddedError::io("write", path))?;
    Ok(true)
}

fn settle_socket_dir(root: &Path, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let near = root.join("run");
    if fits(&near) {
        account.make_private(&near)?;
        write_whole(&root.join("socket_dir"), &format!("{}\n", near.display()))?;
        return Ok(near);
    }
    // A directory recorded earlier is kept, so that a running PostgreSQL is found again from another environment.
    let recorded = root.parent().and_then(recorded_socket_dir).filter(|dir| fits(dir));
    let far = recorded.unwrap_or_else(|| far_socket_dir(root, account));
    account.make_private(&far)?;
    account.check_reachable(&far)?;
    write_whole(&root.join("socket_dir"), &format!("{}\n", far.display()))?;
    Ok(far)
}

/// A short path for a cluster whose own is too long, the same at each start.
fn far_socket_dir(root: &Path, account: &Account) -> PathBuf {
    let hash = digest::digest(&digest::SHA256, root.as_os_str().as_encoded_bytes());
    let tag: String = hex::encode(hash).chars().take(16).collect();
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|_| !nix::unistd::geteuid().is_root());
    [runtime, Some(env::temp_dir())]
        .into_iter()
        .flatten()
        .filter(|parent| parent.is_absolute() && parent.is_dir())
        .map(|parent| parent.join(format!("businessos-{tag}")))
        .find(|dir| fits(dir) && dir.parent().is_some_and(|parent| account.check_reachable(parent).is_ok()))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/businessos-{tag}")))
}

/// Short enough for a socket, and without the signs that separate a list of directories.
fn fits(dir: &Path) -> bool {
    let socket = dir.join(format!(".s.PGSQL.{PORT}"));
    let bytes = socket.as_os_str().as_encoded_bytes();
    bytes.len() <= MAX_SOCKET_PATH && std::str::from_utf8(bytes).is_ok_and(|path| !path.contains([',', '"', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_of_107_bytes_fits_and_one_more_does_not() {
        let socket_name = "/.s.PGSQL.5432".len();
        let longest = format!("/{}", "d".repeat(MAX_SOCKET_PATH - socket_name - 1));
        assert!(fits(Path::new(&longest)));
        assert!(!fits(Path::new(&format!("{longest}d"))));
        assert!(!fits(Path::new("/a,b")));
    }

    #[test]
    fn an_unchanged_file_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(write_whole(&path, "a").unwrap());
        assert!(!write_whole(&path, "a").unwrap());
        assert!(write_whole(&path, "b").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "b");
    }

    #[test]
    fn the_log_is_moved_aside_when_it_is_too_large_and_its_end_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().to_path_buf(), dir.path().join("run"));
        layout.open_log().unwrap().write_all(b"old\n").unwrap();
        let mark = layout.log_mark();
        layout.open_log().unwrap().write_all(b"new\n").unwrap();
        assert_eq!(layout.log_since(mark), "new");
        layout.bound_log().unwrap();
        assert_eq!(layout.log_mark(), 8);
        layout.open_log().unwrap().set_len(MAX_LOG_BYTES + 1).unwrap();
        layout.bound_log().unwrap();
        assert_eq!(layout.log_mark(), 0);
        assert_eq!(fs::metadata(dir.path().join("log.1")).unwrap().len(), MAX_LOG_BYTES + 1);
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().to_path_buf(), dir.path().join("run"));
        let held = layout.lock().unwrap();
        assert!(matches!(layout.lock(), Err(EmbeddedError::InUse(_))));
        drop(held);
        layout.lock().unwrap();
    }
}
