//! Passwords: forgotten, set anew, changed.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::email::{LINKS_PER_HOUR, send_reset};
use super::{AccountError, check_context, event};
use crate::actors::auth::{Attempt, AuthContext, AuthError, revoke_here};
use crate::actors::tenant::TenantHandle;
use crate::db::account_links::{self, LinkPurpose};
use crate::db::mail_outbox::{self, NewMail};
use crate::db::{DbError, TenantTx, audit, invitations, mfa_challenges, sign_in_attempts, user_admin, users};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::identity::{EmailAddress, NewPassword};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::mail::MailKind;
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::throttle;

/// Mails a link for a new password to a user who has this address, if there is one. Done after the answer was given, so that the
/// answer's time says nothing.
///
/// # Errors
/// The database's.
pub async fn forgot_password(
    context: &AuthContext,
    tenant: &TenantHandle,
    email: &str,
    source: AuditSource,
) -> Result<(), DbError> {
    let Ok(email) = EmailAddress::parse(email) else { return Ok(()) };
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let Some(user) = users::find_by_email(&mut tx, &email).await?.filter(|user| !user.is_suspended) else {
        tx.finish();
        return Ok(());
    };
    // Locked, so that two at once do not both see room for one more.
    user_admin::lock(&mut tx, user.id).await?;
    if account_links::count_last_hour(&mut tx, user.id, LinkPurpose::PasswordReset).await? < LINKS_PER_HOUR {
        send_reset(&mut tx, &context.settings, user.id, &user.email).await?;
        let target = ("user", user.id.to_string());
        let audited = event(AuditActor::Anonymous, "password.forgot", target, source, json!({}));
        audit::insert(&mut tx, &audited).await?;
    }
    tx.commit().await
}

/// Sets a new password by a link, and ends all of the user's sessions. Signs nobody in, so a second factor is asked for as ever.
///
/// # Errors
/// [`AccountError::InvalidLink`], [`AccountError::NewPassword`] or the database's.
pub async fn reset_password(
    context: &AuthContext,
    tenant: &Arc<TenantHandle>,
    token: &SecretString,
    password: NewPassword,
    source: AuditSource,
) -> Result<(), AccountError> {
    let view = tenant.view_full();
    let id = row_token::decode(token.expose_secret(), RowTokenPurpose::PasswordReset, tenant.id(), &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| AccountError::InvalidLink)?;
    // Looked at before a password is hashed for it, and used up after.
    let mut tx = TenantTx::begin_read(&context.db, tenant.id()).await?;
    let link = account_links::find_open(&mut tx, LinkPurpose::PasswordReset, id).await?;
    tx.finish();
    let link = link.ok_or(AccountError::InvalidLink)?;
    check_context(&view, &link.email, None, &password)?;
    let email = EmailAddress::parse(&link.email)
        .map_err(|_stored: crate::domain::identity::IdentityError| AccountError::InvalidLink)?;
    let hash = context.hasher.hash(password.secret().clone()).await?;

    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    // First failed attempts, then the user, then their links: the same order everywhere. If the address is not the user's any more,
    // nothing of this stays.
    let account = throttle::account(tenant.id(), email.norm());
    sign_in_attempts::forget(&mut tx, &account, &throttle::network(source.ip)).await?;
    let user_id = UserId::from(link.user_id);
    let user = user_admin::lock(&mut tx, user_id).await?.ok_or(AccountError::InvalidLink)?;
    let link = account_links::spend(&mut tx, LinkPurpose::PasswordReset, id).await?;
    let link = link.ok_or(AccountError::InvalidLink)?;
    // The link was sent to this address and came back: it is read. A suspended user stays as they are.
    if link.email != user.email || !user_admin::set_verified_email(&mut tx, user_id, &email).await? {
        return Err(AccountError::InvalidLink);
    }
    let change = Change { user: user_id, email: &user.email, hash: &hash, keep: None, action: "password.reset" };
    let ended = write_password(&mut tx, context, change, source).await?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(())
}

/// A user who changes their password.
#[derive(Debug)]
pub struct ChangePassword {
    /// Who.
    pub user: UserId,
    /// The session of the request, which goes on.
    pub session: SessionId,
    /// The present password.
    pub current: SecretString,
    /// The new one.
    pub new: NewPassword,
    /// From where.
    pub source: AuditSource,
}

/// Changes a password, and ends the user's other sessions. Wrong guesses count as they do at sign-in.
///
/// # Errors
/// [`AccountError::WrongPassword`], [`AccountError::NewPassword`], [`AccountError::Auth`] when throttled, or the database's.
pub async fn change_password(
    context: &AuthContext,
    tenant: &Arc<TenantHandle>,
    wish: ChangePassword,
) -> Result<(), AccountError> {
    let ChangePassword { user: user_id, session, current, new, source } = wish;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin_read(&context.db, tenant.id()).await?;
    let user = users::find(&mut tx, user_id).await?;
    let user = user.ok_or(AccountError::NotFound)?;
    check_context(&view, &user.email, user.name.as_deref(), &new)?;
    let mut attempt = Attempt::look(&mut tx, &user.email, Some(user_id), &source).await?;
    tx.finish();
    attempt.admit(&context.db).await?;
    if !context.hasher.verify(current, user.password_hash.clone()).await? {
        let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
        attempt.record_failure(&mut tx).await?;
        let target = ("user", user_id.to_string());
        let mut failed = event(AuditActor::User(user_id), "password.change", target, source, json!({}));
        failed.outcome = crate::domain::audit::AuditOutcome::Failure;
        failed.code = Some("wrong-password");
        audit::insert(&mut tx, &failed).await?;
        tx.commit().await?;
        return Err(AccountError::WrongPassword);
    }
    let hash = context.hasher.hash(new.secret().clone()).await?;
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    // Locked, and looked at again: hashing took its time, in which the password or the session may have been ended.
    let now = user_admin::lock(&mut tx, user_id).await?.ok_or(AccountError::NotFound)?;
    if now.password_hash != user.password_hash {
        return Err(AccountError::WrongPassword);
    }
    let own = context.sessions.find(&mut tx, session).await?;
    if own.is_none_or(|own| own.revoked_at.is_some()) {
        return Err(AccountError::Auth(AuthError::SessionRevoked));
    }
    attempt.forgive(&mut tx).await?;
    let change =
        Change { user: user_id, email: &user.email, hash: &hash, keep: Some(session), action: "password.change" };
    let ended = write_password(&mut tx, context, change, source).await?;
    tx.commit().await?;
    revoke_here(tenant, &ended).await;
    Ok(())
}

struct Change<'a> {
    user: UserId,
    email: &'a str,
    hash: &'a str,
    /// The session that goes on.
    keep: Option<SessionId>,
    action: &'static str,
}

/// Writes a new password with all that follows from it; returns the sessions that ended.
async fn write_password(
    tx: &mut TenantTx,
    context: &AuthContext,
    change: Change<'_>,
    source: AuditSource,
) -> Result<Vec<SessionId>, AccountError> {
    let Change { user, email, hash, keep, action } = change;
    if !user_admin::set_password(tx, user, hash).await? {
        return Err(AccountError::NotFound);
    }
    // Also one that would give the account another address: whoever knew the old password may have asked for it.
    account_links::spend_of_every_purpose(tx, user).await?;
    // A link that gives a user their first password is worth nothing to a user who has one.
    invitations::revoke_of_user(tx, user).await?;
    // A sign-in that waits for its second factor has shown the old password.
    mfa_challenges::delete_all(tx, user).await?;
    let ended = context.sessions.revoke_all(tx, user, keep, "password_changed").await?;
    let mail = NewMail { kind: MailKind::PasswordChanged, recipient: email, detail: json!({}), row: None };
    mail_outbox::insert(tx, &mail).await?;
    let detail = json!({ "n_sessions_ended": ended.len() });
    audit::insert(tx, &event(AuditActor::User(user), action, ("user", user.to_string()), source, detail)).await?;
    Ok(ended)
}
