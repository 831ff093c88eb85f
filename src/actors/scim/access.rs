//! Ending access: what switching off and deleting have in common.

use serde_json::{Value, json};

use super::{Desk, ScimFailure};
use crate::actors::auth::revoke_here;
use crate::actors::tenant::RevokeApiKey;
use crate::db::{TenantTx, account_links, api_keys, invitations, mfa_challenges};
use crate::domain::ids::{ApiKeyId, SessionId, UserId};

/// How long a handler waits until this node refuses a revoked key. Other nodes hear of it by the config log.
const REVOKE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(1);

/// What was ended in a transaction, and is to be told when it is committed.
#[derive(Debug, Default)]
pub(super) struct Ended {
    sessions: Vec<SessionId>,
    keys: Vec<ApiKeyId>,
    n_invitations: u64,
}

impl Ended {
    /// For the audit log.
    pub(super) fn detail(&self) -> Value {
        let Self { sessions, keys, n_invitations } = self;
        json!({ "n_sessions_ended": sessions.len(), "n_api_keys_revoked": keys.len(), "n_invitations_withdrawn": n_invitations })
    }

    /// Of sessions alone.
    pub(super) fn sessions(sessions: Vec<SessionId>) -> Self {
        Self { sessions, ..Self::default() }
    }

    /// Has this node refuse them at once.
    pub(super) async fn tell(self, desk: &Desk) {
        revoke_here(&desk.tenant, &self.sessions).await;
        let Some(supervisor) = desk.tenant.supervisor() else { return };
        for key in self.keys {
            if let Err(error) = supervisor.ask(RevokeApiKey { key }, REVOKE_DEADLINE).await {
                tracing::warn!(%error, "the view learns of a revoked API key by the config log only");
            }
        }
    }
}

/// Ends everything by which a user, who is locked, is or could get in: sessions, the API keys that they made, waiting sign-ins, mailed
/// links, and invitations that they made or were sent.
pub(super) async fn end(tx: &mut TenantTx, desk: &Desk, user: UserId, reason: &str) -> Result<Ended, ScimFailure> {
    account_links::spend_of_every_purpose(tx, user).await?;
    let n_invitations = invitations::revoke_around(tx, user).await?;
    mfa_challenges::delete_all(tx, user).await?;
    let by = desk.changer.actor.parts().1.unwrap_or_default();
    let keys = api_keys::revoke_made_by(tx, user, by).await?;
    let sessions = desk.context.sessions.revoke_all(tx, user, None, reason).await?;
    Ok(Ended { sessions, keys, n_invitations })
}
