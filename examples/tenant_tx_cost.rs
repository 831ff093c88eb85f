//! What one tenant-scoped read costs: round trips to the database on the request's path, and time beside a bare query.
//!
//! A relay between the pool and a throw-away cluster counts how often the program speaks after having listened. Prints one line
//! of JSON.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people, which fails loudly")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use businessos::config;
use businessos::db::bootstrap::{bootstrap, migrate};
use businessos::db::embedded::{Embedded, SUPERUSER};
use businessos::db::pool::PoolSettings;
use businessos::db::{Db, TenantTx, tenants};
use businessos::domain::ids::TenantId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const ROUNDS: u64 = 2_000;

/// Times the client spoke after the server had.
#[derive(Clone, Default)]
struct Turns {
    n: Arc<AtomicU64>,
    server_spoke: Arc<AtomicBool>,
}

impl Turns {
    fn count(&self) -> u64 {
        self.n.load(Ordering::SeqCst)
    }
}

async fn relay(from: UnixStream, to: PathBuf, turns: Turns) {
    let server = UnixStream::connect(to).await.expect("the cluster's socket");
    let (mut client_in, mut client_out) = from.into_split();
    let (mut server_in, mut server_out) = server.into_split();
    let heard = turns.clone();
    let up = async move {
        let mut buffer = [0u8; 16 * 1024];
        while let Ok(n @ 1..) = client_in.read(&mut buffer).await {
            if turns.server_spoke.swap(false, Ordering::SeqCst) {
                turns.n.fetch_add(1, Ordering::SeqCst);
            }
            if server_out.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
                break;
            }
        }
    };
    let down = async move {
        let mut buffer = [0u8; 16 * 1024];
        while let Ok(n @ 1..) = server_in.read(&mut buffer).await {
            heard.server_spoke.store(true, Ordering::SeqCst);
            if client_out.write_all(buffer.get(..n).unwrap_or_default()).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(up, down);
}

/// Waits until what nobody else waits for has gone out and come back: the transaction's end, and the pool's look at the
/// connection that it gets back.
async fn settled(turns: &Turns, after: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while turns.count() < after + 2 || !turns.server_spoke.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the transaction's end was not seen");
        tokio::task::yield_now().await;
    }
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a relay's own tasks")]
async fn main() {
    let settings = config::load(None).expect("the defaults");
    let dir = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).expect("reachable by the cluster's user");
    let embedded = Embedded::start(&settings.database, dir.path(), &CancellationToken::new()).await.expect("a cluster");
    let admin = embedded.connect_options(SUPERUSER, "businessos");
    bootstrap(&admin, "businessos", &settings.database.service_roles, None).await.expect("roles");
    migrate(&admin).await.expect("a schema");

    let turns = Turns::default();
    let relay_dir = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(relay_dir.path().join(".s.PGSQL.5432")).expect("a socket");
    let socket = embedded.endpoint().socket_dir().join(".s.PGSQL.5432");
    let counted = turns.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(relay(stream, socket.clone(), counted.clone()));
        }
    });

    let pool = PoolSettings {
        max_connections: 1,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
    };
    let through_relay = Db::new(pool, |role| embedded.connect_options(role, "businessos").socket(relay_dir.path()));
    let direct = Db::new(pool, |role| embedded.connect_options(role, "businessos"));
    let tenant: TenantId = Uuid::from_u128(1).into();

    let mut on_path = 0;
    for round in 0..=ROUNDS {
        let before = turns.count();
        let mut tx = TenantTx::begin_read(&through_relay, tenant).await.expect("begun");
        tenants::find(&mut tx).await.expect("read");
        let after = turns.count();
        tx.finish();
        settled(&turns, after).await;
        // The first one connects and prepares.
        if round > 0 {
            on_path += after - before;
        }
    }

    let time = async |work: &mut dyn AsyncWork| {
        work.run().await;
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work.run().await;
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(ROUNDS).unwrap_or(u32::MAX))
    };
    let read_us = time(&mut Read { db: &direct, tenant }).await;
    let ping_us = time(&mut Ping { db: &direct }).await;
    let round_trips = on_path.div_ceil(ROUNDS);
    println!(
        "{{\"round_trips\": {round_trips}, \"tenant_read_us\": {read_us:.1}, \"bare_query_us\": {ping_us:.1}, \"ratio\": {:.2}}}",
        read_us / ping_us
    );
    through_relay.close().await;
    direct.close().await;
    embedded.stop().await.expect("stopped");
}

/// Something to time.
trait AsyncWork {
    fn run(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
}

struct Read<'a> {
    db: &'a Db,
    tenant: TenantId,
}

impl AsyncWork for Read<'_> {
    fn run(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            let mut tx = TenantTx::begin_read(self.db, self.tenant).await.expect("begun");
            tenants::find(&mut tx).await.expect("read");
            tx.finish();
        })
    }
}

struct Ping<'a> {
    db: &'a Db,
}

impl AsyncWork for Ping<'_> {
    fn run(&mut self) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async { self.db.ping().await.expect("answered") })
    }
}
