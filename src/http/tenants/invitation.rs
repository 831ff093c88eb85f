//! The invitation that an onboarding uses up.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::actors::accounts::{claim_onboarding, release_onboarding};
use crate::actors::tenant::{TenantHandle, Wanted};
use crate::db::invitations::Invitation;
use crate::domain::audit::AuditSource;
use crate::domain::identity::EmailAddress;
use crate::domain::tenant::PLATFORM_SLUG;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::http::tenancy;

/// An invitation that is this onboarding's.
pub(super) struct Claimed {
    invitation: Invitation,
    platform: Arc<TenantHandle>,
}

/// Claims the invitation of a token.
pub(super) async fn claim(state: &AppState, token: &SecretString, source: AuditSource) -> Result<Claimed, Problem> {
    let platform = tenancy::resolve(state, Wanted::Slug(PLATFORM_SLUG.into())).await?;
    let view = platform.view_full();
    let invitation = claim_onboarding(&state.accounts, &view, token.expose_secret(), source).await?;
    Ok(Claimed { invitation, platform })
}

impl Claimed {
    /// Whether the invitation was mailed to this address.
    pub(super) fn proves(&self, email: &EmailAddress) -> bool {
        EmailAddress::parse(&self.invitation.email).is_ok_and(|invited| invited.norm() == email.norm())
    }

    /// Gives it back: the onboarding did not come about.
    pub(super) async fn release(self, state: &AppState) {
        let view = self.platform.view_full();
        if let Err(error) = release_onboarding(&state.accounts, &view, self.invitation.id).await {
            tracing::warn!(%error, invitation = %self.invitation.id, "an unused invitation was not given back");
        }
    }
}
