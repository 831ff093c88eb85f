//! Invitations to be a user of a tenant.

use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::json;

use super::{AccountError, Asker, check_context, event, in_seconds, is_platform};
use crate::actors::auth::AuthContext;
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::invitations::{self, Invitation, InvitationKind, NewInvitation};
use crate::db::mail_outbox::{self, NewMail};
use crate::db::users::{self, NewUser, User};
use crate::db::{TenantTx, audit, user_admin};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::identity::{EmailAddress, NewPassword, Role};
use crate::domain::ids::{InvitationId, UserId};
use crate::domain::mail::MailKind;
use crate::domain::row_token::{self, RowTokenPurpose};
use crate::domain::user_admin::{check_grant, check_touch};

/// Invitations of one tenant to one address within an hour.
const MAILS_PER_HOUR_AND_RECIPIENT: i64 = 5;
/// Invitations of one tenant within a day.
const MAILS_PER_DAY: i64 = 1_000;

/// Somebody to be invited.
#[derive(Debug)]
pub struct Invite {
    /// Address.
    pub email: EmailAddress,
    /// Display name.
    pub name: Option<String>,
    /// Role that the user will have.
    pub role: Role,
}

/// Invites somebody by mail, in place of an earlier invitation of the same address.
///
/// # Errors
/// [`AccountError::Admin`], [`AccountError::EmailTaken`] or the database's.
pub async fn invite(
    context: &AuthContext,
    view: &TenantView,
    asker: Asker,
    wish: Invite,
) -> Result<Invitation, AccountError> {
    check_grant(asker.role, wish.role, is_platform(view))?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    if users::find_by_email(&mut tx, &wish.email).await?.is_some() {
        return Err(AccountError::EmailTaken);
    }
    let Invite { email, name, role } = &wish;
    let invitation = write(&mut tx, context, &asker, email, name.as_deref(), *role, None).await?;
    let detail = json!({ "email": email.as_str(), "role": role });
    let target = ("invitation", invitation.id.to_string());
    audit::insert(&mut tx, &event(asker.actor, "invitation.create", target, asker.source, detail)).await?;
    tx.commit().await?;
    Ok(invitation)
}

/// Keeps the platform's mail from being used against strangers.
async fn check_mail(tx: &mut TenantTx, recipient: &str) -> Result<(), AccountError> {
    let sent = mail_outbox::count_lately(tx, MailKind::Invitation, recipient).await?;
    if sent.to_recipient_in_an_hour >= MAILS_PER_HOUR_AND_RECIPIENT {
        return Err(AccountError::TooMuchMail { retry_after_s: 3_600 });
    }
    if sent.in_a_day >= MAILS_PER_DAY {
        return Err(AccountError::TooMuchMail { retry_after_s: 86_400 });
    }
    Ok(())
}

/// Writes an invitation and its mail.
pub(super) async fn write(
    tx: &mut TenantTx,
    context: &AuthContext,
    asker: &Asker,
    email: &EmailAddress,
    name: Option<&str>,
    role: Role,
    user: Option<UserId>,
) -> Result<Invitation, AccountError> {
    let id: InvitationId = clock::new_id();
    let invited_by = match asker.actor {
        AuditActor::User(id) | AuditActor::Operator(id) => Some(id),
        AuditActor::Anonymous | AuditActor::Key(_) | AuditActor::Scim(_) | AuditActor::System => None,
    };
    let expires_at = in_seconds(context.settings.auth.invitation_ttl_s);
    let new = NewInvitation { id, kind: InvitationKind::User, email, name, role, user, invited_by, expires_at };
    check_mail(tx, email.as_str()).await?;
    invitations::insert(tx, &new).await?;
    let inviter = match invited_by {
        None => None,
        Some(id) => users::find(tx, id).await?.and_then(|user| user.name),
    };
    let detail = json!({ "invited_by": inviter });
    let mail = NewMail { kind: MailKind::Invitation, recipient: email.as_str(), detail, row: Some(id.uuid()) };
    mail_outbox::insert(tx, &mail).await?;
    invitations::find(tx, InvitationKind::User, id).await?.ok_or(AccountError::NotFound)
}

/// Mails an open invitation again, with a whole life before it.
///
/// # Errors
/// [`AccountError::NotFound`], [`AccountError::Admin`] or the database's.
pub async fn resend_invitation(
    context: &AuthContext,
    view: &TenantView,
    asker: Asker,
    id: InvitationId,
) -> Result<Invitation, AccountError> {
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let expires_at = in_seconds(context.settings.auth.invitation_ttl_s);
    let invitation = invitations::renew(&mut tx, id, expires_at).await?.ok_or(AccountError::NotFound)?;
    asker.check_touch(invitation.role)?;
    check_mail(&mut tx, &invitation.email).await?;
    let mail =
        NewMail { kind: MailKind::Invitation, recipient: &invitation.email, detail: json!({}), row: Some(id.uuid()) };
    mail_outbox::insert(&mut tx, &mail).await?;
    let target = ("invitation", id.to_string());
    audit::insert(&mut tx, &event(asker.actor, "invitation.resend", target, asker.source, json!({}))).await?;
    tx.commit().await?;
    Ok(invitation)
}

/// Withdraws an invitation: its link dies.
///
/// # Errors
/// [`AccountError::NotFound`], [`AccountError::Admin`] or the database's.
pub async fn revoke_invitation(
    context: &AuthContext,
    view: &TenantView,
    asker: Asker,
    id: InvitationId,
) -> Result<(), AccountError> {
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let found = invitations::find(&mut tx, InvitationKind::User, id).await?.ok_or(AccountError::NotFound)?;
    check_touch(asker.role, found.role)?;
    if !invitations::revoke(&mut tx, id).await? {
        return Err(AccountError::NotFound);
    }
    let target = ("invitation", id.to_string());
    audit::insert(&mut tx, &event(asker.actor, "invitation.revoke", target, asker.source, json!({}))).await?;
    Ok(tx.commit().await?)
}

/// Somebody accepts.
#[derive(Debug)]
pub struct AcceptInvitation {
    /// Token of the link.
    pub token: SecretString,
    /// The password that they choose.
    pub password: NewPassword,
    /// Display name; the invitation's if left out.
    pub name: Option<String>,
    /// From where.
    pub source: AuditSource,
}

/// Makes the invited user, whose address is proven by the link. Signs nobody in.
///
/// # Errors
/// [`AccountError::InvalidLink`], [`AccountError::NewPassword`], [`AccountError::EmailTaken`] or the database's.
pub async fn accept_invitation(
    context: &AuthContext,
    view: &TenantView,
    wish: AcceptInvitation,
) -> Result<User, AccountError> {
    let AcceptInvitation { token, password, name, source } = wish;
    let id = row_token::decode(token.expose_secret(), RowTokenPurpose::Invitation, view.tenant.id, &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| AccountError::InvalidLink)?;
    let id = InvitationId::from(id);
    // Looked at before a password is hashed for it, and claimed after.
    let mut tx = TenantTx::begin_read(&context.db, view.tenant.id).await?;
    let found = invitations::find(&mut tx, InvitationKind::User, id).await?;
    tx.finish();
    let found = found.filter(is_open).ok_or(AccountError::InvalidLink)?;
    check_context(view, &found.email, name.as_deref(), &password)?;
    let hash = context.hasher.hash(password.secret().clone()).await?;

    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    // The user is locked before their invitations, everywhere.
    if let Some(user) = found.user {
        user_admin::lock(&mut tx, user).await?.ok_or(AccountError::InvalidLink)?;
    }
    let invitation = invitations::accept(&mut tx, InvitationKind::User, id).await?.ok_or(AccountError::InvalidLink)?;
    let email = EmailAddress::parse(&invitation.email)
        .map_err(|_stored: crate::domain::identity::IdentityError| AccountError::InvalidLink)?;
    let name = name.or_else(|| invitation.name.clone());
    let user = match invitation.user {
        None => {
            let user: UserId = clock::new_id();
            let new = NewUser {
                id: user,
                email: &email,
                name: name.as_deref(),
                role: invitation.role,
                password_hash: Some(&hash),
                is_verified: true,
            };
            users::insert(&mut tx, &new).await?;
            user
        }
        Some(user) => {
            let is_active = user_admin::set_password(&mut tx, user, &hash).await?
                && user_admin::set_verified_email(&mut tx, user, &email).await?;
            if !is_active {
                return Err(AccountError::InvalidLink);
            }
            let change = user_admin::UserChange { name: name.as_deref(), ..Default::default() };
            user_admin::update(&mut tx, user, &change).await?;
            user
        }
    };
    let detail = json!({ "invitation_id": id, "role": invitation.role });
    let target = ("user", user.to_string());
    audit::insert(&mut tx, &event(AuditActor::User(user), "invitation.accept", target, source, detail)).await?;
    let user = users::find(&mut tx, user).await?.ok_or(AccountError::InvalidLink)?;
    tx.commit().await?;
    Ok(user)
}

fn is_open(invitation: &Invitation) -> bool {
    invitation.accepted_at.is_none() && invitation.revoked_at.is_none() && invitation.expires_at > clock::now()
}
