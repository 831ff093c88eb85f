//! Where sessions live: one trait, so that sign-in, refresh and revocation do not know which store is configured.
//!
//! Every call takes the transaction in which its audit row is written. A store in the same database takes part in it; another
//! store acts at once and before the commit, so what a failed commit leaves behind is a session nobody has a token of, a
//! rotation whose answer the client asks for again, or an end that nobody minds being told twice.

mod redis;

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;

pub use redis::RedisSessions;

use crate::clients::redis::RedisError;
use crate::db::sessions::{self, NewSession, Rotation, Session};
use crate::db::{DbError, TenantTx};
use crate::domain::assurance::Acr;
use crate::domain::ids::{SessionId, UserId};

/// A store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SessionStoreError {
    /// The database did not answer.
    #[error("the session store did not answer")]
    Db(#[from] DbError),
    /// Redis did not answer.
    #[error("the session store did not answer")]
    Redis(#[from] RedisError),
}

/// Work of a store.
pub type StoreFuture<'a, T> = LocalBoxFuture<'a, Result<T, SessionStoreError>>;

/// A second factor that a session's user has just shown.
#[derive(Debug, Clone, Copy)]
pub struct Elevation<'a> {
    /// What the session has reached with it.
    pub acr: Acr,
    /// Its method (RFC 8176), such as `otp`.
    pub method: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// Keeps refresh-token families, one record each. All calls are for the transaction's tenant.
pub trait SessionStore: Debug + Send + Sync {
    /// Whether the store answers, if it is not the database itself.
    fn ping(&self) -> StoreFuture<'_, ()>;

    /// Adds a session.
    fn insert<'a>(&'a self, tx: &'a mut TenantTx, new: &'a NewSession<'a>) -> StoreFuture<'a, ()>;

    /// Rotates the family by compare-and-set on its counter: of any number of callers with the same counter one has
    /// `rotated`. The record comes back in either case, if there is one.
    fn rotate<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        id: SessionId,
        counter: i64,
        idle_expires_at: DateTime<Utc>,
    ) -> StoreFuture<'a, Rotation>;

    /// The session with this id.
    fn find<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId) -> StoreFuture<'a, Option<Session>>;

    /// The user's sessions that are alive, the latest used first.
    fn list<'a>(&'a self, tx: &'a mut TenantTx, user: UserId) -> StoreFuture<'a, Vec<Session>>;

    /// Writes down that the session's user has shown a further factor; false if the session is not alive. In the same step the
    /// counter goes up by two: every refresh token of before is then one that was used twice, with no grace.
    fn elevate<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId, elevation: Elevation<'a>) -> StoreFuture<'a, bool>;

    /// Ends a session; returns whether it was still open. It is the same record that a rotation changes, so the two cannot
    /// interleave.
    fn revoke<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId, reason: &'a str) -> StoreFuture<'a, bool>;

    /// Ends the user's open sessions but one; returns their ids.
    fn revoke_all<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        user: UserId,
        except: Option<SessionId>,
        reason: &'a str,
    ) -> StoreFuture<'a, Vec<SessionId>>;

    /// Ends the open sessions of several users; returns their ids.
    fn revoke_of_users<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        users: &'a [UserId],
        reason: &'a str,
    ) -> StoreFuture<'a, Vec<SessionId>>;

    /// Sessions ended within the last `seconds`: those whose access tokens may still be alive.
    fn list_revoked_within<'a>(&'a self, tx: &'a mut TenantTx, seconds: i64) -> StoreFuture<'a, Vec<SessionId>>;
}

/// Sessions in the tenants' own database: a restart signs nobody out.
#[derive(Debug, Clone, Copy, Default)]
pub struct PostgresSessions;

impl SessionStore for PostgresSessions {
    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn insert<'a>(&'a self, tx: &'a mut TenantTx, new: &'a NewSession<'a>) -> StoreFuture<'a, ()> {
        Box::pin(async move { Ok(sessions::insert(tx, new).await?) })
    }

    fn rotate<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        id: SessionId,
        counter: i64,
        idle_expires_at: DateTime<Utc>,
    ) -> StoreFuture<'a, Rotation> {
        Box::pin(async move { Ok(sessions::rotate(tx, id, counter, idle_expires_at).await?) })
    }

    fn find<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId) -> StoreFuture<'a, Option<Session>> {
        Box::pin(async move { Ok(sessions::find(tx, id).await?) })
    }

    fn list<'a>(&'a self, tx: &'a mut TenantTx, user: UserId) -> StoreFuture<'a, Vec<Session>> {
        Box::pin(async move { Ok(sessions::list(tx, user).await?) })
    }

    fn elevate<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId, elevation: Elevation<'a>) -> StoreFuture<'a, bool> {
        let Elevation { acr, method, at } = elevation;
        Box::pin(async move { Ok(sessions::elevate(tx, id, acr.as_str(), method, at).await?) })
    }

    fn revoke<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId, reason: &'a str) -> StoreFuture<'a, bool> {
        Box::pin(async move { Ok(sessions::revoke(tx, id, reason).await?) })
    }

    fn revoke_all<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        user: UserId,
        except: Option<SessionId>,
        reason: &'a str,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move { Ok(sessions::revoke_all(tx, user, except, reason).await?) })
    }

    fn revoke_of_users<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        users: &'a [UserId],
        reason: &'a str,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move { Ok(sessions::revoke_of_users(tx, users, reason).await?) })
    }

    fn list_revoked_within<'a>(&'a self, tx: &'a mut TenantTx, seconds: i64) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move { Ok(sessions::list_revoked_within(tx, seconds).await?) })
    }
}
