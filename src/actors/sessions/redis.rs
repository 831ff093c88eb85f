//! Sessions in Redis. What their users may do is read from the database, in the caller's transaction.

use chrono::{DateTime, Utc};

use super::{Elevation, SessionStore, SessionStoreError, StoreFuture};
use crate::clients::redis::{NewSessionRecord, Redis, RevokedSessions, SessionRecord};
use crate::db::TenantTx;
use crate::db::sessions::{self, NewSession, Rotation, Session, SessionOwner};
use crate::domain::ids::{SessionId, UserId};

/// Sessions in a Redis that all nodes share: refreshes cost the database a look at the user and no write.
#[derive(Debug, Clone)]
pub struct RedisSessions {
    redis: Redis,
}

impl RedisSessions {
    /// A store in this Redis.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

impl SessionStore for RedisSessions {
    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move { Ok(self.redis.ping().await?) })
    }

    fn insert<'a>(&'a self, tx: &'a mut TenantTx, new: &'a NewSession<'a>) -> StoreFuture<'a, ()> {
        let NewSession { id, user, idle_expires_at, absolute_expires_at, acr, amr, auth_time, .. } = *new;
        let NewSession { mfa_time, epoch, user_agent, .. } = *new;
        let ip = new.ip.as_deref();
        Box::pin(async move {
            let record = NewSessionRecord {
                id,
                user,
                idle_expires_at,
                absolute_expires_at,
                acr,
                amr,
                auth_time,
                mfa_time,
                epoch,
                ip,
                user_agent,
            };
            Ok(self.redis.insert_session(tx.tenant(), &record).await?)
        })
    }

    fn rotate<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        id: SessionId,
        counter: i64,
        idle_expires_at: DateTime<Utc>,
    ) -> StoreFuture<'a, Rotation> {
        Box::pin(async move {
            let rotated = self.redis.rotate_session(tx.tenant(), id, counter, idle_expires_at).await?;
            Ok(Rotation { rotated: rotated.rotated, session: complete(tx, rotated.record).await? })
        })
    }

    fn find<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId) -> StoreFuture<'a, Option<Session>> {
        Box::pin(async move {
            let record = self.redis.find_session(tx.tenant(), id).await?;
            complete(tx, record).await
        })
    }

    fn list<'a>(&'a self, tx: &'a mut TenantTx, user: UserId) -> StoreFuture<'a, Vec<Session>> {
        Box::pin(async move {
            let Some(owner) = sessions::find_owner(tx, user).await? else { return Ok(Vec::new()) };
            let records = self.redis.list_sessions(tx.tenant(), user).await?;
            let is_current = |record: &SessionRecord| record.epoch >= owner.epoch;
            Ok(records.into_iter().filter(is_current).map(|record| join(record, &owner)).collect())
        })
    }

    fn elevate<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId, elevation: Elevation<'a>) -> StoreFuture<'a, bool> {
        let Elevation { acr, method, at } = elevation;
        Box::pin(async move { Ok(self.redis.elevate_session(tx.tenant(), id, acr.as_str(), method, at).await?) })
    }

    fn revoke<'a>(&'a self, tx: &'a mut TenantTx, id: SessionId, reason: &'a str) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let revoked = self.redis.revoke_session(tx.tenant(), id, reason).await?;
            Ok(!announce(tx, revoked).await?.is_empty())
        })
    }

    fn revoke_all<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        user: UserId,
        except: Option<SessionId>,
        reason: &'a str,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            let revoked = self.redis.revoke_sessions(tx.tenant(), user, except, reason).await?;
            announce(tx, revoked).await
        })
    }

    fn revoke_of_users<'a>(
        &'a self,
        tx: &'a mut TenantTx,
        users: &'a [UserId],
        reason: &'a str,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            let mut all: RevokedSessions = (Vec::new(), Vec::new());
            for user in users {
                let (ended, before) = self.redis.revoke_sessions(tx.tenant(), *user, None, reason).await?;
                all.0.extend(ended);
                all.1.extend(before);
            }
            announce(tx, all).await
        })
    }

    fn list_revoked_within<'a>(&'a self, tx: &'a mut TenantTx, seconds: i64) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move { Ok(self.redis.list_revoked_sessions(tx.tenant(), seconds).await?) })
    }
}

/// A session with its user; none if the user is gone, as a session in the database would be.
async fn complete(tx: &mut TenantTx, record: Option<SessionRecord>) -> Result<Option<Session>, SessionStoreError> {
    let Some(record) = record else { return Ok(None) };
    let owner = sessions::find_owner(tx, record.user).await?;
    Ok(owner.map(|owner| join(record, &owner)))
}

/// Tells every node at the commit. Sessions that had ended before are told again: the commit that should have told of them may
/// have failed.
async fn announce(tx: &mut TenantTx, revoked: RevokedSessions) -> Result<Vec<SessionId>, SessionStoreError> {
    let (ended, before) = revoked;
    let all: Vec<SessionId> = ended.iter().chain(&before).copied().collect();
    if !all.is_empty() {
        sessions::announce_ended(tx, &all).await?;
    }
    Ok(ended)
}

fn join(record: SessionRecord, owner: &SessionOwner) -> Session {
    Session {
        id: record.id.uuid(),
        user_id: record.user.uuid(),
        refresh_ctr: record.counter,
        since_rotation_ms: record.since_rotation_ms,
        acr: record.acr,
        amr: record.amr,
        auth_time: record.auth_time,
        mfa_time: record.mfa_time,
        created_at: record.created_at,
        rotated_at: record.rotated_at,
        idle_expires_at: record.idle_expires_at,
        absolute_expires_at: record.absolute_expires_at,
        ip: record.ip,
        user_agent: record.user_agent,
        epoch: record.epoch,
        revoked_at: record.revoked_at,
        is_expired: record.is_expired,
        role: owner.role.clone(),
        user_state: owner.user_state.clone(),
    }
}
