//! What can go wrong with the embedded cluster, in words an operator can act on.

use std::io;
use std::path::PathBuf;

/// Why the embedded cluster cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No usable PostgreSQL binaries on this machine.
    #[error(
        "found no PostgreSQL {minimum} or newer in {searched}; install it (Debian, Ubuntu: apt-get install postgresql; \
         macOS: brew install postgresql@17), or set database.embedded_bin_dir, or set database.url to use a server \
         of your own"
    )]
    BinariesNotFound {
        /// Oldest supported major version.
        minimum: u32,
        /// The places that were looked at.
        searched: String,
    },
    /// The cluster on disk was made by another major version than the binaries at hand.
    #[error(
        "the cluster in {} was made by PostgreSQL {found}, but this machine has {available}; nothing was changed. Either \
         install PostgreSQL {found} again (Debian, Ubuntu: apt-get install postgresql-{found}) and set \
         database.embedded_bin_dir to its bin directory (there /usr/lib/postgresql/{found}/bin), or move the data: with \
         the old binaries run pg_dumpall into a file, move {} away, start businessos once to make a new cluster, and \
         load the file with psql", .data_dir.display(), .data_dir.display()
    )]
    VersionMismatch {
        /// The cluster's directory.
        data_dir: PathBuf,
        /// Major version in its `PG_VERSION`.
        found: String,
        /// Versions of the binaries at hand.
        available: String,
    },
    /// The server runs as root and the ordinary user for PostgreSQL is missing and cannot be made.
    #[error(
        "PostgreSQL refuses to run as root and there is no user {user:?} ({detail}); create it (useradd --system {user}) \
         or set database.embedded_user to an ordinary user"
    )]
    NoUser {
        /// `database.embedded_user`.
        user: String,
        /// Why it could not be made.
        detail: String,
    },
    /// `database.embedded_user` is root itself.
    #[error("database.embedded_user is {user:?}, which is root; PostgreSQL needs an ordinary user")]
    UserIsRoot {
        /// `database.embedded_user`.
        user: String,
    },
    /// A directory above the cluster is closed to the user PostgreSQL runs as.
    #[error(
        "user {user:?}, which PostgreSQL runs as, may not pass through {}; either run chmod o+x {} or set data_dir to a \
         directory outside it, for example /var/lib/businessos", .dir.display(), .dir.display()
    )]
    NotTraversable {
        /// The uppermost closed directory.
        dir: PathBuf,
        /// The user PostgreSQL runs as.
        user: String,
    },
    /// A directory that must be private is not.
    #[error("{} is not a directory that belongs to {user:?} alone ({detail}); remove it", .dir.display())]
    NotPrivate {
        /// The directory.
        dir: PathBuf,
        /// Who must own it.
        user: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Another server process keeps this data directory.
    #[error("another businessos process is using {}; stop it first or set another data_dir", .0.display())]
    InUse(PathBuf),
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// PostgreSQL ended before it accepted connections.
    #[error("PostgreSQL did not start: {0}")]
    Start(String),
    /// PostgreSQL runs but accepts no connections in time.
    #[error("PostgreSQL (process {pid}) accepts no connections after {seconds} seconds; its log is {}", .log.display())]
    StartTimeout {
        /// Process id of the postmaster.
        pid: i32,
        /// How long the server waited.
        seconds: u64,
        /// PostgreSQL's log.
        log: PathBuf,
    },
    /// PostgreSQL did not end in time.
    #[error("PostgreSQL (process {pid}) did not stop; kill it by hand")]
    StopTimeout {
        /// Process id of the postmaster.
        pid: i32,
    },
    /// The server was told to stop while the cluster was starting.
    #[error("stopped while PostgreSQL was starting")]
    Cancelled,
    /// The supervising task died, which is a bug.
    #[error("the task that supervises PostgreSQL failed")]
    Supervisor(#[source] tokio::task::JoinError),
    /// An operation on a file or process failed.
    #[error("cannot {what} {}", .path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl EmbeddedError {
    /// For `map_err` on operations with a path.
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
