//! Accounts: invitations, addresses, passwords, and users as admins manage them.
//!
//! Not an actor: each is a transaction, and what must be told afterwards (ended sessions) is told after its commit. Mail is written
//! in the same transaction, and every link in it is good once, by compare-and-set on the row that it stands for.

mod email;
mod import;
mod invitations;
mod onboarding_invitations;
mod passwords;
mod users;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

pub use email::{Confirmed, change_email, resend_verification, send_verification, verify_email};
pub use import::{ImportOutcome, ImportRow, import};
pub use invitations::{AcceptInvitation, Invite, accept_invitation, invite, resend_invitation, revoke_invitation};
pub use onboarding_invitations::{claim_onboarding, invite_to_onboard, release_onboarding};
pub use passwords::{ChangePassword, change_password, forgot_password, reset_password};
pub use users::{CreateUser, UserWish, create_user, delete_user, end_sessions, remove_factors, update_user};

use super::auth::{AuthError, HasherError};
use super::sessions::SessionStoreError;
use super::tenant::TenantView;
use crate::clock;
use crate::db::DbError;
use crate::domain::assurance::Requirement;
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::{IdentityError, NewPassword, Role};
use crate::domain::tenant::PLATFORM_SLUG;
use crate::domain::user_admin::{UserAdminError, check_touch, is_powerful};

/// An account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The link's token is forged, used, past its time or withdrawn: the caller is not told which.
    #[error("the link is not valid")]
    InvalidLink,
    /// No such user or invitation in this tenant.
    #[error("there is no such thing")]
    NotFound,
    /// Another user has the address.
    #[error("another user has this address")]
    EmailTaken,
    /// The tenant would have nobody left who can do everything.
    #[error("the last owner stays")]
    LastOwner,
    /// The tenant enforces its provider, and nobody else would get in when that is away.
    #[error("the last owner who gets in without the provider stays")]
    BreakGlass,
    /// The identity provider switched the user off, and only it switches them on again.
    #[error("the identity provider switched the user off")]
    Deprovisioned,
    /// Somebody did the same at the same moment.
    #[error("somebody else is changing this")]
    Conflict,
    /// Who asks may not do this.
    #[error(transparent)]
    Admin(#[from] UserAdminError),
    /// The new password will not do.
    #[error("the new password {0}")]
    NewPassword(IdentityError),
    /// The present password is wrong.
    #[error("the present password is wrong")]
    WrongPassword,
    /// The address, or the tenant, was mailed too often lately.
    #[error("too much mail")]
    TooMuchMail {
        /// Seconds until another may be sent.
        retry_after_s: u64,
    },
    /// Sign-in's own refusals: throttled, busy.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Too many passwords at once.
    #[error(transparent)]
    Busy(#[from] HasherError),
    /// The session store did not do it.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The database did not do it.
    #[error("the database did not answer")]
    Db(#[source] DbError),
}

impl From<DbError> for AccountError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("users_email_key") => Self::EmailTaken,
            Some("invitations_open_key") => Self::Conflict,
            Some("users_scim_deactivated_check") => Self::Deprovisioned,
            Some(_) | None => Self::Db(error),
        }
    }
}

/// Who asks, and from where: for rights and for the audit log.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who, for the audit log.
    pub actor: AuditActor,
    /// Their role.
    pub role: Role,
    /// Whether they have shown a second factor within the last minutes ([`Requirement::SENSITIVE`]).
    pub has_stepped_up: bool,
    /// From where.
    pub source: AuditSource,
}

impl Asker {
    /// Whether they may do something with a user of this role, and have shown what that takes: who can harm the tenant is
    /// touched by nobody with a stolen token alone.
    fn check_touch(&self, theirs: Role) -> Result<(), AccountError> {
        check_touch(self.role, theirs)?;
        if is_powerful(theirs) && !self.has_stepped_up {
            return Err(AuthError::StepUp(Requirement::SENSITIVE).into());
        }
        Ok(())
    }
}

fn event(
    actor: AuditActor,
    action: &'static str,
    target: (&'static str, String),
    source: AuditSource,
    detail: Value,
) -> AuditEvent {
    let (target_kind, target_id) = target;
    let target_id = Some(target_id);
    AuditEvent { actor, action, target_kind, target_id, outcome: AuditOutcome::Success, code: None, source, detail }
}

fn in_seconds(seconds: u64) -> DateTime<Utc> {
    clock::now() + TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1_000))
}

fn is_platform(view: &TenantView) -> bool {
    view.tenant.slug.as_str() == PLATFORM_SLUG
}

/// Refuses a password that is made of the tenant's name or the user's address.
fn check_context(
    view: &TenantView,
    email: &str,
    name: Option<&str>,
    password: &NewPassword,
) -> Result<(), AccountError> {
    let local = email.split('@').next().unwrap_or_default();
    let words = [&view.tenant.name, view.tenant.slug.as_str(), email, local, name.unwrap_or_default()];
    password.check_context(&words).map_err(AccountError::NewPassword)
}
