//! Sessions in Redis: one hash for each, one sorted set of ids for each user and one for each tenant's recently revoked.
//!
//! Everything that decides is a script, so that a rotation and a revocation cannot interleave, and all times are compared with
//! Redis' own clock. Names have the tenant in braces: in a cluster all keys of a tenant are in one slot.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use redis::Script;
use uuid::Uuid;

use super::{Redis, RedisError};
use crate::domain::ids::{SessionId, TenantId, UserId};

/// A record stays so long after its session ran out, in milliseconds: longer than any access token lives, so that what is left
/// of them can be revoked.
const KEEP_MS: i64 = 3_700_000;

/// Ids of sessions that ended now, and of some that had ended before.
pub type RevokedSessions = (Vec<SessionId>, Vec<SessionId>);

/// A session to be.
#[derive(Debug)]
pub struct NewSessionRecord<'a> {
    /// Id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Ends without a refresh before then.
    pub idle_expires_at: DateTime<Utc>,
    /// Ends then.
    pub absolute_expires_at: DateTime<Utc>,
    /// How strongly the user proved who they are.
    pub acr: &'a str,
    /// By what means (RFC 8176): words without blanks.
    pub amr: &'a [String],
    /// When the first factor was shown.
    pub auth_time: DateTime<Utc>,
    /// When a further factor was shown.
    pub mfa_time: Option<DateTime<Utc>>,
    /// The tenant's epoch at sign-in.
    pub epoch: i64,
    /// Client address.
    pub ip: Option<&'a str>,
    /// Client program.
    pub user_agent: Option<&'a str>,
}

/// A session as stored. Times are whole milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Number of the current refresh token.
    pub counter: i64,
    /// Milliseconds since it was given out, by Redis' clock.
    pub since_rotation_ms: i64,
    /// How strongly the user proved who they are.
    pub acr: String,
    /// By what means.
    pub amr: Vec<String>,
    /// When the first factor was shown.
    pub auth_time: DateTime<Utc>,
    /// When a further factor was last shown.
    pub mfa_time: Option<DateTime<Utc>>,
    /// When the session began.
    pub created_at: DateTime<Utc>,
    /// When it was last refreshed.
    pub rotated_at: DateTime<Utc>,
    /// When it ends without another refresh.
    pub idle_expires_at: DateTime<Utc>,
    /// When it ends.
    pub absolute_expires_at: DateTime<Utc>,
    /// Client address at sign-in.
    pub ip: Option<String>,
    /// Client program at sign-in.
    pub user_agent: Option<String>,
    /// The tenant's epoch at sign-in.
    pub epoch: i64,
    /// When it was ended.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Whether it has run out, by Redis' clock.
    pub is_expired: bool,
}

/// What came of a rotation.
#[derive(Debug)]
pub struct RotatedRecord {
    /// Whether this caller rotated the family.
    pub rotated: bool,
    /// The family as it is now, if there is one.
    pub record: Option<SessionRecord>,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("scripts/common.lua"), "\n", include_str!(concat!("scripts/", $file))))
        });)*
    };
}

scripts! {
    INSERT = "insert.lua";
    ROTATE = "rotate.lua";
    FIND = "find.lua";
    LIST = "list.lua";
    ELEVATE = "elevate.lua";
    REVOKE = "revoke.lua";
    REVOKE_ALL = "revoke_all.lua";
    RECENT = "recent.lua";
}

impl Redis {
    /// Adds a session.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn insert_session(&self, tenant: TenantId, new: &NewSessionRecord<'_>) -> Result<(), RedisError> {
        let NewSessionRecord { id, user, idle_expires_at, absolute_expires_at, acr, amr, auth_time, .. } = new;
        let NewSessionRecord { mfa_time, epoch, ip, user_agent, .. } = new;
        let mut script = INSERT.key(session_key(tenant, *id));
        script
            .key(user_key(tenant, *user))
            .arg(id.to_string())
            .arg(KEEP_MS)
            .arg(absolute_expires_at.timestamp_millis());
        script.arg("user").arg(user.to_string()).arg("acr").arg(*acr).arg("amr").arg(amr.join(" "));
        script.arg("epoch").arg(*epoch);
        for (field, time) in [
            ("idle", Some(idle_expires_at.min(absolute_expires_at))),
            ("absolute", Some(absolute_expires_at)),
            ("auth_time", Some(auth_time)),
            ("mfa_time", mfa_time.as_ref()),
        ] {
            if let Some(time) = time {
                script.arg(field).arg(time.timestamp_millis());
            }
        }
        for (field, text) in [("ip", ip), ("agent", user_agent)] {
            if let Some(text) = text {
                script.arg(field).arg(*text);
            }
        }
        self.run(&script).await
    }

    /// Rotates the family by compare-and-set on its counter.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn rotate_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        counter: i64,
        idle_expires_at: DateTime<Utc>,
    ) -> Result<RotatedRecord, RedisError> {
        let mut script = ROTATE.key(session_key(tenant, id));
        script.arg(counter).arg(idle_expires_at.timestamp_millis()).arg(KEEP_MS);
        let (won, now_ms, fields): (u8, i64, Fields) = self.run(&script).await?;
        Ok(RotatedRecord { rotated: won == 1, record: read(id, now_ms, fields)? })
    }

    /// The session with this id.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn find_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<SessionRecord>, RedisError> {
        let (now_ms, fields): (i64, Fields) = self.run(&FIND.key(session_key(tenant, id))).await?;
        read(id, now_ms, fields)
    }

    /// The user's sessions that are alive, the latest used first.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn list_sessions(&self, tenant: TenantId, user: UserId) -> Result<Vec<SessionRecord>, RedisError> {
        let mut script = LIST.key(user_key(tenant, user));
        let found: Vec<(String, i64, Fields)> = self.run(script.arg(session_prefix(tenant))).await?;
        let mut records = Vec::with_capacity(found.len());
        for (id, now_ms, fields) in found {
            records.extend(read(parse_id(&id)?, now_ms, fields)?);
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.rotated_at));
        Ok(records)
    }

    /// Writes down a further factor and counts up by two; false if the session is not alive.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn elevate_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        acr: &str,
        method: &str,
        at: DateTime<Utc>,
    ) -> Result<bool, RedisError> {
        let mut script = ELEVATE.key(session_key(tenant, id));
        self.run(script.arg(acr).arg(method).arg(at.timestamp_millis())).await
    }

    /// Ends a session. A known one is in the answer, whether it ended now or before.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn revoke_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        reason: &str,
    ) -> Result<RevokedSessions, RedisError> {
        let mut script = REVOKE.key(session_key(tenant, id));
        script.key(recent_key(tenant)).arg(id.to_string()).arg(reason).arg(KEEP_MS);
        match self.run::<u8>(&script).await? {
            0 => Ok((Vec::new(), Vec::new())),
            1 => Ok((Vec::new(), vec![id])),
            _ => Ok((vec![id], Vec::new())),
        }
    }

    /// Ends the user's open sessions but one.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn revoke_sessions(
        &self,
        tenant: TenantId,
        user: UserId,
        except: Option<SessionId>,
        reason: &str,
    ) -> Result<RevokedSessions, RedisError> {
        let mut script = REVOKE_ALL.key(user_key(tenant, user));
        script.key(recent_key(tenant)).arg(session_prefix(tenant));
        script.arg(except.map(|id| id.to_string()).unwrap_or_default()).arg(reason).arg(KEEP_MS);
        let (ended, before): (Vec<String>, Vec<String>) = self.run(&script).await?;
        let parse = |ids: Vec<String>| ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>, _>>();
        Ok((parse(ended)?, parse(before)?))
    }

    /// Sessions ended within the last `seconds`, by Redis' clock; it remembers a little more than an hour.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn list_revoked_sessions(&self, tenant: TenantId, seconds: i64) -> Result<Vec<SessionId>, RedisError> {
        let mut script = RECENT.key(recent_key(tenant));
        let ids: Vec<String> = self.run(script.arg(seconds.saturating_mul(1_000))).await?;
        ids.iter().map(|id| parse_id(id)).collect()
    }
}

type Fields = HashMap<String, String>;

fn session_prefix(tenant: TenantId) -> String {
    format!("s:{{{tenant}}}:")
}

fn session_key(tenant: TenantId, id: SessionId) -> String {
    format!("s:{{{tenant}}}:{id}")
}

fn user_key(tenant: TenantId, user: UserId) -> String {
    format!("u:{{{tenant}}}:{user}")
}

fn recent_key(tenant: TenantId) -> String {
    format!("r:{{{tenant}}}")
}

fn parse_id(text: &str) -> Result<SessionId, RedisError> {
    text.parse().map_err(|_other: uuid::Error| RedisError::Corrupt("session id"))
}

/// A record from its fields; none = there is no record.
fn read(id: SessionId, now_ms: i64, mut fields: Fields) -> Result<Option<SessionRecord>, RedisError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let number = |name: &'static str| fields.get(name).and_then(|text| text.parse::<i64>().ok());
    let need = |name: &'static str| number(name).ok_or(RedisError::Corrupt(name));
    let time = |name: &'static str, ms: i64| DateTime::from_timestamp_millis(ms).ok_or(RedisError::Corrupt(name));
    let need_time = |name: &'static str| need(name).and_then(|ms| time(name, ms));
    let find_time = |name: &'static str| number(name).map(|ms| time(name, ms)).transpose();
    let user = fields.get("user").and_then(|text| text.parse::<Uuid>().ok()).ok_or(RedisError::Corrupt("user"))?;
    let (rotated_ms, idle_ms, absolute_ms) = (need("rotated")?, need("idle")?, need("absolute")?);
    let record = SessionRecord {
        id,
        user: user.into(),
        counter: need("counter")?,
        since_rotation_ms: now_ms - rotated_ms,
        acr: fields.get("acr").cloned().ok_or(RedisError::Corrupt("acr"))?,
        amr: fields.get("amr").into_iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect(),
        auth_time: need_time("auth_time")?,
        mfa_time: find_time("mfa_time")?,
        created_at: need_time("created")?,
        rotated_at: time("rotated", rotated_ms)?,
        idle_expires_at: time("idle", idle_ms)?,
        absolute_expires_at: time("absolute", absolute_ms)?,
        epoch: need("epoch")?,
        revoked_at: find_time("revoked")?,
        is_expired: now_ms >= idle_ms.min(absolute_ms),
        ip: None,
        user_agent: None,
    };
    Ok(Some(SessionRecord { ip: fields.remove("ip"), user_agent: fields.remove("agent"), ..record }))
}
