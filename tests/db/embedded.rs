use std::time::Duration;

use businessos::db::embedded::{Embedded, EmbeddedError, EmbeddedState, SUPERUSER};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{clean_up_at_exit, database_settings, is_running, open_tempdir};

/// Long enough for the slowest machine; nothing waits that long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that is cleaned up even if the test fails in the middle.
fn data_dir() -> TempDir {
    let dir = open_tempdir();
    clean_up_at_exit(dir.path());
    dir
}

async fn start(dir: &TempDir) -> Result<Embedded, EmbeddedError> {
    Embedded::start(&database_settings(), dir.path(), &CancellationToken::new()).await
}

fn pid_of(embedded: &Embedded) -> i32 {
    match *embedded.state().borrow() {
        EmbeddedState::Running { pid, .. } => pid,
        other => panic!("not running but {other:?}"),
    }
}

async fn write(embedded: &Embedded) {
    let mut conn = embedded.connect_options(SUPERUSER, "postgres").connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE kept AS SELECT 42 AS answer").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

async fn read(embedded: &Embedded) -> i32 {
    let mut conn = embedded.connect_options(SUPERUSER, "postgres").connect().await.unwrap();
    sqlx::query_scalar("SELECT answer FROM kept").fetch_one(&mut conn).await.unwrap()
}

#[tokio::test]
async fn a_second_start_keeps_the_data_and_stop_leaves_no_process() {
    let dir = data_dir();
    let first = start(&dir).await.unwrap();
    write(&first).await;
    let pid = pid_of(&first);
    first.stop().await.unwrap();
    assert!(!is_running(pid));

    let second = start(&dir).await.unwrap();
    assert_eq!(read(&second).await, 42);
    let mut state = second.state();
    second.stop().await.unwrap();
    assert_eq!(*state.borrow_and_update(), EmbeddedState::Stopped);
}

#[tokio::test]
async fn it_listens_on_a_private_socket_only_and_syncs_its_writes() {
    let dir = data_dir();
    let embedded = start(&dir).await.unwrap();
    let mut conn = embedded.connect_options(SUPERUSER, "postgres").connect().await.unwrap();
    for (setting, expected) in [("listen_addresses", ""), ("fsync", "on"), ("jit", "off"), ("server_encoding", "UTF8")]
    {
        let value: String =
            sqlx::query_scalar("SELECT current_setting($1)").bind(setting).fetch_one(&mut conn).await.unwrap();
        assert_eq!(value, expected, "{setting}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(embedded.endpoint().socket_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    conn.close().await.unwrap();
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_dead_server_left_running_is_adopted_and_stopped_in_order() {
    let dir = data_dir();
    let first = start(&dir).await.unwrap();
    write(&first).await;
    let pid = pid_of(&first);
    // Dropping does what the death of the server does: the watching task is gone, PostgreSQL is not.
    drop(first);

    let second = start(&dir).await.unwrap();
    assert_eq!(*second.state().borrow(), EmbeddedState::Running { pid, adopted: true });
    assert_eq!(read(&second).await, 42);
    second.stop().await.unwrap();
    // It serves nothing any more; of a process that is no child of the server, the kernel may still be clearing away what is left.
    let gone = async {
        while is_running(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_killed_postgresql_comes_back_with_its_data() {
    let dir = data_dir();
    let embedded = start(&dir).await.unwrap();
    write(&embedded).await;
    comes_back(&embedded).await;
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_postgresql_that_was_adopted_comes_back_too() {
    let dir = data_dir();
    let first = start(&dir).await.unwrap();
    write(&first).await;
    drop(first);
    let second = start(&dir).await.unwrap();
    comes_back(&second).await;
    second.stop().await.unwrap();
}

async fn comes_back(embedded: &Embedded) {
    let old = pid_of(embedded);
    let mut state = embedded.state();
    kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
    let is_new = |state: &EmbeddedState| matches!(state, EmbeddedState::Running { pid, .. } if *pid != old);
    tokio::time::timeout(PATIENCE, state.wait_for(is_new)).await.unwrap().unwrap();
    assert_eq!(read(embedded).await, 42);
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_with_what_to_do_and_left_alone() {
    let dir = data_dir();
    start(&dir).await.unwrap().stop().await.unwrap();
    let version_file = dir.path().join("postgres/data/PG_VERSION");
    let version = std::fs::read_to_string(&version_file).unwrap();
    std::fs::write(&version_file, "9\n").unwrap();
    let refusal = start(&dir).await.unwrap_err();
    assert!(matches!(refusal, EmbeddedError::VersionMismatch { .. }), "{refusal}");
    let text = refusal.to_string();
    assert!(text.contains("made by PostgreSQL 9") && text.contains("pg_dumpall"), "{text}");

    std::fs::write(&version_file, version).unwrap();
    start(&dir).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let dir = data_dir();
    let first = start(&dir).await.unwrap();
    assert!(matches!(start(&dir).await, Err(EmbeddedError::InUse(_))));
    first.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_that_names_a_living_stranger_does_not_stop_a_start() {
    let dir = data_dir();
    start(&dir).await.unwrap().stop().await.unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let data = dir.path().join("postgres/data");
    let pid_file = format!("{}\n{}\n1\n5432\n\n\n\n", stranger.id(), data.display());
    std::fs::write(data.join("postmaster.pid"), pid_file).unwrap();
    let started = start(&dir).await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    started.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_postgresql_that_nobody_reaps_does_not_stop_a_start() {
    let dir = data_dir();
    start(&dir).await.unwrap().stop().await.unwrap();
    // A zombie of the user that PostgreSQL runs as: that is whose processes it believes in.
    let mut sleeper = std::process::Command::new("sleep");
    sleeper.arg("600");
    let owner = std::fs::metadata(dir.path().join("postgres/data")).unwrap();
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt as _;
        use std::os::unix::process::CommandExt as _;
        sleeper.uid(owner.uid());
    }
    let mut zombie = sleeper.spawn().unwrap();
    zombie.kill().unwrap();
    let socket = dir.path().join("postgres/run");
    let data = dir.path().join("postgres/data");
    let text = format!("{}\n{}\n1\n5432\n{}\n\n\n", zombie.id(), data.display(), socket.display());
    for lock_file in [data.join("postmaster.pid"), socket.join(".s.PGSQL.5432.lock")] {
        std::fs::write(lock_file, &text).unwrap();
    }
    let started = start(&dir).await;
    zombie.wait().unwrap();
    started.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket_directory_that_is_found_again() {
    let dir = data_dir();
    let long = dir.path().join("d".repeat(120));
    clean_up_at_exit(&long);
    let embedded = Embedded::start(&database_settings(), &long, &CancellationToken::new()).await.unwrap();
    write(&embedded).await;
    let socket_dir = embedded.endpoint().socket_dir().to_path_buf();
    assert!(!socket_dir.starts_with(dir.path()));
    assert_eq!(businessos::db::embedded::Endpoint::find(&long).as_ref(), Some(embedded.endpoint()));
    drop(embedded);

    let again = Embedded::start(&database_settings(), &long, &CancellationToken::new()).await.unwrap();
    assert_eq!(read(&again).await, 42);
    again.stop().await.unwrap();
    std::fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test]
async fn a_closed_directory_above_is_named_with_the_remedy() {
    if !nix::unistd::geteuid().is_root() {
        // An ordinary user runs PostgreSQL as itself, so nothing is closed to it that it can create in.
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let closed = data_dir();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let data = closed.path().join("data");
    let refusal = Embedded::start(&database_settings(), &data, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&refusal, EmbeddedError::NotTraversable { dir, .. } if dir == closed.path()), "{refusal}");
    assert!(refusal.to_string().contains(&format!("chmod o+x {}", closed.path().display())));
}

#[tokio::test]
async fn a_start_that_is_called_off_leaves_nothing_running() {
    let dir = data_dir();
    start(&dir).await.unwrap().stop().await.unwrap();
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    match Embedded::start(&database_settings(), dir.path(), &shutdown).await {
        Err(EmbeddedError::Cancelled) => assert!(!dir.path().join("postgres/data/postmaster.pid").exists()),
        // The very first look may find it ready.
        Ok(embedded) => embedded.stop().await.unwrap(),
        Err(other) => panic!("{other}"),
    }
}
