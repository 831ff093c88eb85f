//! Who a person at a provider is here.
//!
//! Known is who was linked before. Whoever was not is found or made only by an address whose domain the tenant has proved and given to
//! this very connection: there, and nowhere else, the provider's word about addresses is the tenant's own word.

use serde_json::json;

use super::{SsoDesk, SsoError, event};
use crate::actors::auth::revoke_here;
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clock;
use crate::db::email_domains;
use crate::db::invitations::revoke_made_by;
use crate::db::sso_connections::Connection;
use crate::db::sso_flows::{Flow, FlowPurpose};
use crate::db::user_admin::{self, UserChange};
use crate::db::users::{self, NewUser, User};
use crate::db::{TenantTx, audit, sso_identities, standing};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::email_domain::EmailDomain;
use crate::domain::identity::{EmailAddress, Role, parse_person_name};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::scim::standing::JustInTime;
use crate::domain::sso::Person;

/// Why whoever was deleted is not admitted.
fn deleted() -> SsoError {
    SsoError::NotAdmitted("the user was deleted")
}

/// Somebody who may go on, and what changed on the way.
pub(super) struct Admitted {
    pub(super) user: UserId,
    ended: Vec<SessionId>,
}

impl Admitted {
    fn unchanged(user: UserId) -> Self {
        Self { user, ended: Vec::new() }
    }
}

/// The user that the person is here, found or made.
pub(super) async fn admit(
    desk: &SsoDesk,
    view: &TenantView,
    tx: &mut TenantTx,
    connection: &Connection,
    flow: &Flow,
    person: &Person,
    source: &AuditSource,
) -> Result<Admitted, SsoError> {
    let known = sso_identities::find(tx, connection.id, &person.subject).await?;
    match (flow.purpose, flow.by, known) {
        (FlowPurpose::SignIn, _, Some(user)) => match user_admin::lock(tx, user).await? {
            Some(user) => {
                let user = active(tx, user).await?;
                sso_identities::touch(tx, connection.id, &person.subject).await?;
                sync_role(desk, tx, connection, user, person, source).await
            }
            // Deleted. Somebody may have brought them back since, as another user; signing in does not.
            None => admit_stranger(view, tx, connection, person, Stranger::Deleted, source).await,
        },
        (FlowPurpose::SignIn, _, None) => admit_stranger(view, tx, connection, person, Stranger::Unknown, source).await,
        (FlowPurpose::StepUp, Some((user, _)), Some(known)) if user == known => Ok(Admitted::unchanged(user)),
        (FlowPurpose::StepUp, _, _) => Err(SsoError::NoStepUp("it was another person")),
        // Whose it becomes is decided when the code is redeemed, by the user themselves.
        (FlowPurpose::Link, Some((user, _)), _) => Ok(Admitted::unchanged(user)),
        (FlowPurpose::Link, None, _) => Err(SsoError::InvalidState),
    }
}

/// The user, who is locked, if they may sign in. Whoever was suspended, by whatever hand, is not revived by a provider.
async fn active(tx: &mut TenantTx, user: User) -> Result<User, SsoError> {
    if user.is_suspended || !standing::of_user(tx, user.id).await?.may_sign_in() {
        return Err(SsoError::NotAdmitted("the user is suspended"));
    }
    Ok(user)
}

/// Somebody who is nobody here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// And never was.
    Unknown,
    /// Any more: their user was deleted. They are found if there is a user with their address again, and never made.
    Deleted,
}

async fn admit_stranger(
    view: &TenantView,
    tx: &mut TenantTx,
    connection: &Connection,
    person: &Person,
    stranger: Stranger,
    source: &AuditSource,
) -> Result<Admitted, SsoError> {
    let (email, verified) = person.email.as_ref().ok_or(SsoError::LinkRequired)?;
    if *verified == Some(false) {
        return Err(SsoError::LinkRequired);
    }
    let email = EmailAddress::parse(email).map_err(|_malformed| SsoError::LinkRequired)?;
    let domain = EmailDomain::of(&email).ok_or(SsoError::LinkRequired)?;
    let proved = email_domains::find(tx, &domain).await?;
    let is_ours =
        proved.is_some_and(|row| row.verified_at.is_some() && row.connection_id == Some(connection.id.uuid()));
    if !is_ours {
        return Err(SsoError::LinkRequired);
    }
    let found = users::find_by_email(tx, &email).await?;
    let user = match found {
        Some(found) => {
            let user = user_admin::lock(tx, found.id).await?.ok_or_else(deleted)?;
            let user = active(tx, user).await?;
            // Who can do everything is not handed over by an admin who sets up a provider, and a user who is another person there
            // already has an address that was given to somebody else.
            let is_guarded = matches!(user.role, Role::Owner | Role::Operator);
            if is_guarded || sso_identities::count_of(tx, connection.id, user.id).await? > 0 {
                return Err(SsoError::LinkRequired);
            }
            user.id
        }
        // Whom SCIM has removed, only SCIM brings back.
        None if standing::just_in_time(tx, &email).await? == JustInTime::Departed => {
            return Err(SsoError::NotAdmitted("the user was removed by SCIM"));
        }
        None if stranger == Stranger::Deleted => return Err(deleted()),
        None if connection.jit => make_user(tx, connection, person, &email, source).await?,
        None => return Err(SsoError::NotAdmitted("the connection makes no users")),
    };
    if !sso_identities::link(tx, connection.id, &person.subject, user).await? {
        return Err(SsoError::LinkRequired);
    }
    let detail = json!({ "connection": connection.id, "by": "verified_domain", "domain": domain.as_str() });
    let target = ("user", user.to_string());
    audit::insert(tx, &event(AuditActor::User(user), "sso.link", target, source.clone(), detail)).await?;
    tracing::debug!(tenant.id = %view.tenant.id, user.id = %user, "a person of a provider is linked");
    Ok(Admitted::unchanged(user))
}

async fn make_user(
    tx: &mut TenantTx,
    connection: &Connection,
    person: &Person,
    email: &EmailAddress,
    source: &AuditSource,
) -> Result<UserId, SsoError> {
    let id: UserId = clock::new_id();
    let name = person.name.as_deref().and_then(|name| parse_person_name(name).ok());
    let role = connection.roles.role_of(&person.role_values);
    let new = NewUser { id, email, name: name.as_deref(), role, password_hash: None, is_verified: true };
    users::insert(tx, &new).await?;
    let detail = json!({ "email": email.as_str(), "role": role, "connection": connection.id });
    let target = ("user", id.to_string());
    audit::insert(tx, &event(AuditActor::System, "user.create", target, source.clone(), detail)).await?;
    Ok(id)
}

/// Gives the role that the provider's claims mean now, where the connection says so. Owners and operators are made and unmade by people.
async fn sync_role(
    desk: &SsoDesk,
    tx: &mut TenantTx,
    connection: &Connection,
    user: User,
    person: &Person,
    source: &AuditSource,
) -> Result<Admitted, SsoError> {
    let role = connection.roles.role_of(&person.role_values);
    let is_guarded = [user.role, role].iter().any(|role| matches!(role, Role::Owner | Role::Operator));
    if !connection.sync_roles || is_guarded || role == user.role {
        return Ok(Admitted::unchanged(user.id));
    }
    user_admin::update(tx, user.id, &UserChange { role: Some(role), ..UserChange::default() }).await?;
    // As when an admin does it: invitations in the old role's name end, and what the tokens of other sessions say is not true any more.
    revoke_made_by(tx, user.id).await?;
    let ended = desk.auth.sessions.revoke_all(tx, user.id, None, "user_changed").await?;
    let detail =
        json!({ "role": role, "role_before": user.role, "connection": connection.id, "n_sessions_ended": ended.len() });
    let target = ("user", user.id.to_string());
    audit::insert(tx, &event(AuditActor::System, "user.update", target, source.clone(), detail)).await?;
    Ok(Admitted { user: user.id, ended })
}

impl Admitted {
    /// Has this node forget the sessions that ended, once that is committed.
    pub(super) async fn announce(&self, tenant: &TenantHandle) {
        revoke_here(tenant, &self.ended).await;
    }
}
