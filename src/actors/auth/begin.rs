//! Beginning a session, once a user has proved enough.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::tokens::{Grant, absolute_expiry, idle_expiry};
use super::{AuthContext, AuthError, federated, throttle};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::sessions::NewSession;
use crate::db::users::User;
use crate::db::{TenantTx, audit, sso_sessions};
use crate::domain::assurance::Acr;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::{ConnectionId, SessionId};

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
    /// The identity provider that saw the first factor; none = this platform did.
    pub(super) connection: Option<ConnectionId>,
    /// When; none = just now.
    pub(super) at: Option<DateTime<Utc>>,
}

impl Proof {
    /// A password alone.
    pub(super) const PASSWORD: Self =
        Self { acr: Acr::Aal1, amr: &["pwd"], is_multi_factor: false, method: "password", connection: None, at: None };
    /// A password, then a code of the authenticator app.
    pub(super) const PASSWORD_AND_TOTP: Self =
        Self { acr: Acr::Aal2, amr: &["pwd", "otp"], is_multi_factor: true, method: "password+totp", ..Self::PASSWORD };
    /// A password, then a recovery code.
    pub(super) const PASSWORD_AND_RECOVERY_CODE: Self =
        Self { method: "password+recovery_code", ..Self::PASSWORD_AND_TOTP };
    /// A password, then a passkey that was just made.
    pub(super) const PASSWORD_AND_NEW_PASSKEY: Self =
        Self { amr: &["pwd", "user"], method: "password+passkey", ..Self::PASSWORD_AND_TOTP };

    /// At an identity provider; `acr` is what its word is worth here, and `at` when it was shown.
    pub(super) const fn federated(connection: ConnectionId, acr: Acr, at: DateTime<Utc>) -> Self {
        let (amr, is_multi_factor): (&'static [&'static str], _) = match acr {
            Acr::Aal1 => (&["fed"], false),
            Acr::Aal2 => (&["fed", "mfa"], true),
        };
        Self { acr, amr, is_multi_factor, method: "sso", connection: Some(connection), at: Some(at) }
    }

    /// The same after a first factor that was shown at an identity provider, if it was.
    pub(super) const fn after(self, connection: Option<ConnectionId>) -> Self {
        Self { connection, ..self }
    }

    /// Means (RFC 8176) for the token: a password that nobody typed here is not among them.
    fn means(&self) -> Vec<String> {
        let of_provider =
            |method: &&'static str| if self.connection.is_some() && *method == "pwd" { "fed" } else { *method };
        self.amr.iter().map(|method| of_provider(method).to_owned()).collect()
    }

    /// A passkey that verified its user, after a password or alone. `is_synchronised`: the key may be on other devices too.
    pub(super) const fn passkey(after_password: bool, is_synchronised: bool) -> Self {
        let (amr, method): (&'static [&'static str], _) = match (after_password, is_synchronised) {
            (true, true) => (&["pwd", "swk"], "password+passkey"),
            (true, false) => (&["pwd", "hwk"], "password+passkey"),
            (false, true) => (&["swk", "user"], "passkey"),
            (false, false) => (&["hwk", "user"], "passkey"),
        };
        Self { amr, method, ..Self::PASSWORD_AND_TOTP }
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
    federated::check_way(view, user.role, proof.connection.is_some(), proof.is_multi_factor)?;
    let now = clock::now();
    let shown_at = proof.at.unwrap_or(now);
    let session: SessionId = clock::new_id();
    let amr = proof.means();
    let absolute_expires_at = absolute_expiry(context, view, now);
    let new = NewSession {
        id: session,
        user: user.id,
        idle_expires_at: idle_expiry(context, view, now),
        absolute_expires_at,
        acr: proof.acr.as_str(),
        amr: &amr,
        auth_time: shown_at,
        mfa_time: proof.is_multi_factor.then_some(shown_at),
        epoch: view.tenant.epoch,
        ip: source.ip.map(|ip| ip.to_string()),
        user_agent: source.user_agent.as_deref(),
    };
    context.sessions.insert(tx, &new).await?;
    if let Some(connection) = proof.connection {
        sso_sessions::insert(tx, session, connection, user.id, absolute_expires_at).await?;
    }
    throttle::remember(tx, user.id, &source).await?;
    let event = AuditEvent {
        actor: AuditActor::User(user.id),
        action: "session.create",
        target_kind: "user",
        target_id: Some(user.id.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: json!({ "method": proof.method, "connection": proof.connection }),
    };
    audit::insert(tx, &event).await?;
    Ok(Grant {
        user: user.id,
        session,
        role: user.role,
        acr: proof.acr.to_string(),
        amr,
        auth_time: shown_at,
        counter: 1,
    })
}
