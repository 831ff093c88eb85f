//! Ending sessions.

use serde_json::json;

use super::AuthContext;
use super::messages::{AuthError, EndedSessions, SignOut};
use crate::actors::tenant::{RevokeSession, TenantHandle};
use crate::db::{TenantTx, account_links, audit, user_admin};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome};
use crate::domain::ids::SessionId;

/// How long a handler waits until this node refuses the ended sessions' tokens. Other nodes hear of it by the config log.
const REVOKE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(1);

/// Ends sessions of the user, first in the store, then in the tenant's view.
pub(super) async fn sign_out(context: &AuthContext, message: SignOut) -> Result<Vec<SessionId>, AuthError> {
    let SignOut { tenant, user, session, ended: wanted, source } = message;
    let sessions = &context.sessions;
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let (target, scope, ended) = match wanted {
        EndedSessions::Own => {
            let was_open = sessions.revoke(&mut tx, session, "logout").await?;
            (session, "own", was_open.then_some(session).into_iter().collect())
        }
        EndedSessions::Others => {
            (session, "others", sessions.revoke_all(&mut tx, user, Some(session), "logout_others").await?)
        }
        EndedSessions::All => {
            // Somebody else may have been in one of them: what they asked for by mail ends too.
            user_admin::lock(&mut tx, user).await?;
            account_links::spend_of_every_purpose(&mut tx, user).await?;
            (session, "all", sessions.revoke_all(&mut tx, user, None, "logout_all").await?)
        }
        EndedSessions::One(id) => {
            let alive = sessions.list(&mut tx, user).await?;
            // Somebody else's session is as unknown as one that never was.
            if !alive.iter().any(|session| session.id == id.uuid()) || !sessions.revoke(&mut tx, id, "ended").await? {
                tx.finish();
                return Err(AuthError::UnknownSession);
            }
            (id, "one", vec![id])
        }
    };
    let event = AuditEvent {
        actor: AuditActor::User(user),
        action: "session.end",
        target_kind: "session",
        target_id: Some(target.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source,
        detail: json!({ "scope": scope, "n_ended": ended.len() }),
    };
    audit::insert(&mut tx, &event).await?;
    tx.commit().await?;
    revoke_here(&tenant, &ended).await;
    Ok(ended)
}

/// Has this node refuse the tokens of sessions that were just ended, without waiting for the config log.
pub(in crate::actors) async fn revoke_here(tenant: &TenantHandle, ended: &[SessionId]) {
    let Some(supervisor) = tenant.supervisor() else { return };
    for session in ended {
        if let Err(error) = supervisor.ask(RevokeSession { session: *session }, REVOKE_DEADLINE).await {
            tracing::warn!(%error, "the view learns of an ended session by the config log only");
        }
    }
}
