//! A Redis of a test's own, on a unix socket in a directory of its own; it ends with the test, however that ends.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for it to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running Redis.
pub struct TestRedis {
    directory: tempfile::TempDir,
    server: Option<Child>,
}

impl TestRedis {
    pub fn start() -> Self {
        let mut redis = Self { directory: crate::support::open_tempdir(), server: None };
        redis.restart();
        redis
    }

    /// Starts it again at the same place, empty.
    pub fn restart(&mut self) {
        // The shell holds the other end of a pipe to this process: when that closes, the server is killed.
        const SCRIPT: &str = r#"
            redis-server --port 0 --unixsocket "$0" --save '' --appendonly no --daemonize no >/dev/null 2>&1 </dev/null &
            cat >/dev/null
            kill -KILL $!
            wait $!
            rm -f "$0"
        "#;
        self.stop();
        let server = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .arg(self.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let started = Instant::now();
        while UnixStream::connect(self.socket()).is_err() {
            assert!(started.elapsed() < PATIENCE, "redis-server does not start; is it installed?");
            std::thread::yield_now();
        }
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            server.wait().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.stop();
    }
}
