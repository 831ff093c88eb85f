//! Codes that browsers bring to clients, which exchange them for tokens: `auth.sso_codes`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::DbError;
use super::sso_flows::FlowPurpose;
use super::tx::TenantTx;
use crate::domain::assurance::Acr;
use crate::domain::ids::{ConnectionId, SessionId, UserId};

/// What a code stands for: somebody proved who they are at a provider.
#[derive(Debug, Clone)]
pub struct Code {
    /// By which connection.
    pub connection: ConnectionId,
    /// What for.
    pub purpose: FlowPurpose,
    /// Who.
    pub user: UserId,
    /// The session that is strengthened or that links.
    pub session: Option<SessionId>,
    /// Who they are at the provider.
    pub subject: String,
    /// What the proof is worth here.
    pub acr: Acr,
    /// By what means.
    pub amr: Vec<String>,
    /// When.
    pub auth_time: DateTime<Utc>,
    /// SHA-256 of the browser's cookie.
    pub browser: Vec<u8>,
    /// PKCE challenge of the client.
    pub code_challenge: Option<String>,
    /// Until when it may be exchanged.
    pub expires_at: DateTime<Utc>,
}

/// Inserts a code.
///
/// # Errors
/// [`DbError`].
pub async fn insert(tx: &mut TenantTx, hash: &[u8], code: &Code) -> Result<(), DbError> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "INSERT INTO auth.sso_codes (tenant_id, code_hash, connection_id, purpose, user_id, session_id, subject, acr, amr,
                                     auth_time, browser_hash, code_challenge, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        tenant,
        hash,
        code.connection.uuid(),
        code.purpose.as_str(),
        code.user.uuid(),
        code.session.map(SessionId::uuid),
        code.subject,
        code.acr.as_str(),
        &code.amr,
        code.auth_time,
        code.browser,
        code.code_challenge.as_deref(),
        code.expires_at
    )
    .execute(tx.connection()?)
    .await?;
    Ok(())
}

struct CodeRow {
    connection_id: Uuid,
    purpose: String,
    user_id: Uuid,
    session_id: Option<Uuid>,
    subject: String,
    acr: String,
    amr: Vec<String>,
    auth_time: DateTime<Utc>,
    browser_hash: Vec<u8>,
    code_challenge: Option<String>,
    expires_at: DateTime<Utc>,
}

/// Takes a code; of any number of callers one gets it. It is gone even if what follows refuses it: a code is tried once.
///
/// # Errors
/// [`DbError`].
pub async fn take(tx: &mut TenantTx, hash: &[u8]) -> Result<Option<Code>, DbError> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        CodeRow,
        "DELETE FROM auth.sso_codes WHERE tenant_id = $1 AND code_hash = $2 AND expires_at > clock_timestamp()
         RETURNING connection_id, purpose, user_id, session_id, subject, acr, amr, auth_time, browser_hash, code_challenge,
                   expires_at",
        tenant,
        hash
    )
    .fetch_optional(tx.connection()?)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Code {
        connection: row.connection_id.into(),
        purpose: FlowPurpose::parse(&row.purpose).ok_or(DbError::Corrupt("sso_codes.purpose"))?,
        user: row.user_id.into(),
        session: row.session_id.map(SessionId::from),
        subject: row.subject,
        acr: Acr::parse(&row.acr).ok_or(DbError::Corrupt("sso_codes.acr"))?,
        amr: row.amr,
        auth_time: row.auth_time,
        browser: row.browser_hash,
        code_challenge: row.code_challenge,
        expires_at: row.expires_at,
    }))
}
