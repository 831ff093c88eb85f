//! Addresses: proving them, changing them.

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::{AccountError, event, in_seconds};
use crate::actors::auth::{AuthContext, SignedInUser, demand, lock_signed_in};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::config::Settings;
use crate::db::account_links::{self, LinkPurpose, NewLink};
use crate::db::mail_outbox::{self, NewMail};
use crate::db::{DbError, TenantTx, audit, factors, user_admin};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::identity::{EmailAddress, IdentityError};
use crate::domain::ids::UserId;
use crate::domain::mail::MailKind;
use crate::domain::row_token::{self, RowTokenPurpose};

/// Links that a user may be sent within an hour, of each kind.
pub(super) const LINKS_PER_HOUR: i64 = 5;

/// Writes a link that proves an address, and its mail.
///
/// # Errors
/// [`DbError`].
pub async fn send_verification(
    tx: &mut TenantTx,
    settings: &Settings,
    user: UserId,
    email: &str,
) -> Result<(), DbError> {
    let id: Uuid = clock::new_id();
    let life = TimeDelta::seconds(i64::try_from(settings.auth.verification_ttl_s).unwrap_or(0));
    let purpose = LinkPurpose::EmailVerification;
    account_links::insert(tx, &NewLink { id, user, purpose, email, expires_at: clock::now() + life }).await?;
    let mail = NewMail { kind: MailKind::EmailVerification, recipient: email, detail: json!({}), row: Some(id) };
    mail_outbox::insert(tx, &mail).await
}

/// Mails the user another link for the address that they have, unless it is proven or too many were sent.
///
/// # Errors
/// [`AccountError::NotFound`] or the database's.
pub async fn resend_verification(
    context: &AuthContext,
    view: &TenantView,
    user: UserId,
    source: AuditSource,
) -> Result<(), AccountError> {
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let found = user_admin::lock(&mut tx, user).await?.ok_or(AccountError::NotFound)?;
    let n_sent = account_links::count_last_hour(&mut tx, user, LinkPurpose::EmailVerification).await?;
    if found.email_verified_at.is_none() && n_sent < LINKS_PER_HOUR {
        send_verification(&mut tx, &context.settings, user, &found.email).await?;
        let target = ("user", user.to_string());
        let audited = event(AuditActor::User(user), "email.verification.send", target, source, json!({}));
        audit::insert(&mut tx, &audited).await?;
    }
    Ok(tx.commit().await?)
}

/// What a proof of an address did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// Whether the user's address is another one now.
    pub is_changed: bool,
}

/// Takes the proof that mail to an address is read. If the user has named it as a new one, it is theirs from now on.
///
/// # Errors
/// [`AccountError::InvalidLink`]; [`AccountError::EmailTaken`], which only who reads the address's mail can see.
pub async fn verify_email(
    context: &AuthContext,
    view: &TenantView,
    token: &SecretString,
    source: AuditSource,
) -> Result<Confirmed, AccountError> {
    let purpose = RowTokenPurpose::EmailVerification;
    let id = row_token::decode(token.expose_secret(), purpose, view.tenant.id, &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| AccountError::InvalidLink)?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let link = account_links::find_open(&mut tx, LinkPurpose::EmailVerification, id).await?;
    let user_id = UserId::from(link.ok_or(AccountError::InvalidLink)?.user_id);
    // The user is locked before their links, everywhere.
    let user = user_admin::lock(&mut tx, user_id).await?.ok_or(AccountError::InvalidLink)?;
    let link = account_links::spend(&mut tx, LinkPurpose::EmailVerification, id).await?;
    let link = link.ok_or(AccountError::InvalidLink)?;
    let email = EmailAddress::parse(&link.email).map_err(|_stored: IdentityError| AccountError::InvalidLink)?;
    let is_changed = !EmailAddress::parse(&user.email).is_ok_and(|current| current.norm() == email.norm());
    if !user_admin::set_verified_email(&mut tx, user_id, &email).await? {
        return Err(AccountError::InvalidLink);
    }
    if is_changed {
        // Links that were sent to the old address die with it.
        account_links::spend_of_every_purpose(&mut tx, user_id).await?;
        notify(&mut tx, &user.email, "changed").await?;
    }
    let action = if is_changed { "email.change" } else { "email.verify" };
    let target = ("user", user_id.to_string());
    audit::insert(&mut tx, &event(AuditActor::User(user_id), action, target, source, json!({}))).await?;
    tx.commit().await?;
    Ok(Confirmed { is_changed })
}

/// Names a new address, which counts once it is proven: mails a link to it, and a notice to the old one. Whether somebody else has
/// the new one is not told before the proof. Asks for what a further factor asks for: a fresh sign-in, with the factors that there are.
///
/// # Errors
/// [`AccountError::Auth`] when a stronger sign-in is needed or the session has ended, or the database's.
pub async fn change_email(
    context: &AuthContext,
    view: &TenantView,
    by: &SignedInUser,
    email: &EmailAddress,
    source: AuditSource,
) -> Result<(), AccountError> {
    let user = by.user;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let found = lock_signed_in(context, &mut tx, by).await?;
    // Whoever has the address can ask for a new password: it is guarded as a further factor is.
    demand(by, factors::get(&mut tx, user).await?.enrolment_requirement())?;
    let n_sent = account_links::count_last_hour(&mut tx, user, LinkPurpose::EmailVerification).await?;
    if n_sent < LINKS_PER_HOUR {
        // One wish at a time.
        account_links::spend_all(&mut tx, user, LinkPurpose::EmailVerification).await?;
        send_verification(&mut tx, &context.settings, user, email.as_str()).await?;
        notify(&mut tx, &found.email, "requested").await?;
        let target = ("user", user.to_string());
        let audited = event(AuditActor::User(user), "email.change.request", target, source, json!({}));
        audit::insert(&mut tx, &audited).await?;
    }
    Ok(tx.commit().await?)
}

async fn notify(tx: &mut TenantTx, recipient: &str, state: &str) -> Result<(), DbError> {
    let mail = NewMail { kind: MailKind::EmailChanged, recipient, detail: json!({ "state": state }), row: None };
    mail_outbox::insert(tx, &mail).await
}

/// Writes a link for a new password, and its mail.
pub(super) async fn send_reset(
    tx: &mut TenantTx,
    settings: &Settings,
    user: UserId,
    email: &str,
) -> Result<(), DbError> {
    let id: Uuid = clock::new_id();
    let expires_at = in_seconds(settings.auth.password_reset_ttl_s);
    account_links::insert(tx, &NewLink { id, user, purpose: LinkPurpose::PasswordReset, email, expires_at }).await?;
    let mail = NewMail { kind: MailKind::PasswordReset, recipient: email, detail: json!({}), row: Some(id) };
    mail_outbox::insert(tx, &mail).await
}
