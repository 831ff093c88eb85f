//! The tenant supervisor's protocol.

use crate::actors::ask::Request;
use crate::domain::ids::{ApiKeyId, SessionId};
use crate::domain::quota::Quotas;

/// Why a reload did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The tenant is not in the database any more.
    #[error("there is no such tenant")]
    Gone,
    /// The database or the secrets actor did not answer; the old view stays.
    #[error("the tenant could not be reloaded")]
    Unavailable,
}

/// Command, idempotent: read the tenant again and publish it; replies with the version that is published then. Sent when the
/// config log names the tenant, and by a handler that has just committed a change. After a lost reply the view is new all the same.
#[derive(Debug)]
pub struct ReloadTenant {
    /// Nothing to do if at least this version is published already.
    pub at_least: Option<i64>,
}

impl Request for ReloadTenant {
    const NAME: &'static str = "reload_tenant";
    type Reply = i64;
    type Refusal = ReloadError;
}

/// Event, idempotent: a session ended, so tokens of it are refused from now on. Sent when the config log says so, and by the
/// handler that ended it. The truth is in the database; a rebuilt supervisor reads it there.
#[derive(Debug)]
pub struct RevokeSession {
    /// The session.
    pub session: SessionId,
}

impl Request for RevokeSession {
    const NAME: &'static str = "revoke_session";
    type Reply = ();
    type Refusal = std::convert::Infallible;
}

/// Event, idempotent: an API key was revoked, so it is refused from now on. Sent when the config log says so, and by the handler
/// that revoked it. The truth is in the database; a rebuilt supervisor reads it there.
#[derive(Debug)]
pub struct RevokeApiKey {
    /// The key.
    pub key: ApiKeyId,
}

impl Request for RevokeApiKey {
    const NAME: &'static str = "revoke_api_key";
    type Reply = ();
    type Refusal = std::convert::Infallible;
}

/// Event, idempotent: usage was counted, here or by another process. Older figures than those that are published change nothing.
#[derive(Debug)]
pub struct UsageCounted {
    /// The meters that changed.
    pub quotas: Quotas,
}

impl Request for UsageCounted {
    const NAME: &'static str = "usage_counted";
    type Reply = ();
    type Refusal = std::convert::Infallible;
}

/// Command: panic, so that the supervisor above builds this one anew from the database. An operator's way out when the
/// cached state of one tenant looks wrong, and the drill that shows that the way works. Never replied to.
#[derive(Debug)]
pub struct RebuildTenant;

impl Request for RebuildTenant {
    const NAME: &'static str = "rebuild_tenant";
    type Reply = ();
    type Refusal = std::convert::Infallible;
}
