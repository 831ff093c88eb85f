//! Invitations to found a tenant: rows of the platform's own tenant.

use serde_json::json;

use super::{AccountError, Asker, event, in_seconds};
use crate::actors::auth::AuthContext;
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::invitations::{self, Invitation, InvitationKind, NewInvitation};
use crate::db::mail_outbox::{self, NewMail};
use crate::db::{TenantTx, audit};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::identity::{EmailAddress, Role};
use crate::domain::ids::InvitationId;
use crate::domain::mail::MailKind;
use crate::domain::row_token::{self, RowTokenPurpose};

/// Invites somebody to found a tenant. `platform` is the platform's own tenant.
///
/// # Errors
/// The database's.
pub async fn invite_to_onboard(
    context: &AuthContext,
    platform: &TenantView,
    asker: Asker,
    email: &EmailAddress,
) -> Result<Invitation, AccountError> {
    let id: InvitationId = clock::new_id();
    let mut tx = TenantTx::begin(&context.db, platform.tenant.id).await?;
    let new = NewInvitation {
        id,
        kind: InvitationKind::Tenant,
        email,
        name: None,
        role: Role::Owner,
        user: None,
        invited_by: None,
        expires_at: in_seconds(context.settings.auth.invitation_ttl_s),
    };
    invitations::insert(&mut tx, &new).await?;
    let mail = NewMail {
        kind: MailKind::OnboardingInvitation,
        recipient: email.as_str(),
        detail: json!({}),
        row: Some(id.uuid()),
    };
    mail_outbox::insert(&mut tx, &mail).await?;
    let target = ("invitation", id.to_string());
    let detail = json!({ "email": email.as_str() });
    audit::insert(&mut tx, &event(asker.actor, "onboarding.invite", target, asker.source, detail)).await?;
    let invitation = invitations::find(&mut tx, InvitationKind::Tenant, id).await?.ok_or(AccountError::NotFound)?;
    tx.commit().await?;
    Ok(invitation)
}

/// Claims an invitation for one onboarding. If that does not come about, [`release_onboarding`] gives it back; if the process dies in
/// between, the invitation is used up and the operator invites anew.
///
/// # Errors
/// [`AccountError::InvalidLink`] or the database's.
pub async fn claim_onboarding(
    context: &AuthContext,
    platform: &TenantView,
    token: &str,
    source: AuditSource,
) -> Result<Invitation, AccountError> {
    let id = row_token::decode(token, RowTokenPurpose::Invitation, platform.tenant.id, &platform.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| AccountError::InvalidLink)?;
    let mut tx = TenantTx::begin(&context.db, platform.tenant.id).await?;
    let accepted = invitations::accept(&mut tx, InvitationKind::Tenant, id.into()).await?;
    let invitation = accepted.ok_or(AccountError::InvalidLink)?;
    let target = ("invitation", id.to_string());
    let audited = event(AuditActor::Anonymous, "onboarding.accept", target, source, json!({}));
    audit::insert(&mut tx, &audited).await?;
    tx.commit().await?;
    Ok(invitation)
}

/// Gives a claimed invitation back.
///
/// # Errors
/// The database's; [`AccountError::Conflict`] if the address was invited anew meanwhile.
pub async fn release_onboarding(
    context: &AuthContext,
    platform: &TenantView,
    id: InvitationId,
) -> Result<(), AccountError> {
    let mut tx = TenantTx::begin(&context.db, platform.tenant.id).await?;
    invitations::reopen(&mut tx, id).await?;
    let target = ("invitation", id.to_string());
    let audited = event(AuditActor::System, "onboarding.release", target, AuditSource::default(), json!({}));
    audit::insert(&mut tx, &audited).await?;
    Ok(tx.commit().await?)
}
