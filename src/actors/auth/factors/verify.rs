//! Showing a second factor: at sign-in, and to strengthen a session that is under way.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::challenge::{claim_attempt, meet, row_of, user_of};
use super::code::{self, ReadCode};
use super::messages::{StepUp, VerifyCode};
use super::trail::{self, Happened};
use crate::actors::auth::begin::{self, Proof};
use crate::actors::auth::tokens::{Grant, idle_expiry, issue};
use crate::actors::auth::{AuthContext, AuthError, TokenSet};
use crate::actors::sessions::Elevation;
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::TenantTx;
use crate::domain::assurance::Acr;
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::factor::{CodePurpose, FactorKind, MAX_CODES};
use crate::domain::identity::Role;
use crate::domain::ids::{SessionId, UserId};

/// Finishes a waiting sign-in.
pub(super) async fn verify(context: &AuthContext, message: VerifyCode) -> Result<TokenSet, AuthError> {
    let VerifyCode { tenant, mfa_token, code, source } = message;
    let view = tenant.view_full();
    let challenge = row_of(&view, &mfa_token)?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let user = claim_attempt(&mut tx, challenge).await?.id;
    let claimed = code::claim(&mut tx, user, CodePurpose::SignIn).await;
    tx.commit().await?;
    let n_tried = claimed?;

    let read = code::read(context, view.tenant.id, user, &code).await?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let user = user_of(&mut tx, user).await?;
    if !code::use_up(&mut tx, user.id, read, CodePurpose::SignIn).await? {
        if n_tried == MAX_CODES {
            // Whoever guesses here has the password.
            trail::warn_of_guessing(&mut tx, &user).await?;
        }
        fail(tx, AuditActor::Anonymous, "mfa.verify", user.id, read, &source).await?;
        return Err(AuthError::InvalidMfaCode);
    }
    // If it was met meanwhile by another factor, nothing is committed and the code stays good.
    let connection = meet(&mut tx, Some(challenge)).await?;
    succeed(&mut tx, "mfa.verify", user.id, read, &source).await?;
    let proof = match read.kind() {
        FactorKind::RecoveryCode => Proof::PASSWORD_AND_RECOVERY_CODE,
        FactorKind::Totp | FactorKind::Webauthn => Proof::PASSWORD_AND_TOTP,
    };
    let grant = begin::session(context, &view, &mut tx, &user, proof.after(connection), source).await?;
    tx.commit().await?;
    issue(context, &view, grant)
}

/// Strengthens a session.
pub(super) async fn step_up(context: &AuthContext, message: StepUp) -> Result<TokenSet, AuthError> {
    let StepUp { tenant, by, code, source } = message;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let claimed = code::claim(&mut tx, by.user, CodePurpose::StepUp).await;
    tx.commit().await?;
    claimed?;

    let read = code::read(context, view.tenant.id, by.user, &code).await?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    if !code::use_up(&mut tx, by.user, read, CodePurpose::StepUp).await? {
        fail(tx, AuditActor::User(by.user), "session.step_up", by.user, read, &source).await?;
        return Err(AuthError::InvalidMfaCode);
    }
    succeed(&mut tx, "session.step_up", by.user, read, &source).await?;
    let grant = elevate(context, &view, &mut tx, by.session, "otp", clock::now()).await?;
    tx.commit().await?;
    issue(context, &view, grant)
}

/// Writes the further factor into the session and gives it another refresh token: one that was stolen before the step-up is of no
/// use after it, not even within the grace of a refresh.
pub(in crate::actors::auth) async fn elevate(
    context: &AuthContext,
    view: &TenantView,
    tx: &mut TenantTx,
    session: SessionId,
    method: &str,
    shown_at: DateTime<Utc>,
) -> Result<Grant, AuthError> {
    let now = clock::now();
    let elevation = Elevation { acr: Acr::Aal2, method, at: shown_at };
    if !context.sessions.elevate(tx, session, elevation).await? {
        return Err(AuthError::SessionRevoked);
    }
    // Nobody has a token of this number, so nobody else rotates it; what this does is to move the idle end.
    let before = context.sessions.find(tx, session).await?.ok_or(AuthError::SessionRevoked)?;
    let rotation = context.sessions.rotate(tx, session, before.refresh_ctr, idle_expiry(context, view, now)).await?;
    let after = rotation.session.ok_or(AuthError::SessionRevoked)?;
    if !rotation.rotated || after.revoked_at.is_some() || after.user_state != "active" {
        return Err(AuthError::SessionRevoked);
    }
    Ok(Grant {
        user: after.user_id.into(),
        session: after.id.into(),
        role: Role::parse(&after.role).ok_or(AuthError::SessionRevoked)?,
        acr: after.acr,
        amr: after.amr,
        auth_time: after.mfa_time.unwrap_or(after.auth_time),
        counter: after.refresh_ctr,
    })
}

/// Writes a wrong code down and commits: the attempt stays counted.
async fn fail(
    mut tx: TenantTx,
    actor: AuditActor,
    action: &'static str,
    user: UserId,
    read: ReadCode,
    source: &AuditSource,
) -> Result<(), AuthError> {
    let detail = json!({ "factor": read.kind() });
    trail::record(&mut tx, actor, Happened { user, action, failure: Some("invalid-mfa-code"), source, detail }).await?;
    Ok(tx.commit().await?)
}

async fn succeed(
    tx: &mut TenantTx,
    action: &'static str,
    user: UserId,
    read: ReadCode,
    source: &AuditSource,
) -> Result<(), AuthError> {
    let actor = AuditActor::User(user);
    let factor = read.kind();
    if factor == FactorKind::RecoveryCode {
        let left = crate::db::recovery_codes::count_unused(tx, user).await?;
        let detail = json!({ "n_left": left });
        trail::record(tx, actor, Happened { user, action: "recovery_code.use", failure: None, source, detail }).await?;
    }
    let detail = json!({ "factor": factor });
    trail::record(tx, actor, Happened { user, action, failure: None, source, detail }).await
}
