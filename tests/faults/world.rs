//! The world of one test: a data directory, a configuration, a service, and the processes that were started in it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use businessos::db::embedded::{Endpoint, SUPERUSER};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use tempfile::TempDir;

use super::support::{is_running, open_tempdir};
use super::upstream::Upstream;
use super::wire::{Answer, Call, Client};

/// Longest wait for anything; a test that needs it has failed. What the program puts off for a minute comes within it.
pub const LONG: Duration = Duration::from_secs(120);
const DATABASE: &str = "businessos";
pub const PASSWORD: &str = "correct horse battery";

/// For tests that want an answer to everything: a disk that is busy for seconds is no reason for a 503.
pub const PATIENT_WITH_THE_DISK: [(&str, &str); 2] =
    [("BUSINESSOS__DATABASE__ACQUIRE_TIMEOUT_MS", "20000"), ("BUSINESSOS__DATABASE__STATEMENT_TIMEOUT_MS", "20000")];

/// Looks until `look` finds something, at most [`LONG`].
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A loopback address of this process's own, so that tests in other processes cannot take its ports.
pub fn free_address() -> SocketAddr {
    let [.., a, b] = std::process::id().to_be_bytes();
    let own = if cfg!(target_os = "linux") { Ipv4Addr::new(127, 77, a, b.clamp(1, 254)) } else { Ipv4Addr::LOCALHOST };
    // The kernel may name a port twice when nobody has taken it yet.
    static NAMED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let address = TcpListener::bind((IpAddr::V4(own), 0)).unwrap().local_addr().unwrap();
        if NAMED.lock().unwrap().insert(address.port()) {
            return address;
        }
    }
}

/// Everything a test started; dropping it stops and removes all of it.
pub struct World {
    dir: TempDir,
    pub upstream: Option<Upstream>,
    pub upstream_address: SocketAddr,
    more: String,
}

impl World {
    pub fn new() -> Self {
        Self::with("")
    }

    /// A world with these lines at the end of its configuration, in which `UPSTREAM` is the service's address.
    pub fn with(more: &str) -> Self {
        let dir = open_tempdir();
        let upstream = Upstream::start(free_address());
        let world = Self { dir, upstream_address: upstream.address, upstream: Some(upstream), more: more.to_owned() };
        world.clean_up_at_exit();
        world
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Holds even if this process is killed: a shell waits for the end of its input, then ends what is listed.
    #[expect(clippy::zombie_processes, reason = "it ends after this process, so there is nobody to wait for it")]
    fn clean_up_at_exit(&self) {
        const SCRIPT: &str = r#"
            cat >/dev/null
            for pid in $(cat "$0/servers" 2>/dev/null); do
                tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$0/" && kill -KILL "$pid"
            done
            pid=$(head -n 1 "$0/data/postgres/data/postmaster.pid" 2>/dev/null)
            if [ -n "$pid" ] && kill -CONT "$pid" 2>/dev/null && kill -QUIT "$pid" 2>/dev/null; then
                tries=0
                while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
            fi
            rm -rf "$0"
        "#;
        let mut cleaner = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .arg(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        std::mem::forget(cleaner.stdin.take());
    }

    /// Writes a configuration of its own for each server.
    fn configuration(&self, public: SocketAddr, admin: SocketAddr, database: &str) -> PathBuf {
        let (data_dir, upstream) = (self.data_dir(), self.upstream_address);
        let more = self.more.replace("UPSTREAM", &upstream.to_string());
        let text = format!(
            r#"data_dir = {data_dir:?}
[server]
listen = "{public}"
workers = 2
shutdown_timeout_s = 20
[admin]
listen = "{admin}"
[database]
max_connections = 8
{database}
[log]
access = false
[limits]
ip_per_minute = 0
tenant_per_minute = 100000000
[gateway]
# Part of the tokens' issuer: the same for every server of this world.
public_port = 8080
[[gateway.routes]]
prefix = "/crm"
upstreams = ["http://{upstream}"]
strip_prefix = true
auth = "required"
first_byte_timeout_ms = 20000
[[gateway.routes]]
prefix = "/hung"
upstreams = ["http://{upstream}"]
strip_prefix = true
auth = "required"
first_byte_timeout_ms = 5000
[[gateway.routes]]
prefix = "/open"
upstreams = ["http://{upstream}"]
strip_prefix = true
auth = "none"
{more}
"#
        );
        let path = self.dir.path().join(format!("config-{}.toml", public.port()));
        fs::write(&path, text).unwrap();
        path
    }

    /// A command with this world's configuration and nothing of the tester's environment.
    pub fn command(&self, config: &Path, arguments: &[&str]) -> Command {
        // The environment says it where the tests were built elsewhere.
        let program = std::env::var_os("CARGO_BIN_EXE_businessos").unwrap_or(env!("CARGO_BIN_EXE_businessos").into());
        let mut command = Command::new(program);
        command.args(arguments).arg("--config").arg(config).stdin(Stdio::null()).current_dir(self.dir.path());
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Starts a server without waiting for it.
    pub fn spawn(&self) -> Server {
        self.spawn_with(&[])
    }

    /// Starts a server with these variables in its environment.
    pub fn spawn_with(&self, environment: &[(&str, &str)]) -> Server {
        self.spawn_at(free_address(), "", environment)
    }

    pub fn spawn_at(&self, public: SocketAddr, database: &str, environment: &[(&str, &str)]) -> Server {
        let admin = free_address();
        let config = self.configuration(public, admin, database);
        let mut command = self.command(&config, &["serve"]);
        // One is used from a test's beginning to its end.
        command.env("BUSINESSOS__AUTH__ACCESS_TOKEN_TTL_S", "3600").envs(environment.iter().copied());
        self.launch(command, public, admin, config)
    }

    /// Starts a server on a socket that stays open in this process, handed over in systemd's way: as descriptor 3, which
    /// the variables speak of.
    pub fn spawn_on(&self, socket: &TcpListener) -> Server {
        const HAND_OVER: &str = r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$@" 3<&0 0</dev/null"#;
        let (public, admin) = (socket.local_addr().unwrap(), free_address());
        let config = self.configuration(public, admin, "");
        let mut direct = self.command(&config, &["serve"]);
        direct.envs(PATIENT_WITH_THE_DISK);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", HAND_OVER, "sh"]).arg(direct.get_program()).args(direct.get_args());
        command.env_clear().envs(direct.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.dir.path()).stdin(OwnedFd::from(socket.try_clone().unwrap()));
        self.launch(command, public, admin, config)
    }

    fn launch(&self, mut command: Command, public: SocketAddr, admin: SocketAddr, config: PathBuf) -> Server {
        let log = config.with_extension("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        let mut servers = File::options().create(true).append(true).open(self.dir.path().join("servers")).unwrap();
        writeln!(servers, "{}", child.id()).unwrap();
        Server { child, public, admin, log, config }
    }

    /// Starts a server and waits until it is ready.
    pub fn start(&self) -> Server {
        let mut server = self.spawn();
        server.wait_ready();
        server
    }

    /// Starts a server with a data directory of its own on the database of this world's first server.
    pub fn spawn_beside(&self, public: SocketAddr) -> Server {
        let socket_dir = self.endpoint().socket_dir().display().to_string().replace('/', "%2F");
        let url = format!("url = \"postgres://{SUPERUSER}@{socket_dir}/{DATABASE}\"");
        let key = fs::read_to_string(self.data_dir().join("master.key")).unwrap();
        let data_dir = self.dir.path().join("beside").display().to_string();
        self.spawn_at(public, &url, &[("BUSINESSOS_MASTER_KEY", key.trim()), ("BUSINESSOS__DATA_DIR", &data_dir)])
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::find(&self.data_dir()).expect("a server made the cluster")
    }

    /// Runs a statement as the database's administrator.
    pub fn as_superuser(&self, sql: &'static str) {
        let options = self.endpoint().connect_options(SUPERUSER, DATABASE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        });
    }

    /// The running PostgreSQL's process.
    pub fn postmaster(&self) -> Option<i32> {
        let text = fs::read_to_string(self.data_dir().join("postgres/data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok().filter(|pid| is_running(*pid))
    }

    pub fn signal_postmaster(&self, signal: Signal) -> i32 {
        let pid = self.postmaster().expect("PostgreSQL runs");
        kill(Pid::from_raw(pid), signal).unwrap();
        pid
    }

    /// The postmaster and its children.
    pub fn postgres_processes(&self) -> Vec<i32> {
        let postmaster = self.postmaster().expect("PostgreSQL runs");
        let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let children = text.lines().filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse::<i32>().unwrap());
            let (pid, parent) = (numbers.next()?, numbers.next()?);
            (parent == postmaster).then_some(pid)
        });
        children.chain([postmaster]).collect()
    }

    pub fn postgres_log(&self) -> String {
        fs::read_to_string(self.data_dir().join("postgres/log")).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(pid) = self.postmaster() {
            for signal in [Signal::SIGCONT, Signal::SIGQUIT] {
                kill(Pid::from_raw(pid), signal).ok();
            }
            let since = Instant::now();
            while is_running(pid) && since.elapsed() < LONG {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A server process; killed when dropped.
pub struct Server {
    child: Child,
    pub public: SocketAddr,
    pub admin: SocketAddr,
    log: PathBuf,
    pub config: PathBuf,
}

impl Server {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn is_ready(&self) -> bool {
        let answer = Client::new(self.admin).send(&Call::get("localhost", "/readyz"));
        answer.is_ok_and(|answer| answer.status == 200)
    }

    pub fn wait_ready(&mut self) {
        wait_until("the server is ready", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            self.is_ready().then_some(())
        });
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn wait_exit(&mut self) -> ExitStatus {
        wait_until("the server ends", || self.child.try_wait().unwrap())
    }

    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }

    /// One exchange on a connection of its own.
    pub fn call(&self, call: &Call) -> Answer {
        Client::new(self.public).send(call).unwrap_or_else(|failure| panic!("{failure:?}\n{}", self.log()))
    }

    pub fn metrics(&self) -> String {
        Client::new(self.admin).send(&Call::get("localhost", "/metrics")).unwrap().text()
    }

    /// The sum of a metric's series whose line has `part`.
    pub fn metric(&self, name: &str, part: &str) -> f64 {
        let text = self.metrics();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(part));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    pub fn onboard(&self, slug: &str) -> Tenant {
        let answer = self.call(&onboarding(slug));
        assert_eq!(answer.status, 201, "{}", answer.text());
        Tenant { id: answer.json()["tenant"]["id"].as_str().unwrap().to_owned(), slug: slug.to_owned() }
    }

    pub fn login(&self, slug: &str) -> Tokens {
        let answer = self.call(&signing_in(slug));
        assert_eq!(answer.status, 200, "{}", answer.text());
        Tokens::of(&answer.json())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!("--- log of the server on {} ---\n{}", self.public, self.log());
        }
    }
}

pub struct Tenant {
    pub id: String,
    pub slug: String,
}

impl Tenant {
    pub fn host(&self) -> String {
        host(&self.slug)
    }
}

pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    pub fn of(json: &Value) -> Self {
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

pub fn host(slug: &str) -> String {
    format!("{slug}.localhost")
}

pub fn onboarding(slug: &str) -> Call {
    let admin = json!({ "email": format!("owner@{slug}.test"), "password": PASSWORD });
    Call::post("localhost", "/tenants/onboard", &json!({ "name": slug, "subdomain": slug, "admin": admin }))
}

pub fn signing_in(slug: &str) -> Call {
    let body = json!({ "email": format!("owner@{slug}.test"), "password": PASSWORD });
    Call::post(&host(slug), "/auth/login", &body)
}

pub fn refreshing(slug: &str, token: &str) -> Call {
    Call::post(&host(slug), "/auth/refresh", &json!({ "refresh_token": token }))
}
