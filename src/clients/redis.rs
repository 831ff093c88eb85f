//! Redis: a bounded pool of connections whose every wait has an end.

mod connector;
mod sessions;

use std::fmt;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{BuildError, Object, Pool, PoolError, QueueMode, TimeoutType};
use redis::{AsyncConnectionConfig, ErrorKind, FromRedisValue, ScriptInvocation};
use secrecy::{ExposeSecret, SecretString};

use connector::{Connector, settle};
pub use sessions::{NewSessionRecord, RevokedSessions, RotatedRecord, SessionRecord};

/// Redis did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// `redis.url` cannot be read.
    #[error("the URL of Redis cannot be read")]
    Url(#[source] redis::RedisError),
    /// No connection was free in time: too much at once.
    #[error("no connection to Redis was free in time")]
    Busy,
    /// It cannot be reached, is starting, or does not answer in time: what was asked for may have happened.
    #[error("Redis is not available")]
    Unavailable(#[source] redis::RedisError),
    /// A bug: a script that can never work, a reply of another form.
    #[error("Redis refused a script")]
    Refused(#[source] redis::RedisError),
    /// A record holds what the program cannot understand.
    #[error("a stored value of {0} cannot be understood")]
    Corrupt(&'static str),
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        let is_ours = match error.kind() {
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse | ErrorKind::InvalidClientConfig => true,
            // ERR is what a script's mistake is called; LOADING, READONLY, OOM, NOAUTH and their like are the server's state.
            ErrorKind::Server(kind) => matches!(kind, redis::ServerErrorKind::ResponseError),
            _ => false,
        };
        if is_ours { Self::Refused(error) } else { Self::Unavailable(error) }
    }
}

/// A Redis that all nodes share. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    pool: Pool<Connector>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("pool", &self.pool.status()).finish()
    }
}

impl Redis {
    /// A pool of at most `max_connections`; none is opened before it is needed. Each wait (for a free connection, for a new one,
    /// for an answer) ends after `timeout`.
    ///
    /// # Errors
    /// [`RedisError::Url`].
    pub fn new(url: &SecretString, max_connections: usize, timeout: Duration) -> Result<Self, RedisError> {
        let waits =
            AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
        let connector = Connector::new(url.expose_secret(), waits).map_err(RedisError::Url)?;
        let pool = Pool::builder(connector)
            .max_size(max_connections)
            // The latest used first: most uses then find a connection that needs no check.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            .recycle_timeout(Some(timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_no_runtime: BuildError| RedisError::Corrupt("the pool's runtime"))?;
        Ok(Self { pool })
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn ping(&self) -> Result<(), RedisError> {
        let mut link = self.link().await?;
        let done = redis::cmd("PING").query_async(&mut link.connection).await;
        settle(link, done)
    }

    /// Runs a script: all of it at once, seen by nobody half-done. It is never tried again here: an error means that it may have
    /// run, and its caller knows what that means.
    async fn run<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        let mut link = self.link().await?;
        let done = script.invoke_async(&mut link.connection).await;
        settle(link, done)
    }

    async fn link(&self) -> Result<Object<Connector>, RedisError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => RedisError::Busy,
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => {
                RedisError::Unavailable((ErrorKind::Io, "no connection could be made in time").into())
            }
        })
    }
}
