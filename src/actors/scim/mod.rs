//! Users and groups as a tenant's identity provider keeps them (SCIM 2.0).
//!
//! Not an actor: each change is a transaction, and what must be told afterwards (ended sessions, revoked keys) is told after its
//! commit.

mod access;
mod bulk;
mod groups;
mod questions;
mod users;

use std::sync::Arc;

use serde_json::Value;

pub use bulk::{Outcome, Tried, run_bulk};
pub use groups::{create_group, delete_group, map_role, patch_group, replace_group};
pub use questions::{Page, ask, ask_all, get};
pub use users::{create_user, delete_user, patch_user, replace_user};

use self::access::Ended;
use super::auth::AuthContext;
use super::sessions::SessionStoreError;
use super::tenant::TenantHandle;
use crate::db::{DbError, TenantTx};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::Role;
use crate::domain::scim::{ResourceKind, ScimError, Tree};

/// What a provider asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum ScimFailure {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] ScimError),
    /// The session store did not do it.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The database did not do it.
    #[error("the database did not answer")]
    Db(#[source] DbError),
}

impl From<DbError> for ScimFailure {
    fn from(error: DbError) -> Self {
        let taken = match error.constraint() {
            Some("scim_users_user_name_key") => "another user has this userName",
            Some("users_email_key") => "another user has this e-mail address",
            Some("scim_users_pkey") => "the user is provisioned already",
            Some("scim_groups_display_name_key") => "another group has this displayName",
            Some(_) | None => return Self::Db(error),
        };
        Self::Refused(ScimError::taken(taken))
    }
}

/// Who changes something: a provider by its token, or an admin.
#[derive(Debug, Clone)]
pub struct Changer {
    /// Who, for the audit log.
    pub actor: AuditActor,
    /// Whom they may touch.
    pub rank: Role,
    /// From where.
    pub source: AuditSource,
}

impl Changer {
    fn event(&self, action: &'static str, target: (&'static str, String), detail: Value) -> AuditEvent {
        let (target_kind, target_id) = target;
        AuditEvent {
            actor: self.actor,
            action,
            target_kind,
            target_id: Some(target_id),
            outcome: AuditOutcome::Success,
            code: None,
            source: self.source.clone(),
            detail,
        }
    }
}

/// What it takes to do what a provider asks for.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Database and sessions.
    pub context: AuthContext,
    /// The tenant.
    pub tenant: Arc<TenantHandle>,
    /// URL that all resources are under.
    pub base: String,
    /// Who asks.
    pub changer: Changer,
}

/// Does work in a transaction, and tells what it ended once it is committed. What is refused changes nothing.
async fn transact<T>(
    desk: &Desk,
    work: impl AsyncFnOnce(&mut TenantTx) -> Result<(T, Ended), ScimFailure>,
) -> Result<T, ScimFailure> {
    let mut tx = TenantTx::begin(&desk.context.db, desk.tenant.id()).await?;
    match work(&mut tx).await {
        Ok((done, ended)) => {
            tx.commit().await?;
            ended.tell(desk).await;
            Ok(done)
        }
        Err(ScimFailure::Refused(refusal)) => {
            tx.roll_back().await;
            Err(refusal.into())
        }
        Err(error @ (ScimFailure::Sessions(_) | ScimFailure::Db(_))) => Err(error),
    }
}

/// A resource to be answered.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its kind.
    pub kind: ResourceKind,
    /// The whole of it.
    pub resource: Tree,
    /// Its URL.
    pub location: String,
    /// Counts its changes.
    pub version: i64,
    /// Whether it was made just now.
    pub is_new: bool,
}

/// Versions that a change asks for: any of these (RFC 9110 §13.1.1); none = whichever it is.
#[derive(Debug, Clone, Default)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// Reads the header's value. Tags are compared weakly: ours are weak, and some clients strip the mark.
    #[must_use]
    pub fn parse(value: Option<&str>) -> Self {
        let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else { return Self(None) };
        if value == "*" {
            return Self(None);
        }
        let bare = |tag: &str| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"').to_owned()
        };
        Self(Some(value.split(',').map(bare).collect()))
    }

    /// Whether a resource of this version may be changed.
    ///
    /// # Errors
    /// 412.
    pub fn check(&self, version: i64) -> Result<(), ScimError> {
        let version = version.to_string();
        match &self.0 {
            Some(tags) if !tags.contains(&version) => Err(ScimError::changed_meanwhile()),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a client that has these versions has this one.
    #[must_use]
    pub fn has(&self, version: i64) -> bool {
        self.0.as_ref().is_some_and(|tags| tags.contains(&version.to_string()))
    }
}
