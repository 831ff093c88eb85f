//! Makes connections for the pool, and says which may be used again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

use super::RedisError;

/// A connection that was taken from the pool within this time is not asked whether it is alive: that would cost each command a
/// second round trip. If it is dead after all, the command fails, and its caller is told.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// A connection, and how many had failed when it was last known to be alive.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    n_failures: u64,
}

/// Makes and checks connections to one server.
pub(super) struct Connector {
    client: Client,
    waits: AsyncConnectionConfig,
    /// Commands that found no server. Where one connection is dead the others may be, so each of them is asked before its next
    /// use.
    n_failures: AtomicU64,
}

impl Connector {
    pub(super) fn new(url: &str, waits: AsyncConnectionConfig) -> RedisResult<Self> {
        Ok(Self { client: Client::open(url)?, waits, n_failures: AtomicU64::new(0) })
    }
}

impl Manager for Connector {
    type Type = Link;
    type Error = redis::RedisError;

    async fn create(&self) -> RedisResult<Link> {
        let n_failures = self.n_failures.load(Ordering::Relaxed);
        let connection = self.client.get_multiplexed_async_connection_with_config(&self.waits).await?;
        Ok(Link { connection, n_failures })
    }

    async fn recycle(&self, link: &mut Link, metrics: &Metrics) -> RecycleResult<redis::RedisError> {
        let n_failures = self.n_failures.load(Ordering::Relaxed);
        if link.n_failures != n_failures || metrics.last_used() >= TRUSTED_FOR {
            redis::cmd("PING").query_async::<()>(&mut link.connection).await?;
            link.n_failures = n_failures;
        }
        Ok(())
    }
}

/// What became of a command. A connection without a server behind it does not go back to the pool.
pub(super) fn settle<T>(link: Object<Connector>, done: RedisResult<T>) -> Result<T, RedisError> {
    done.map_err(|error| {
        let error = RedisError::from(error);
        if matches!(error, RedisError::Unavailable(_)) {
            if let Some(pool) = Object::pool(&link) {
                pool.manager().n_failures.fetch_add(1, Ordering::Relaxed);
            }
            drop(Object::take(link));
        }
        error
    })
}
