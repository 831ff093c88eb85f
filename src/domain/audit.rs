//! Audit events: who did what to what, and how it ended.

use std::net::IpAddr;

use serde_json::Value;
use uuid::Uuid;

use super::ids::{ApiKeyId, ScimTokenId, UserId};

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditActor {
    /// Nobody who proved who they are.
    Anonymous,
    /// A user of the tenant.
    User(UserId),
    /// An operator of the platform.
    Operator(UserId),
    /// A program with an API key of the tenant.
    Key(ApiKeyId),
    /// The tenant's identity provider, with a SCIM token.
    Scim(ScimTokenId),
    /// The platform itself.
    System,
}

impl AuditActor {
    /// Kind and id, as stored.
    #[must_use]
    pub fn parts(self) -> (&'static str, Option<Uuid>) {
        match self {
            Self::Anonymous => ("anonymous", None),
            Self::User(id) => ("user", Some(id.uuid())),
            Self::Operator(id) => ("operator", Some(id.uuid())),
            Self::Key(id) => ("key", Some(id.uuid())),
            Self::Scim(id) => ("scim", Some(id.uuid())),
            Self::System => ("system", None),
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    /// Done.
    Success,
    /// Tried and failed.
    Failure,
    /// Not permitted.
    Denied,
}

impl AuditOutcome {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// Where a call came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditSource {
    /// Address of the client.
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent`, cut to 256 characters.
    pub user_agent: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
}

/// One row of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// Who.
    pub actor: AuditActor,
    /// What: a dotted verb such as `tenant.suspend`.
    pub action: &'static str,
    /// Kind of thing it was done to.
    pub target_kind: &'static str,
    /// Id of the thing.
    pub target_id: Option<String>,
    /// How it ended.
    pub outcome: AuditOutcome,
    /// Code of the problem, if it did not end well.
    pub code: Option<&'static str>,
    /// From where.
    pub source: AuditSource,
    /// What changed; never a secret.
    pub detail: Value,
}
