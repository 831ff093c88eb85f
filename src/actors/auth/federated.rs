//! Sign-ins and step-ups that an identity provider has vouched for, and tenants that take no others.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::begin::{self, Proof};
use super::factors::{self, SignInOutcome, SignedInUser};
use super::{AuthContext, AuthError, TokenSet, tokens};
use crate::actors::tenant::TenantView;
use crate::db::users::User;
use crate::db::{TenantTx, audit, factors as stored_factors, sso_sessions};
use crate::domain::assurance::Acr;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::Role;
use crate::domain::ids::{ConnectionId, SessionId};
use crate::domain::tenant::PLATFORM_SLUG;
use crate::domain::user_admin::guarded_role;

/// What a provider's word is worth here.
#[derive(Debug, Clone, Copy)]
pub(in crate::actors) struct FederatedProof {
    /// By which connection.
    pub(in crate::actors) connection: ConnectionId,
    /// How strong it is.
    pub(in crate::actors) acr: Acr,
    /// When it was shown.
    pub(in crate::actors) at: DateTime<Utc>,
}

/// What follows: tokens, or a challenge for whoever has a factor here, or must have one, and has shown none at the provider that counts.
/// `user` is locked in `tx`.
pub(in crate::actors) async fn after_provider(
    context: &AuthContext,
    view: &TenantView,
    mut tx: TenantTx,
    user: &User,
    proof: FederatedProof,
    source: AuditSource,
) -> Result<SignInOutcome, AuthError> {
    let FederatedProof { connection, acr, at } = proof;
    let has = stored_factors::get(&mut tx, user.id).await?;
    if acr < Acr::Aal2 && (has.any() || view.tenant.config.mfa_required) {
        return factors::wait_for_factor(view, tx, user, has, Some(connection), &source).await;
    }
    let proof = Proof::federated(connection, acr, at);
    let grant = begin::session(context, view, &mut tx, user, proof, source).await?;
    tx.commit().await?;
    Ok(SignInOutcome::Tokens(tokens::issue(context, view, grant)?))
}

/// Strengthens a session by a second factor that its user has just shown at the provider.
pub(in crate::actors) async fn step_up(
    context: &AuthContext,
    view: &TenantView,
    mut tx: TenantTx,
    by: &SignedInUser,
    proof: FederatedProof,
    source: AuditSource,
) -> Result<TokenSet, AuthError> {
    let event = AuditEvent {
        actor: AuditActor::User(by.user),
        action: "session.step_up",
        target_kind: "user",
        target_id: Some(by.user.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: json!({ "factor": "sso", "connection": proof.connection }),
    };
    audit::insert(&mut tx, &event).await?;
    let grant = factors::elevate(context, view, &mut tx, by.session, "mfa", proof.at).await?;
    tx.commit().await?;
    tokens::issue(context, view, grant)
}

/// Refuses whoever does not come by an identity provider, where the tenant takes nobody else. An owner who has shown two factors gets
/// in all the same: somebody must be able to mend a connection that is broken.
pub(super) fn check_way(
    view: &TenantView,
    role: Role,
    is_federated: bool,
    is_multi_factor: bool,
) -> Result<(), AuthError> {
    let breaks_glass = is_multi_factor && role == guarded_role(view.tenant.slug.as_str() == PLATFORM_SLUG);
    if !view.tenant.config.sso.enforced || is_federated || breaks_glass { Ok(()) } else { Err(AuthError::SsoRequired) }
}

/// Turns the refresh of a session away that began some other way before the tenant made its provider the only one. It is asked before
/// anything is rotated, so the session is good again if the tenant changes its mind.
pub(super) async fn require_provider(
    context: &AuthContext,
    view: &TenantView,
    tx: &mut TenantTx,
    session: SessionId,
) -> Result<(), AuthError> {
    if !view.tenant.config.sso.enforced {
        return Ok(());
    }
    let is_federated = sso_sessions::find(tx, session).await?.is_some();
    let Some(session) = context.sessions.find(tx, session).await? else { return Ok(()) };
    if session.revoked_at.is_some() {
        return Ok(());
    }
    let is_multi_factor = Acr::parse(&session.acr).is_some_and(|acr| acr >= Acr::Aal2);
    let role = Role::parse(&session.role).ok_or(AuthError::InvalidRefreshToken)?;
    check_way(view, role, is_federated, is_multi_factor)
}
