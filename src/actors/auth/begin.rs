//! Beginning a session, once a user has proved enough.

use serde_json::json;

use super::tokens::{Grant, absolute_expiry, idle_expiry};
use super::{AuthContext, AuthError, throttle};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::sessions::NewSession;
use crate::db::users::User;
use crate::db::{TenantTx, audit};
use crate::domain::assurance::Acr;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::SessionId;

/// How a user has proved who they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    /// What it amounts to.
    pub(super) acr: Acr,
    /// By what means (RFC 8176).
    pub(super) amr: &'static [&'static str],
    /// Whether a second factor, or a passkey in place of both, was among them.
    pub(super) is_multi_factor: bool,
    /// The audit log's word for it.
    pub(super) method: &'static str,
}

impl Proof {
    /// A password alone.
    pub(super) const PASSWORD: Self =
        Self { acr: Acr::Aal1, amr: &["pwd"], is_multi_factor: false, method: "password" };
    /// A password, then a code of the authenticator app.
    pub(super) const PASSWORD_AND_TOTP: Self =
        Self { acr: Acr::Aal2, amr: &["pwd", "otp"], is_multi_factor: true, method: "password+totp" };
    /// A password, then a recovery code.
    pub(super) const PASSWORD_AND_RECOVERY_CODE: Self =
        Self { method: "password+recovery_code", ..Self::PASSWORD_AND_TOTP };
    /// A password, then a passkey that was just made.
    pub(super) const PASSWORD_AND_NEW_PASSKEY: Self =
        Self { acr: Acr::Aal2, amr: &["pwd", "user"], is_multi_factor: true, method: "password+passkey" };

    /// A passkey that verified its user, after a password or alone. `is_synchronised`: the key may be on other devices too.
    pub(super) const fn passkey(after_password: bool, is_synchronised: bool) -> Self {
        let (amr, method): (&'static [&'static str], _) = match (after_password, is_synchronised) {
            (true, true) => (&["pwd", "swk"], "password+passkey"),
            (true, false) => (&["pwd", "hwk"], "password+passkey"),
            (false, true) => (&["swk", "user"], "passkey"),
            (false, false) => (&["hwk", "user"], "passkey"),
        };
        Self { acr: Acr::Aal2, amr, is_multi_factor: true, method }
    }
}

/// Inserts a session and its audit row; the tokens are made of the grant after the commit.
pub(super) async fn session(
    context: &AuthContext,
    view: &TenantView,
    tx: &mut TenantTx,
    user: &User,
    proof: Proof,
    source: AuditSource,
) -> Result<Grant, AuthError> {
    let now = clock::now();
    let session: SessionId = clock::new_id();
    let amr: Vec<String> = proof.amr.iter().map(|method| (*method).to_owned()).collect();
    let new = NewSession {
        id: session,
        user: user.id,
        idle_expires_at: idle_expiry(context, view, now),
        absolute_expires_at: absolute_expiry(context, view, now),
        acr: proof.acr.as_str(),
        amr: &amr,
        auth_time: now,
        mfa_time: proof.is_multi_factor.then_some(now),
        epoch: view.tenant.epoch,
        ip: source.ip.map(|ip| ip.to_string()),
        user_agent: source.user_agent.as_deref(),
    };
    context.sessions.insert(tx, &new).await?;
    throttle::remember(tx, user.id, &source).await?;
    let event = AuditEvent {
        actor: AuditActor::User(user.id),
        action: "session.create",
        target_kind: "user",
        target_id: Some(user.id.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: json!({ "method": proof.method }),
    };
    audit::insert(tx, &event).await?;
    Ok(Grant { user: user.id, session, role: user.role, acr: proof.acr.to_string(), amr, auth_time: now, counter: 1 })
}
