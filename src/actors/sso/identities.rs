//! Whom a user is at the tenant's providers, as they see and undo it themselves.

use serde_json::json;

use super::{SsoDesk, SsoError, event};
use crate::actors::auth::{SignedInUser, break_glass, lock_signed_in, revoke_here};
use crate::actors::tenant::TenantHandle;
use crate::db::{TenantTx, audit, factors, mfa_challenges, sso_identities, sso_sessions, tenants};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::factor::Factors;
use crate::domain::ids::ConnectionId;

/// Forgets who the user is at a connection's provider, and ends their other sessions that came by it, and their sign-ins by it that
/// wait.
///
/// # Errors
/// [`SsoError::UnknownIdentity`], [`SsoError::LastWay`] if they could not sign in any more, or the database's.
pub async fn unlink(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    by: &SignedInUser,
    connection: ConnectionId,
    source: AuditSource,
) -> Result<(), SsoError> {
    let role = break_glass::role_of(&tenant.view());
    let mut tx = TenantTx::begin(&desk.auth.db, tenant.id()).await?;
    let user = lock_signed_in(&desk.auth, &mut tx, by).await?;
    if sso_identities::delete_of(&mut tx, connection, user.id).await? == 0 {
        return Err(SsoError::UnknownIdentity);
    }
    let is_enforced = tenants::find(&mut tx).await?.is_some_and(|tenant| tenant.config.sso.enforced);
    let has: Factors = factors::get(&mut tx, user.id).await?;
    let gets_in_alone = if is_enforced {
        user.role == role && user.password_hash.is_some() && has.any()
    } else {
        user.password_hash.is_some() || has.n_passkeys > 0
    };
    if !gets_in_alone && sso_identities::list_of(&mut tx, user.id).await?.iter().all(|other| !other.is_enabled) {
        return Err(SsoError::LastWay("you could not sign in any more: set a password or link another identity first"));
    }
    mfa_challenges::delete_of_connection(&mut tx, connection, Some(user.id)).await?;
    let mut ended = Vec::new();
    for session in sso_sessions::list_of(&mut tx, connection, user.id).await? {
        if session != by.session && desk.auth.sessions.revoke(&mut tx, session, "identity_unlinked").await? {
            ended.push(session);
        }
    }
    let detail = json!({ "connection": connection, "by": "user", "n_sessions_ended": ended.len() });
    let target = ("user", user.id.to_string());
    audit::insert(&mut tx, &event(AuditActor::User(user.id), "sso.unlink", target, source, detail)).await?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(())
}
