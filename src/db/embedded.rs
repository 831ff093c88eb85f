//! A private PostgreSQL under the server's data directory, so that one program is enough to start with.
//!
//! It runs the system's own binaries (and so gets the distribution's security updates) as a child in a process group
//! of its own, is reached through a unix socket in a 0700 directory and never by TCP, and is watched: after a crash it
//! is started again with a growing pause. It outlives a server that is killed; the next server adopts it as it is,
//! which makes recovery quick. A cluster of another major version is refused, never upgraded silently.
//!
//! As root, which PostgreSQL refuses, it runs as the ordinary user `database.embedded_user`.

mod account;
mod binaries;
mod error;
mod layout;
mod memory;
mod postmaster;
mod supervise;
mod tuning;

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseSettings;

pub use error::EmbeddedError;
pub use memory::available_bytes;
pub use tuning::default_pool_size;

use account::Account;
use layout::Layout;
use postmaster::Cluster;
use tuning::Sizes;

/// The cluster's superuser.
pub const SUPERUSER: &str = "postgres";

/// What the embedded cluster is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddedState {
    /// It accepts connections.
    Running {
        /// Process id of the postmaster.
        pid: i32,
        /// It was left running by an earlier server.
        adopted: bool,
    },
    /// It has ended and is being started again.
    Down {
        /// Failed starts since it last ran.
        failures: u32,
    },
    /// It was stopped in order.
    Stopped,
}

/// Where a cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    socket_dir: PathBuf,
    port: u16,
}

impl Endpoint {
    /// The endpoint of the cluster in `data_dir`, for other commands of this program while a server runs; `None` where
    /// there never was one. It says nothing about whether PostgreSQL runs now.
    pub fn find(data_dir: &Path) -> Option<Self> {
        layout::recorded_socket_dir(data_dir).map(|socket_dir| Self { socket_dir, port: layout::PORT })
    }

    /// Directory of the unix socket, absolute.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// Whether the cluster's socket is there, which is so while it runs.
    pub fn is_open(&self) -> bool {
        self.socket_file().exists()
    }

    /// The unix socket.
    pub(super) fn socket_file(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// PostgreSQL's lock on the socket; its first line is a process id, as in `postmaster.pid`.
    pub(super) fn socket_lock_file(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}.lock", self.port))
    }

    /// Number in the socket's name; nothing listens on it by TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How to connect as `role` to `database`. No password: who reaches the socket is let in.
    pub fn connect_options(&self, role: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("localhost")
            .socket(&self.socket_dir)
            .port(self.port)
            .username(role)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .application_name("businessos")
    }
}

/// A running embedded cluster and the task that watches it.
///
/// Call [`Embedded::stop`] at the end. A dropped `Embedded` leaves PostgreSQL running, unwatched, for the next server
/// to adopt; so does a server that is killed.
#[derive(Debug)]
pub struct Embedded {
    endpoint: Endpoint,
    state: watch::Receiver<EmbeddedState>,
    stop: CancellationToken,
    /// Holds one task; it ends with this value.
    supervisor: JoinSet<Result<(), EmbeddedError>>,
    _lock: Flock<File>,
}

impl Embedded {
    /// Starts (or adopts) the cluster under `<data_dir>/postgres`, made on the first start, and returns when it accepts
    /// connections. Needs a tokio runtime with I/O and time, which must outlive the value.
    ///
    /// `shutdown` gives up a start that is under way; later it is not looked at: only [`Embedded::stop`] stops
    /// PostgreSQL, because its clients have to go first.
    ///
    /// # Errors
    /// Every [`EmbeddedError`] but `StopTimeout`; each says what to do about it.
    pub async fn start(
        settings: &DatabaseSettings,
        data_dir: &Path,
        shutdown: &CancellationToken,
    ) -> Result<Self, EmbeddedError> {
        let account = Account::resolve(&settings.embedded_user)?;
        let layout = Layout::prepare(data_dir, &account)?;
        let lock = layout.lock()?;
        let version = layout.cluster_version()?;
        let binaries = binaries::find(settings.embedded_bin_dir.as_deref(), &layout.data, version.as_deref())?;
        let memory = available_bytes();
        let sizes = Sizes::for_machine(memory, settings.max_connections, settings.service_roles.len());
        let endpoint = Endpoint { socket_dir: layout.socket_dir.clone(), port: layout::PORT };
        let cluster = Cluster { layout, account, binaries, sizes, endpoint: endpoint.clone() };

        cluster.create_if_missing().await?;
        let changed = cluster.write_settings()?;
        let postmaster = cluster.launch(shutdown).await?;
        tracing::info!(
            pid = postmaster.pid().as_raw(),
            adopted = postmaster.is_adopted(),
            version = cluster.binaries.major,
            user = cluster.account.name,
            socket_dir = %endpoint.socket_dir.display(),
            memory_mib = memory / memory::MIB,
            shared_buffers_mib = sizes.shared_buffers_mib,
            max_connections = sizes.max_connections,
            "PostgreSQL accepts connections"
        );
        if changed && postmaster.is_adopted() {
            tracing::warn!("PostgreSQL was found running; changed settings wait for its next start");
        }

        let stop = CancellationToken::new();
        let (publish, state) =
            watch::channel(EmbeddedState::Running { pid: postmaster.pid().as_raw(), adopted: postmaster.is_adopted() });
        let mut supervisor = JoinSet::new();
        supervisor.spawn(supervise::run(cluster, postmaster, publish, stop.clone()));
        Ok(Self { endpoint, state, stop, supervisor, _lock: lock })
    }

    /// Where the cluster is reached.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How to connect as `role` to `database`.
    pub fn connect_options(&self, role: &str, database: &str) -> PgConnectOptions {
        self.endpoint.connect_options(role, database)
    }

    /// The cluster's state, now and whenever it changes.
    pub fn state(&self) -> watch::Receiver<EmbeddedState> {
        self.state.clone()
    }

    /// Stops PostgreSQL: a fast shutdown, after 30 seconds an immediate one, for at most 10 seconds more. Clients that
    /// are still connected are cut off.
    ///
    /// # Errors
    /// `StopTimeout` if it is still there after that.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        self.stop.cancel();
        match self.supervisor.join_next().await {
            Some(Ok(result)) => result,
            Some(Err(error)) => Err(EmbeddedError::Supervisor(error)),
            None => Ok(()),
        }
    }
}
