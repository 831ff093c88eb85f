//! Sessions: `auth.sessions`, one row for each refresh-token family.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{SessionId, UserId};

/// A session to be.
#[derive(Debug)]
pub struct NewSession<'a> {
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
    /// By what means (RFC 8176).
    pub amr: &'a [String],
    /// When the first factor was shown.
    pub auth_time: DateTime<Utc>,
    /// When a further factor was shown.
    pub mfa_time: Option<DateTime<Utc>>,
    /// The tenant's epoch at sign-in.
    pub epoch: i64,
    /// Client address.
    pub ip: Option<String>,
    /// Client program.
    pub user_agent: Option<&'a str>,
}

/// A session as stored, with what its user may do now.
#[derive(Debug, Clone)]
pub struct Session {
    /// Id.
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// Number of the current refresh token.
    pub refresh_ctr: i64,
    /// Milliseconds since it was given out, by the database's clock.
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
    /// The tenant's epoch at sign-in; a session of an earlier one is dead.
    pub epoch: i64,
    /// When it was ended.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Whether it has run out, by the store's clock.
    pub is_expired: bool,
    /// The user's role.
    pub role: String,
    /// The user's state.
    pub user_state: String,
}

/// Inserts a session.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewSession<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.sessions (tenant_id, id, user_id, idle_expires_at, absolute_expires_at, acr, amr, auth_time, ip,
                                    user_agent, epoch, mfa_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::inet, $10, $11, $12)",
        tenant,
        new.id.uuid(),
        new.user.uuid(),
        new.idle_expires_at,
        new.absolute_expires_at,
        new.acr,
        new.amr,
        new.auth_time,
        new.ip.as_deref(),
        new.user_agent,
        new.epoch,
        new.mfa_time
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// The session with this id, and its user.
///
/// # Errors
/// [`DbError`].
pub async fn find(tx: &mut TenantTx, id: SessionId) -> Result<Option<Session>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Session,
        r#"SELECT s.id, s.user_id, s.refresh_ctr, s.acr, s.amr, s.auth_time, s.mfa_time, s.epoch, s.revoked_at,
                  s.created_at, s.rotated_at, s.idle_expires_at, s.absolute_expires_at, host(s.ip) AS ip, s.user_agent,
                  u.role, u.state AS user_state,
                  clock_timestamp() >= least(s.idle_expires_at, s.absolute_expires_at) AS "is_expired!",
                  (extract(epoch FROM clock_timestamp() - s.rotated_at) * 1000)::bigint AS "since_rotation_ms!"
         FROM auth.sessions s JOIN auth.users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
         WHERE s.tenant_id = $1 AND s.id = $2"#,
        tenant,
        id.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// What came of a rotation.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// Whether this caller rotated the family.
    pub rotated: bool,
    /// The family as it is now, if there is one.
    pub session: Option<Session>,
}

/// Rotates the family by compare-and-set on its counter: of any number of callers with the same token one rotates. That one
/// needs a single statement; whoever comes too late reads the family as the winner left it, in a second one, because the first
/// one's snapshot is older than that.
///
/// # Errors
/// [`DbError`].
pub async fn rotate(
    tx: &mut TenantTx,
    id: SessionId,
    counter: i64,
    idle_expires_at: DateTime<Utc>,
) -> Result<Rotation, DbError> {
    let tenant = tx.tenant().uuid();
    let rotated = sqlx::query_as!(
        Session,
        r#"UPDATE auth.sessions s SET refresh_ctr = s.refresh_ctr + 1, rotated_at = clock_timestamp(),
                  idle_expires_at = least($4, s.absolute_expires_at)
         FROM auth.users u
         WHERE s.tenant_id = $1 AND s.id = $2 AND s.refresh_ctr = $3 AND s.revoked_at IS NULL
               AND clock_timestamp() < least(s.idle_expires_at, s.absolute_expires_at)
               AND u.tenant_id = s.tenant_id AND u.id = s.user_id
         RETURNING s.id, s.user_id, s.refresh_ctr, s.acr, s.amr, s.auth_time, s.mfa_time, s.epoch, s.revoked_at,
                   s.created_at, s.rotated_at, s.idle_expires_at, s.absolute_expires_at, host(s.ip) AS ip, s.user_agent,
                   u.role, u.state AS user_state, false AS "is_expired!", 0::bigint AS "since_rotation_ms!""#,
        tenant,
        id.uuid(),
        counter,
        idle_expires_at
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(match rotated {
        Some(session) => Rotation { rotated: true, session: Some(session) },
        None => Rotation { rotated: false, session: find(tx, id).await? },
    })
}

/// The user's sessions that are alive, the latest used first.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &mut TenantTx, user: UserId) -> Result<Vec<Session>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        Session,
        r#"SELECT s.id, s.user_id, s.refresh_ctr, s.acr, s.amr, s.auth_time, s.mfa_time, s.epoch, s.revoked_at,
                  s.created_at, s.rotated_at, s.idle_expires_at, s.absolute_expires_at, host(s.ip) AS ip, s.user_agent,
                  u.role, u.state AS user_state,
                  clock_timestamp() >= least(s.idle_expires_at, s.absolute_expires_at) AS "is_expired!",
                  (extract(epoch FROM clock_timestamp() - s.rotated_at) * 1000)::bigint AS "since_rotation_ms!"
         FROM auth.sessions s
         JOIN auth.users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
         JOIN platform.tenants t ON t.tenant_id = s.tenant_id
         WHERE s.tenant_id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL AND s.epoch >= t.epoch
               AND clock_timestamp() < least(s.idle_expires_at, s.absolute_expires_at)
         ORDER BY s.rotated_at DESC"#,
        tenant,
        user.uuid()
    )
    .fetch_all(tx.connection()?)
    .await?)
}

/// Writes down that the session's user has shown a further factor; false if the session is not alive. The counter goes up by two, so
/// that no refresh token of before is the current one or the one before it.
///
/// # Errors
/// [`DbError`].
pub async fn elevate(
    tx: &mut TenantTx,
    id: SessionId,
    acr: &str,
    method: &str,
    at: DateTime<Utc>,
) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.sessions SET acr = greatest(acr, $3), mfa_time = $5, refresh_ctr = refresh_ctr + 2,
                rotated_at = clock_timestamp(),
                amr = CASE WHEN $4 = ANY (amr) THEN amr ELSE array_append(amr, $4) END
         WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL
               AND clock_timestamp() < least(idle_expires_at, absolute_expires_at)",
        tenant,
        id.uuid(),
        acr,
        method,
        at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Ends a session; returns whether it was still open. It is the same row that a refresh updates, so the two cannot
/// interleave.
///
/// # Errors
/// [`DbError`].
pub async fn revoke(tx: &mut TenantTx, id: SessionId, reason: &str) -> Result<bool, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "UPDATE auth.sessions SET revoked_at = clock_timestamp(), revoked_reason = $3
         WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
        tenant,
        id.uuid(),
        reason
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Ends the user's open sessions but `except`; returns their ids.
///
/// # Errors
/// [`DbError`].
pub async fn revoke_all(
    tx: &mut TenantTx,
    user: UserId,
    except: Option<SessionId>,
    reason: &str,
) -> Result<Vec<SessionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query_scalar!(
        "UPDATE auth.sessions SET revoked_at = clock_timestamp(), revoked_reason = $3
         WHERE tenant_id = $1 AND user_id = $2 AND revoked_at IS NULL AND id IS DISTINCT FROM $4 RETURNING id",
        tenant,
        user.uuid(),
        reason,
        except.map(SessionId::uuid)
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows.into_iter().map(SessionId::from).collect())
}

/// Ends the open sessions of several users; returns their ids.
///
/// # Errors
/// [`DbError`].
pub async fn revoke_of_users(tx: &mut TenantTx, users: &[UserId], reason: &str) -> Result<Vec<SessionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let users: Vec<Uuid> = users.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_scalar!(
        "UPDATE auth.sessions SET revoked_at = clock_timestamp(), revoked_reason = $3
         WHERE tenant_id = $1 AND user_id = ANY($2) AND revoked_at IS NULL RETURNING id",
        tenant,
        &users,
        reason
    )
    .fetch_all(tx.connection()?)
    .await?;
    Ok(rows.into_iter().map(SessionId::from).collect())
}

/// Sessions ended within the last `seconds`, by the database's clock: those whose access tokens may still be alive.
///
/// # Errors
/// [`DbError`].
pub async fn list_revoked_within(tx: &mut TenantTx, seconds: i64) -> Result<Vec<SessionId>, DbError> {
    let tenant = tx.tenant().uuid();
    let rows =
        sqlx::query_scalar!("SELECT id FROM auth.sessions WHERE tenant_id = $1 AND revoked_at > clock_timestamp() - $2::bigint * interval '1 second'", tenant, seconds)
            .fetch_all(tx.connection()?)
            .await?;
    Ok(rows.into_iter().map(SessionId::from).collect())
}

/// The owner of a session that another store keeps, and from which epoch of the tenant on sessions live.
#[derive(Debug, Clone)]
pub struct SessionOwner {
    /// The user's role.
    pub role: String,
    /// The user's state.
    pub user_state: String,
    /// The tenant's epoch.
    pub epoch: i64,
}

/// What a store of sessions elsewhere must know of their user; none = there is no such user (any more).
///
/// # Errors
/// [`DbError`].
pub async fn find_owner(tx: &mut TenantTx, user: UserId) -> Result<Option<SessionOwner>, DbError> {
    let tenant = tx.tenant().uuid();
    Ok(sqlx::query_as!(
        SessionOwner,
        "SELECT u.role, u.state AS user_state, t.epoch
         FROM auth.users u JOIN platform.tenants t ON t.tenant_id = u.tenant_id
         WHERE u.tenant_id = $1 AND u.id = $2",
        tenant,
        user.uuid()
    )
    .fetch_optional(tx.connection()?)
    .await?)
}

/// Announces to every node that sessions of another store have ended, at the commit. Those of `auth.sessions` are announced by
/// a trigger.
///
/// # Errors
/// [`DbError`].
pub async fn announce_ended(tx: &mut TenantTx, ended: &[SessionId]) -> Result<(), DbError> {
    let ended: Vec<Uuid> = ended.iter().map(|id| id.uuid()).collect();
    sqlx::query!("SELECT auth.announce_ended_sessions($1)", &ended).execute(tx.connection()?).await?;
    Ok(())
}

/// Deletes up to `n` of the tenant's sessions that ended or ran out over a week ago; returns how many. Until then a refresh token of
/// theirs is told that its session ended, afterwards that it is not known.
///
/// # Errors
/// [`DbError`].
pub async fn delete_old(tx: &mut TenantTx, n: i64) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let result = sqlx::query!(
        "DELETE FROM auth.sessions
         WHERE tenant_id = $1 AND id IN (
             SELECT id FROM auth.sessions
             WHERE tenant_id = $1
               AND least(revoked_at, idle_expires_at, absolute_expires_at) < clock_timestamp() - interval '7 days'
             LIMIT $2 FOR UPDATE SKIP LOCKED)",
        tenant,
        n
    )
    .execute(tx.connection()?)
    .await?;
    Ok(result.rows_affected())
}
