//! Users as admins manage them. A change of role or state ends the user's sessions: what their tokens say is not true any more, and
//! tokens die with their session.

use std::sync::Arc;

use serde_json::json;

use super::{AccountError, Asker, event, invitations, is_platform};
use crate::actors::auth::{AuthContext, break_glass, revoke_here};
use crate::actors::tenant::TenantHandle;
use crate::clock;
use crate::db::invitations::revoke_made_by;
use crate::db::mail_outbox::{self, NewMail};
use crate::db::user_admin::{self, UserChange};
use crate::db::users::{self, NewUser, User};
use crate::db::{TenantTx, account_links, audit, user_removal};
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::mail::MailKind;
use crate::domain::user_admin::{check_grant, check_touch, guarded_role};

/// A user to be made.
#[derive(Debug)]
pub struct CreateUser {
    /// Address.
    pub email: EmailAddress,
    /// Display name.
    pub name: Option<String>,
    /// Role.
    pub role: Role,
}

/// Makes a user without a password, and mails them a link to choose one. No admin ever chooses it for them.
///
/// # Errors
/// [`AccountError::Admin`], [`AccountError::EmailTaken`] or the database's.
pub async fn create_user(
    context: &AuthContext,
    tenant: &TenantHandle,
    asker: Asker,
    wish: CreateUser,
) -> Result<User, AccountError> {
    let view = tenant.view_full();
    check_grant(asker.role, wish.role, is_platform(&view))?;
    let CreateUser { email, name, role } = wish;
    let id: UserId = clock::new_id();
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let new = NewUser { id, email: &email, name: name.as_deref(), role, password_hash: None, is_verified: false };
    users::insert(&mut tx, &new).await?;
    invitations::write(&mut tx, context, &asker, &email, name.as_deref(), role, Some(id)).await?;
    let detail = json!({ "email": email.as_str(), "role": role });
    let target = ("user", id.to_string());
    audit::insert(&mut tx, &event(asker.actor, "user.create", target, asker.source, detail)).await?;
    let user = users::find(&mut tx, id).await?.ok_or(AccountError::NotFound)?;
    tx.commit().await?;
    Ok(user)
}

/// What an admin wants changed; `None` stays.
#[derive(Debug, Default)]
pub struct UserWish {
    /// Display name.
    pub name: Option<String>,
    /// Role.
    pub role: Option<Role>,
    /// Switched off, or on again.
    pub is_suspended: Option<bool>,
}

/// Changes a user.
///
/// # Errors
/// [`AccountError::NotFound`], [`AccountError::Admin`], [`AccountError::LastOwner`], [`AccountError::BreakGlass`] or the database's.
pub async fn update_user(
    context: &AuthContext,
    tenant: &Arc<TenantHandle>,
    asker: Asker,
    id: UserId,
    wish: UserWish,
) -> Result<User, AccountError> {
    let view = tenant.view_full();
    let guarded = guarded_role(is_platform(&view));
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let able = user_admin::lock_able(&mut tx, guarded).await?;
    let before = user_admin::lock(&mut tx, id).await?.ok_or(AccountError::NotFound)?;
    if wish.is_suspended.is_some() {
        asker.check_touch(before.role)?;
    } else {
        check_touch(asker.role, before.role)?;
    }
    let role = wish.role.filter(|role| *role != before.role);
    if let Some(role) = role {
        check_grant(asker.role, role, is_platform(&view))?;
    }
    let is_suspended = wish.is_suspended.filter(|is_suspended| *is_suspended != before.is_suspended);
    let loses = role.is_some_and(|role| role != guarded) || is_suspended == Some(true);
    if loses && able == [id] {
        return Err(AccountError::LastOwner);
    }
    if loses && break_glass::is_last(&mut tx, guarded, id).await? {
        return Err(AccountError::BreakGlass);
    }
    let change = UserChange { name: wish.name.as_deref(), role, is_suspended };
    user_admin::update(&mut tx, id, &change).await?;
    let ended = if role.is_some() || is_suspended == Some(true) {
        // Nobody leaves a way back behind.
        revoke_made_by(&mut tx, id).await?;
        context.sessions.revoke_all(&mut tx, id, None, "user_changed").await?
    } else {
        Vec::new()
    };
    let action = match is_suspended {
        Some(true) => "user.suspend",
        Some(false) => "user.resume",
        None => "user.update",
    };
    let detail = json!({
        "name": wish.name, "role": role, "role_before": role.map(|_| before.role), "n_sessions_ended": ended.len(),
    });
    let target = ("user", id.to_string());
    audit::insert(&mut tx, &event(asker.actor, action, target, asker.source, detail)).await?;
    let user = users::find(&mut tx, id).await?.ok_or(AccountError::NotFound)?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(user)
}

/// Deletes a user: ends their sessions, empties their row and takes their factors with it, in one transaction. What they did stays in
/// the audit log under their id, and API keys that they made stay: they are the tenant's.
///
/// # Errors
/// [`AccountError::NotFound`], [`AccountError::Admin`], [`AccountError::LastOwner`], [`AccountError::BreakGlass`] or the database's.
pub async fn delete_user(
    context: &AuthContext,
    tenant: &Arc<TenantHandle>,
    asker: Asker,
    id: UserId,
) -> Result<(), AccountError> {
    let guarded = guarded_role(is_platform(&tenant.view_full()));
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let able = user_admin::lock_able(&mut tx, guarded).await?;
    let before = user_admin::lock(&mut tx, id).await?.ok_or(AccountError::NotFound)?;
    asker.check_touch(before.role)?;
    if able == [id] {
        return Err(AccountError::LastOwner);
    }
    if break_glass::is_last(&mut tx, guarded, id).await? {
        return Err(AccountError::BreakGlass);
    }
    revoke_made_by(&mut tx, id).await?;
    user_removal::delete(&mut tx, id).await?;
    let ended = context.sessions.revoke_all(&mut tx, id, None, "user_deleted").await?;
    let detail = json!({ "role": before.role, "n_sessions_ended": ended.len() });
    let target = ("user", id.to_string());
    audit::insert(&mut tx, &event(asker.actor, "user.delete", target, asker.source, detail)).await?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(())
}

/// Ends all of a user's sessions; returns them.
///
/// # Errors
/// [`AccountError::NotFound`], [`AccountError::Admin`] or the database's.
pub async fn end_sessions(
    context: &AuthContext,
    tenant: &Arc<TenantHandle>,
    asker: Asker,
    id: UserId,
) -> Result<Vec<SessionId>, AccountError> {
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let user = user_admin::lock(&mut tx, id).await?.ok_or(AccountError::NotFound)?;
    asker.check_touch(user.role)?;
    // What somebody asked for in one of them ends with them.
    account_links::spend_of_every_purpose(&mut tx, id).await?;
    let ended = context.sessions.revoke_all(&mut tx, id, None, "ended_by_admin").await?;
    let detail = json!({ "n_sessions_ended": ended.len() });
    let target = ("user", id.to_string());
    audit::insert(&mut tx, &event(asker.actor, "user.sessions.end", target, asker.source, detail)).await?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(ended)
}

/// Takes away all factors of a user who has lost them, or whose account somebody else has put one on: their next sign-in asks for
/// the password alone, or to enrol one where the tenant requires it. Ends all their sessions and tells them by mail.
///
/// # Errors
/// [`AccountError::NotFound`], [`AccountError::Admin`] or the database's.
pub async fn remove_factors(
    context: &AuthContext,
    tenant: &Arc<TenantHandle>,
    asker: Asker,
    id: UserId,
) -> Result<(), AccountError> {
    let guarded = guarded_role(is_platform(&tenant.view_full()));
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let is_last = break_glass::is_last(&mut tx, guarded, id).await?;
    let user = user_admin::lock(&mut tx, id).await?.ok_or(AccountError::NotFound)?;
    asker.check_touch(user.role)?;
    if is_last {
        return Err(AccountError::BreakGlass);
    }
    user_removal::delete_factors(&mut tx, id).await?;
    account_links::spend_of_every_purpose(&mut tx, id).await?;
    let ended = context.sessions.revoke_all(&mut tx, id, None, "factors_removed").await?;
    let detail = json!({ "change": "removed", "factor": "all" });
    let mail = NewMail { kind: MailKind::FactorChanged, recipient: &user.email, detail, row: None };
    mail_outbox::insert(&mut tx, &mail).await?;
    let detail = json!({ "n_sessions_ended": ended.len() });
    let target = ("user", id.to_string());
    audit::insert(&mut tx, &event(asker.actor, "user.factors.remove", target, asker.source, detail)).await?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(())
}
