//! Sign-ins by a connection that are under way: `auth.sso_flows`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::tx::TenantTx;
use crate::domain::ids::{ConnectionId, SessionId, UserId};

/// What a browser goes to a provider for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowPurpose {
    /// To sign in.
    SignIn,
    /// To show a second factor within a session.
    StepUp,
    /// To be known under the person that they are there.
    Link,
}

impl FlowPurpose {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::StepUp => "step_up",
            Self::Link => "link",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::SignIn, Self::StepUp, Self::Link].into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// A flow to be.
#[derive(Debug)]
pub struct NewFlow<'a> {
    /// Id of the row that `state` stands for.
    pub id: Uuid,
    /// Where to.
    pub connection: ConnectionId,
    /// What for.
    pub purpose: FlowPurpose,
    /// Who began it, with their session; none for a sign-in.
    pub by: Option<(UserId, SessionId)>,
    /// SHA-256 of the browser's cookie; none until a browser has left with it.
    pub browser: Option<&'a [u8]>,
    /// Where the browser goes afterwards.
    pub return_to: &'a str,
    /// What the client wants back with it.
    pub client_state: Option<&'a str>,
    /// PKCE challenge of the client.
    pub code_challenge: Option<&'a str>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A flow.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Where to.
    pub connection: ConnectionId,
    /// What for.
    pub purpose: FlowPurpose,
    /// Who began it, with their session.
    pub by: Option<(UserId, SessionId)>,
    /// Where the browser goes afterwards.
    pub return_to: String,
    /// What the client wants back with it.
    pub client_state: Option<String>,
    /// PKCE challenge of the client.
    pub code_challenge: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
}

struct FlowRow {
    connection_id: Uuid,
    purpose: String,
    user_id: Option<Uuid>,
    session_id: Option<Uuid>,
    return_to: String,
    client_state: Option<String>,
    code_challenge: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<FlowRow> for Flow {
    type Error = DbError;

    fn try_from(row: FlowRow) -> Result<Self, DbError> {
        let FlowRow {
            connection_id,
            purpose,
            user_id,
            session_id,
            return_to,
            client_state,
            code_challenge,
            created_at,
        } = row;
        Ok(Self {
            connection: connection_id.into(),
            purpose: FlowPurpose::parse(&purpose).ok_or(DbError::Corrupt("sso_flows.purpose"))?,
            by: user_id.map(UserId::from).zip(session_id.map(SessionId::from)),
            return_to,
            client_state,
            code_challenge,
            created_at,
        })
    }
}

/// Inserts a flow.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, new: &NewFlow<'_>) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.sso_flows (tenant_id, id, connection_id, purpose, user_id, session_id, browser_hash, return_to,
                                     client_state, code_challenge, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tenant,
        new.id,
        new.connection.uuid(),
        new.purpose.as_str(),
        new.by.map(|(user, _)| user.uuid()),
        new.by.map(|(_, session)| session.uuid()),
        new.browser,
        new.return_to,
        new.client_state,
        new.code_challenge,
        new.expires_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

/// Gives a flow that a signed-in user began to the browser that leaves with it: the first one, and no other.
///
/// # Errors
/// [`DbError`].
pub async fn bind(tx: &mut TenantTx, id: Uuid, browser: &[u8]) -> Result<Option<Flow>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        FlowRow,
        "UPDATE auth.sso_flows SET browser_hash = $3
         WHERE tenant_id = $1 AND id = $2 AND browser_hash IS NULL AND used_at IS NULL AND expires_at > clock_timestamp()
         RETURNING connection_id, purpose, user_id, session_id, return_to, client_state, code_challenge, created_at",
        tenant,
        id,
        browser
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(Flow::try_from)
    .transpose()
}

/// Notes the ID of the request that a flow leaves with.
///
/// # Errors
/// [`DbError`].
pub async fn set_request(tx: &mut TenantTx, id: Uuid, request: &str) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("UPDATE auth.sso_flows SET request_id = $3 WHERE tenant_id = $1 AND id = $2", tenant, id, request)
        .execute(tx.connection()?)
        .await?;
    Ok(())
}

/// The connection of a flow that waits, and the ID of the request that it left with.
///
/// # Errors
/// [`DbError`].
pub async fn find_waiting(tx: &mut TenantTx, id: Uuid) -> Result<Option<(ConnectionId, String)>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"SELECT connection_id, request_id AS "request_id!" FROM auth.sso_flows
           WHERE tenant_id = $1 AND id = $2 AND request_id IS NOT NULL AND browser_hash IS NOT NULL AND used_at IS NULL
             AND expires_at > clock_timestamp()"#,
        tenant,
        id
    )
    .fetch_optional(tx.connection()?)
    .await?;
    Ok(row.map(|row| (row.connection_id.into(), row.request_id)))
}

/// Uses a flow up, for the browser that left with it; of any number of callers one gets it. Another browser changes nothing.
///
/// # Errors
/// [`DbError`].
pub async fn spend(tx: &mut TenantTx, id: Uuid, browser: &[u8]) -> Result<Option<Flow>, DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        FlowRow,
        "UPDATE auth.sso_flows SET used_at = clock_timestamp()
         WHERE tenant_id = $1 AND id = $2 AND browser_hash = $3 AND used_at IS NULL AND expires_at > clock_timestamp()
         RETURNING connection_id, purpose, user_id, session_id, return_to, client_state, code_challenge, created_at",
        tenant,
        id,
        browser
    )
    .fetch_optional(tx.connection()?)
    .await?
    .map(Flow::try_from)
    .transpose()
}

/// Deletes the tenant's flows that are over, codes that ran out, and what is known of sessions that have ended; returns how many rows.
///
/// # Errors
/// [`DbError`].
pub async fn delete_over(tx: &mut TenantTx) -> Result<u64, DbError> {
    let tenant = tx.tenant().uuid();
    let flows =
        sqlx::query!("DELETE FROM auth.sso_flows WHERE tenant_id = $1 AND expires_at < clock_timestamp()", tenant)
            .execute(tx.connection()?)
            .await?;
    let codes =
        sqlx::query!("DELETE FROM auth.sso_codes WHERE tenant_id = $1 AND expires_at < clock_timestamp()", tenant)
            .execute(tx.connection()?)
            .await?;
    let sessions =
        sqlx::query!("DELETE FROM auth.sso_sessions WHERE tenant_id = $1 AND ends_at < clock_timestamp()", tenant)
            .execute(tx.connection()?)
            .await?;
    Ok(flows.rows_affected() + codes.rows_affected() + sessions.rows_affected())
}
