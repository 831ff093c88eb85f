//! One PostgreSQL process: made, found again, waited for, stopped.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::account::{Account, remove_tree};
use super::binaries::Binaries;
use super::error::EmbeddedError;
use super::layout::{Layout, write_whole};
use super::tuning::{HBA, Sizes};
use super::{Endpoint, SUPERUSER};

/// Recovery after a crash replays the write-ahead log and may take its time on a slow disk.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
/// A fast shutdown writes a checkpoint.
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// After SIGQUIT PostgreSQL itself kills what is left of its children after five seconds.
const QUICK_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Period of every check below that has no event to wait for.
const POLL: Duration = Duration::from_millis(20);
/// An adopted process is no child of ours: its end is only seen by looking.
const ADOPTED_POLL: Duration = Duration::from_millis(200);

/// What is needed to run the cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub layout: Layout,
    pub account: Account,
    pub binaries: Binaries,
    pub sizes: Sizes,
    pub endpoint: Endpoint,
}

/// A running PostgreSQL.
#[derive(Debug)]
pub(super) enum Postmaster {
    /// Started by this process.
    Child(Child, Pid),
    /// Left running by an earlier server that died.
    Adopted(Pid),
}

impl Postmaster {
    pub fn pid(&self) -> Pid {
        match self {
            Self::Child(_, pid) | Self::Adopted(pid) => *pid,
        }
    }

    pub fn is_adopted(&self) -> bool {
        matches!(self, Self::Adopted(_))
    }

    /// Waits for the process to end. May be dropped and called again.
    pub async fn wait(&mut self, data: &Path) -> String {
        match self {
            Self::Child(child, _) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("lost sight of it: {error}"),
            },
            Self::Adopted(pid) => {
                while serves(*pid, data) {
                    tokio::time::sleep(ADOPTED_POLL).await;
                }
                "it is gone".to_owned()
            }
        }
    }

    /// A fast shutdown, then an immediate one: open transactions are rolled back either way.
    pub async fn stop(&mut self, data: &Path) -> Result<(), EmbeddedError> {
        let pid = self.pid();
        for (signal, timeout) in [(Signal::SIGINT, FAST_STOP_TIMEOUT), (Signal::SIGQUIT, QUICK_STOP_TIMEOUT)] {
            match kill(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => tracing::warn!(%pid, %signal, error = errno.desc(), "cannot signal PostgreSQL"),
            }
            if tokio::time::timeout(timeout, self.wait(data)).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(%pid, %signal, seconds = timeout.as_secs(), "PostgreSQL has not stopped in time");
        }
        Err(EmbeddedError::StopTimeout { pid: pid.as_raw() })
    }
}

impl Cluster {
    /// Makes the cluster's files if there are none. An interrupted first start leaves nothing that looks finished.
    pub async fn create_if_missing(&self) -> Result<(), EmbeddedError> {
        if self.layout.cluster_version()?.is_some() {
            return Ok(());
        }
        let new = self.layout.root.join("data.new");
        remove_tree(&new)?;
        self.account.make_private(&new)?;
        let mut command = Command::from(self.account.command(&self.binaries.initdb()));
        command
            .args(["--no-locale", "-E", "UTF8", "--auth=trust", "--no-instructions", "-U", SUPERUSER, "-D"])
            .arg(&new)
            .kill_on_drop(true);
        let initdb = self.binaries.initdb();
        let output = command.output().await.map_err(EmbeddedError::io("run", initdb))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(EmbeddedError::Initdb(format!("{}: {text}", output.status)));
        }
        // A directory without PG_VERSION may be an empty mount point or what is left of an accident; rename replaces
        // it only if it is empty, and fails otherwise rather than losing anything.
        fs::rename(&new, &self.layout.data).map_err(EmbeddedError::io("put the new cluster at", &self.layout.data))?;
        tracing::info!(version = self.binaries.major, dir = %self.layout.data.display(), "made a new PostgreSQL cluster");
        Ok(())
    }

    /// Writes the settings. True if they differ from those of the last start.
    pub fn write_settings(&self) -> Result<bool, EmbeddedError> {
        let conf = self.sizes.conf(&self.layout.socket_dir, &self.layout.hba);
        Ok(write_whole(&self.layout.hba, HBA)? | write_whole(&self.layout.conf, &conf)?)
    }

    /// Finds PostgreSQL running or starts it, and waits until it accepts connections.
    pub async fn launch(&self, cancel: &CancellationToken) -> Result<Postmaster, EmbeddedError> {
        if let Some(adopted) = self.adopt(cancel).await? {
            return Ok(adopted);
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let mark = self.layout.log_mark();
            match self.spawn(cancel).await {
                // Backends of a killed PostgreSQL hold its shared memory until they notice, usually for milliseconds.
                Err(EmbeddedError::Start(_))
                    if self.layout.log_since(mark).contains("shared memory block") && Instant::now() < deadline =>
                {
                    pause(Duration::from_millis(100), cancel).await?;
                }
                other => return other,
            }
        }
    }

    async fn adopt(&self, cancel: &CancellationToken) -> Result<Option<Postmaster>, EmbeddedError> {
        self.remove_if_stale(&self.endpoint.socket_lock_file())?;
        let pid_file = self.layout.data.join("postmaster.pid");
        let Some(pid) = read_pid(&pid_file) else {
            return Ok(None);
        };
        let mut postmaster = Postmaster::Adopted(pid);
        if serves(pid, &self.layout.data) && !self.endpoint.socket_file().exists() {
            // Its socket was deleted, so nobody can ever reach it again.
            tracing::warn!(%pid, "stopping a PostgreSQL without a socket");
            postmaster.stop(&self.layout.data).await?;
        } else if serves(pid, &self.layout.data) {
            match self.wait_ready(&mut postmaster, cancel).await {
                Ok(()) => return Ok(Some(postmaster)),
                // It was on its way down: start another one.
                Err(EmbeddedError::Start(_)) => {}
                Err(other) => return Err(other),
            }
        } else {
            self.remove_if_stale(&pid_file)?;
        }
        Ok(None)
    }

    /// Removes a lock file of a PostgreSQL that was killed if its number belongs to some other process now, or to a zombie
    /// that nobody reaps: PostgreSQL would take either for a running server. (That no process of the killed one is left, it
    /// finds out by its shared memory.)
    fn remove_if_stale(&self, lock_file: &Path) -> Result<(), EmbeddedError> {
        if let Some(pid) = read_pid(lock_file)
            && !serves(pid, &self.layout.data)
            && kill(pid, None).is_ok()
        {
            tracing::warn!(%pid, file = %lock_file.display(), "removing a stale lock file of PostgreSQL");
            fs::remove_file(lock_file).map_err(EmbeddedError::io("remove", lock_file))?;
        }
        Ok(())
    }

    async fn spawn(&self, cancel: &CancellationToken) -> Result<Postmaster, EmbeddedError> {
        self.layout.bound_log()?;
        let mark = self.layout.log_mark();
        let log = self.layout.open_log()?;
        let log_too = log.try_clone().map_err(EmbeddedError::io("open", &self.layout.log))?;
        let program = self.binaries.postgres();
        let mut command = self.account.command(&program);
        command.arg("-D").arg(&self.layout.data).arg("-c");
        let mut config_file = std::ffi::OsString::from("config_file=");
        config_file.push(&self.layout.conf);
        command.arg(config_file).stdout(log).stderr(log_too);
        let child = Command::from(command).spawn().map_err(EmbeddedError::io("run", &program))?;
        let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) else {
            return Err(EmbeddedError::Start("it ended at once".to_owned()));
        };
        let mut postmaster = Postmaster::Child(child, Pid::from_raw(pid));
        match self.wait_ready(&mut postmaster, cancel).await {
            Ok(()) => Ok(postmaster),
            Err(EmbeddedError::Start(status)) => {
                Err(EmbeddedError::Start(format!("{status}; its log says: {}", self.layout.log_since(mark))))
            }
            Err(other) => {
                // Nothing may be left running that nobody watches.
                postmaster.stop(&self.layout.data).await?;
                Err(other)
            }
        }
    }

    /// Waits until connections are accepted, or the process has ended (`Start`), or time is up, or `cancel`.
    async fn wait_ready(&self, postmaster: &mut Postmaster, cancel: &CancellationToken) -> Result<(), EmbeddedError> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while Instant::now() < deadline {
            if self.accepts().await {
                return Ok(());
            }
            tokio::select! {
                status = postmaster.wait(&self.layout.data) => return Err(EmbeddedError::Start(status)),
                paused = pause(POLL, cancel) => paused?,
            }
        }
        Err(EmbeddedError::StartTimeout {
            pid: postmaster.pid().as_raw(),
            seconds: READY_TIMEOUT.as_secs(),
            log: self.layout.log.clone(),
        })
    }

    async fn accepts(&self) -> bool {
        let options = self.endpoint.connect_options(SUPERUSER, "postgres");
        let attempt = async {
            let connection = options.connect().await?;
            connection.close().await
        };
        matches!(tokio::time::timeout(Duration::from_secs(2), attempt).await, Ok(Ok(())))
    }
}

/// Sleeps, or fails with `Cancelled` as soon as `cancel` is.
async fn pause(time: Duration, cancel: &CancellationToken) -> Result<(), EmbeddedError> {
    tokio::select! {
        () = cancel.cancelled() => Err(EmbeddedError::Cancelled),
        () = tokio::time::sleep(time) => Ok(()),
    }
}

/// The first line of `postmaster.pid`; a negative number there means a single-user server.
fn read_pid(pid_file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pid_file).ok()?;
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    (number > 1).then(|| Pid::from_raw(number))
}

/// Whether process `pid` lives and is a PostgreSQL on the cluster `data`: its command line names the directory. A
/// zombie, which nobody may ever reap in a container, has no command line.
#[cfg(target_os = "linux")]
pub(super) fn serves(pid: Pid, data: &Path) -> bool {
    let wanted = data.as_os_str().as_encoded_bytes();
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split(|byte| *byte == 0).any(|arg| arg == wanted))
}

/// Whether process `pid` lives and is a PostgreSQL on the cluster `data`: its command line names the directory.
#[cfg(not(target_os = "linux"))]
pub(super) fn serves(pid: Pid, data: &Path) -> bool {
    let output = std::process::Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&*data.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_and_nonsense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postmaster.pid");
        for (text, expected) in [("123\n/data\n", Some(123)), ("-123\n", None), ("1\n", None), ("", None), ("x", None)]
        {
            fs::write(&file, text).unwrap();
            assert_eq!(read_pid(&file).map(Pid::as_raw), expected, "{text:?}");
        }
        assert_eq!(read_pid(&dir.path().join("missing")), None);
    }

    #[test]
    fn this_process_serves_no_cluster() {
        assert!(!serves(Pid::this(), Path::new("/no/such/cluster")));
    }
}
