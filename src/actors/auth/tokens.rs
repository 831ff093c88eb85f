//! Tokens of a session: issuing them, and rotating the refresh token.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret;
use serde_json::json;

use super::messages::{AuthError, Refresh, TokenSet};
use super::{AuthContext, factors, federated, sign_out};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::mail_outbox::NewMail;
use crate::db::sessions::{Rotation, Session};
use crate::db::{TenantTx, audit, mail_outbox, users};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::Role;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::mail::MailKind;
use crate::domain::refresh_token::{self, RefreshDecision, RefreshToken};
use crate::domain::token::{self, AccessClaims};

/// What an access token says of its session.
pub(super) struct Grant {
    pub(super) user: UserId,
    pub(super) session: SessionId,
    pub(super) role: Role,
    pub(super) acr: String,
    pub(super) amr: Vec<String>,
    pub(super) auth_time: DateTime<Utc>,
    /// Number of the session's current refresh token.
    pub(super) counter: i64,
}

/// Signs the tokens of a session.
pub(super) fn issue(context: &AuthContext, view: &TenantView, grant: Grant) -> Result<TokenSet, AuthError> {
    let Grant { user, session, role, acr, amr, auth_time, counter } = grant;
    let expires_in = context.settings.auth.access_token_ttl_s;
    let now_s = clock::now_s();
    let claims = AccessClaims {
        iss: view.issuer.clone(),
        aud: context.settings.auth.audience.clone(),
        sub: user,
        tid: view.tenant.id,
        sid: session,
        jti: clock::new_id(),
        iat: now_s,
        nbf: now_s,
        exp: now_s + i64::try_from(expires_in).unwrap_or(0),
        auth_time: auth_time.timestamp(),
        acr,
        amr,
        roles: vec![role],
        epoch: view.tenant.epoch,
    };
    let access_token = token::sign_access(&view.keys.signing, &claims).map_err(AuthError::Signing)?;
    let refresh_token = RefreshToken { session, counter }.encode(view.tenant.id, &view.keys.refresh);
    Ok(TokenSet {
        access_token: access_token.into(),
        expires_in,
        refresh_token: refresh_token.into(),
        session_id: session,
    })
}

/// When a session that is used now ends without another refresh.
pub(super) fn idle_expiry(context: &AuthContext, view: &TenantView, now: DateTime<Utc>) -> DateTime<Utc> {
    let own = view.tenant.config.session.idle_timeout_s;
    now + lifetime(context.settings.sessions.idle_timeout_s, own)
}

/// When a session that begins now ends.
pub(super) fn absolute_expiry(context: &AuthContext, view: &TenantView, now: DateTime<Utc>) -> DateTime<Utc> {
    let own = view.tenant.config.session.absolute_timeout_s;
    now + lifetime(context.settings.sessions.absolute_timeout_s, own)
}

/// The shorter of the platform's and the tenant's own.
fn lifetime(platform_s: u64, own_s: Option<u64>) -> TimeDelta {
    let seconds = own_s.map_or(platform_s, |own_s| own_s.min(platform_s));
    TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1_000))
}

/// Rotates the refresh token, or repeats the last answer within the grace, or ends the family of a token used twice.
pub(super) async fn refresh(context: &AuthContext, message: Refresh) -> Result<TokenSet, AuthError> {
    let view = message.tenant.view_full();
    let presented = RefreshToken::decode(message.refresh_token.expose_secret(), view.tenant.id, &view.keys.refresh)
        .map_err(|_forged: refresh_token::RefreshTokenError| AuthError::InvalidRefreshToken)?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    factors::require_factor(context, &view, &mut tx, presented.session).await?;
    federated::require_provider(context, &view, &mut tx, presented.session).await?;
    let idle_expires_at = idle_expiry(context, &view, clock::now());
    let rotation = context.sessions.rotate(&mut tx, presented.session, presented.counter, idle_expires_at).await?;
    let session = match judge(context, view.tenant.epoch, presented.counter, rotation) {
        Ok(session) => session,
        Err(refusal) => {
            if let Refusal::Reuse { session, user } = refusal {
                end_family(context, &mut tx, session, user, message.source).await?;
            }
            tx.commit().await?;
            if let Refusal::Reuse { session, .. } = refusal {
                sign_out::revoke_here(&message.tenant, &[session]).await;
            }
            return Err(refusal.into());
        }
    };
    let role = Role::parse(&session.role).ok_or(AuthError::InvalidRefreshToken)?;
    tx.commit().await?;
    issue(
        context,
        &view,
        Grant {
            user: session.user_id.into(),
            session: session.id.into(),
            role,
            acr: session.acr,
            amr: session.amr,
            // The latest proof counts (RFC 9470 asks for the age of the authentication).
            auth_time: session.mfa_time.unwrap_or(session.auth_time),
            counter: session.refresh_ctr,
        },
    )
}

/// Why a refresh is refused.
enum Refusal {
    /// Never given out, or its session is gone.
    Invalid,
    /// Its session ran out.
    Expired,
    /// Its session or user was ended.
    Ended,
    /// Used before, and not just now.
    Reuse { session: SessionId, user: UserId },
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid => Self::InvalidRefreshToken,
            Refusal::Expired => Self::ExpiredSession,
            Refusal::Ended | Refusal::Reuse { .. } => Self::SessionRevoked,
        }
    }
}

fn judge(context: &AuthContext, epoch: i64, counter: i64, rotation: Rotation) -> Result<Session, Refusal> {
    let Rotation { rotated, session } = rotation;
    let session = session.ok_or(Refusal::Invalid)?;
    if session.revoked_at.is_some() || session.epoch < epoch || session.user_state != "active" {
        return Err(Refusal::Ended);
    }
    if rotated {
        return Ok(session);
    }
    // Before its counter is looked at: an old token of a session that ran out is no theft to be told of.
    if session.is_expired {
        return Err(Refusal::Expired);
    }
    let grace_ms = i64::try_from(context.settings.auth.refresh_grace_s).unwrap_or(0) * 1_000;
    match refresh_token::decide(counter, session.refresh_ctr, session.since_rotation_ms, grace_ms) {
        RefreshDecision::Repeat => Ok(session),
        RefreshDecision::Reuse => Err(Refusal::Reuse { session: session.id.into(), user: session.user_id.into() }),
        // The current number, and yet not rotated: the session ran out in this very moment.
        RefreshDecision::Rotate => Err(Refusal::Expired),
        RefreshDecision::Unknown => Err(Refusal::Invalid),
    }
}

async fn end_family(
    context: &AuthContext,
    tx: &mut TenantTx,
    session: SessionId,
    user: UserId,
    source: AuditSource,
) -> Result<(), AuthError> {
    context.sessions.revoke(tx, session, "refresh_token_reuse").await?;
    let mail_detail = json!({ "ip": source.ip, "user_agent": source.user_agent });
    let event = AuditEvent {
        actor: AuditActor::Anonymous,
        action: "session.refresh",
        target_kind: "session",
        target_id: Some(session.to_string()),
        outcome: AuditOutcome::Denied,
        code: Some("refresh-token-reuse"),
        source,
        detail: json!({ "user_id": user }),
    };
    audit::insert(tx, &event).await?;
    warn_user(tx, user, mail_detail).await
}

/// Tells the user by mail that somebody may have had their tokens.
async fn warn_user(tx: &mut TenantTx, user: UserId, detail: serde_json::Value) -> Result<(), AuthError> {
    if let Some(user) = users::find(tx, user).await? {
        let mail = NewMail { kind: MailKind::SessionReuse, recipient: &user.email, detail, row: None };
        mail_outbox::insert(tx, &mail).await?;
    }
    Ok(())
}
