//! What several test binaries share: a throw-away PostgreSQL for the whole binary, a fresh database for each test.
//!
//! The cluster is run by [`Embedded`] itself on a thread of its own. A little shell process holds the other end of a
//! pipe to the test process: when that ends, however it ends, the shell stops the cluster and deletes its directory.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use businessos::config::DatabaseSettings;
use businessos::db::bootstrap::{bootstrap, migrate};
use businessos::db::embedded::{Embedded, Endpoint, SUPERUSER};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// The service role that every test database has.
pub const SERVICE_ROLE: &str = "crm_rw";

/// The database that the others are copied from.
const TEMPLATE: &str = "test_template";

/// Settings for an embedded cluster with a small pool.
pub fn database_settings() -> DatabaseSettings {
    DatabaseSettings {
        url: None,
        max_connections: 40,
        acquire_timeout_ms: 2000,
        statement_timeout_ms: 5000,
        migrate_on_start: true,
        service_roles: vec![SERVICE_ROLE.to_owned()],
        embedded_bin_dir: None,
        embedded_user: "postgres".to_owned(),
    }
}

/// Waits until no day, and so no month, turns within a minute: for tests that look at the present one more than once.
pub fn away_from_midnight() {
    const DAY_S: i64 = 86_400;
    while !(10..DAY_S - 60).contains(&businessos::clock::now_s().rem_euclid(DAY_S)) {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// A directory that the user PostgreSQL runs as may pass through.
pub fn open_tempdir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bos").permissions(Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// Stops the PostgreSQL under `data_dir` and deletes the directory when this process has ended.
#[expect(clippy::zombie_processes, reason = "it ends after this process, so there is nobody to wait for it")]
pub fn clean_up_at_exit(data_dir: &Path) {
    const SCRIPT: &str = r#"
        cat >/dev/null
        pid=$(head -n 1 "$0/postgres/data/postmaster.pid" 2>/dev/null)
        if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
            tries=0
            while [ -e "$0/postgres/data/postmaster.pid" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
        fi
        rm -rf "$0"
    "#;
    let mut cleaner = Command::new("/bin/sh")
        .args(["-c", SCRIPT])
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    // The end of the pipe lives as long as the process does.
    std::mem::forget(cleaner.stdin.take());
}

/// The binary's cluster, started at the first call.
fn endpoint() -> &'static Endpoint {
    static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        let data_dir: PathBuf = open_tempdir().keep();
        clean_up_at_exit(&data_dir);
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let embedded =
                    Embedded::start(&database_settings(), &data_dir, &CancellationToken::new()).await.unwrap();
                let mut admin = embedded.connect_options(SUPERUSER, "postgres").connect().await.unwrap();
                // What is thrown away need not survive a power failure.
                for statement in ["ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"] {
                    sqlx::raw_sql(statement).execute(&mut admin).await.unwrap();
                }
                send.send(embedded.endpoint().clone()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().unwrap()
    })
}

/// A fresh, migrated database.
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// A copy of the template, with the rights that a copy does not take over.
    pub async fn new() -> Self {
        // CREATE DATABASE wants its template to itself.
        static TEMPLATE_READY: Mutex<bool> = Mutex::const_new(false);
        let mut ready = TEMPLATE_READY.lock().await;
        let services = [SERVICE_ROLE.to_owned()];
        let admin = endpoint().connect_options(SUPERUSER, TEMPLATE);
        if !*ready {
            bootstrap(&admin, TEMPLATE, &services, None).await.unwrap();
            migrate(&admin).await.unwrap();
            *ready = true;
        }
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut conn = admin.clone().database("postgres").connect().await.unwrap();
        let create = format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut conn).await.unwrap();
        bootstrap(&admin, &name, &services, None).await.unwrap();
        Self { name }
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect as `role`.
    pub fn options(&self, role: &str) -> PgConnectOptions {
        endpoint().connect_options(role, &self.name)
    }

    /// A connection as `role`.
    pub async fn connect(&self, role: &str) -> PgConnection {
        self.options(role).connect().await.unwrap()
    }

    /// Runs statements as the owner of the schema, as a migration would.
    pub async fn as_owner(&self, sql: &str) {
        self.as_admin(&format!("SET ROLE app_owner; {sql}")).await;
    }

    /// Runs statements as the superuser.
    pub async fn as_admin(&self, sql: &str) {
        let mut conn = self.connect(SUPERUSER).await;
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await {
            panic!("{error}\n{sql}");
        }
    }
}

/// The SQLSTATE that a statement ends with; empty if it succeeds.
pub async fn sqlstate(conn: &mut PgConnection, sql: &str) -> String {
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await {
        Ok(_) => String::new(),
        Err(error) => error.as_database_error().and_then(|error| error.code()).unwrap().into_owned(),
    }
}

/// Whether a process lives (a zombie does not).
pub fn is_running(pid: i32) -> bool {
    let mut status = String::new();
    let read = std::fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_string(&mut status));
    if cfg!(target_os = "linux") {
        return read.is_ok() && !status.rsplit(')').next().unwrap().trim_start().starts_with('Z');
    }
    Command::new("ps").args(["-p", &pid.to_string()]).stdout(Stdio::null()).status().unwrap().success()
}
