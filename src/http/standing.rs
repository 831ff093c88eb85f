//! Whether the caller of a connection that is open for long may still use it.

use crate::actors::tenant::TenantView;
use crate::db::stream_tickets::TicketHolder;
use crate::domain::ids::{ApiKeyId, SessionId};
use crate::domain::tenant::TenantState;
use crate::domain::token::AccessClaims;
use crate::http::credential::Identity;

/// What of a credential matters for as long as a connection is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Standing {
    /// A user's, by an access token or a ticket that was made from one.
    Session {
        /// The session.
        session: SessionId,
        /// The tenant's epoch at the token's issue.
        epoch: i64,
        /// When the token runs out, in seconds since 1970.
        expires_s: i64,
    },
    /// A program's.
    Key(ApiKeyId),
}

/// Why a connection is ended by the platform. The codes are of the range for applications (RFC 6455 §7.4.2) and follow HTTP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Lost {
    /// The access token ran out; refresh it and come back.
    TokenExpired,
    /// The session has ended.
    SessionEnded,
    /// The API key was revoked, or ran out.
    KeyRevoked,
    /// The tenant is switched off.
    TenantSuspended,
}

impl Lost {
    /// Code and reason of the close frame.
    pub(in crate::http) fn close(self) -> (u16, &'static str) {
        match self {
            Self::TokenExpired => (4401, "token-expired"),
            Self::SessionEnded => (4401, "session-ended"),
            Self::KeyRevoked => (4401, "key-revoked"),
            Self::TenantSuspended => (4403, "tenant-suspended"),
        }
    }
}

impl Standing {
    /// The standing of a believed identity.
    pub(in crate::http) fn of(identity: &Identity) -> Self {
        match identity {
            Identity::Key(key) => Self::Key(key.key.id),
            Identity::User(token) => {
                let AccessClaims { sid, epoch, exp, .. } = &token.claims;
                Self::Session { session: *sid, epoch: *epoch, expires_s: *exp }
            }
        }
    }

    /// The standing of who holds a ticket: no better and no longer than the token's.
    pub(in crate::http) fn of_ticket(holder: &TicketHolder) -> Self {
        let TicketHolder { user: _, session, epoch, token_expires_at } = holder;
        Self::Session { session: *session, epoch: *epoch, expires_s: token_expires_at.timestamp() }
    }

    /// Asks the tenant's view.
    pub(in crate::http) fn check(&self, view: &TenantView, now_s: i64) -> Result<(), Lost> {
        Self::check_shut_out(Some(self), view, now_s)?;
        match self {
            Self::Session { expires_s, .. } if *expires_s <= now_s => Err(Lost::TokenExpired),
            Self::Session { .. } | Self::Key(_) => Ok(()),
        }
    }

    /// The same, but for the end of a token's time. Nobody in particular can be shut out with their tenant only.
    pub(in crate::http) fn check_shut_out(standing: Option<&Self>, view: &TenantView, now_s: i64) -> Result<(), Lost> {
        if view.tenant.state != TenantState::Active {
            return Err(Lost::TenantSuspended);
        }
        match standing {
            Some(Self::Session { session, epoch, .. })
                if *epoch < view.tenant.epoch || view.revoked_sessions.contains_key(session) =>
            {
                Err(Lost::SessionEnded)
            }
            Some(Self::Key(id)) if !view.api_keys.values().any(|key| key.id == *id && key.is_valid_at(now_s)) => {
                Err(Lost::KeyRevoked)
            }
            Some(_) | None => Ok(()),
        }
    }
}
