//! Audit rows and mail about second factors.

use serde_json::{Value, json};

use crate::actors::auth::AuthError;
use crate::db::mail_outbox::{self, NewMail};
use crate::db::users::User;
use crate::db::{TenantTx, audit};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::ids::UserId;
use crate::domain::mail::MailKind;

/// What happened to whose factors.
#[derive(Debug, Clone)]
pub(super) struct Happened<'a> {
    pub(super) user: UserId,
    pub(super) action: &'static str,
    /// `None` = it ended well, else the code of the problem.
    pub(super) failure: Option<&'static str>,
    pub(super) source: &'a AuditSource,
    pub(super) detail: Value,
}

/// Writes it down in the transaction in which it happens. Whoever fails to show a factor has not proved who they are, unless
/// they were signed in.
pub(super) async fn record(tx: &mut TenantTx, actor: AuditActor, what: Happened<'_>) -> Result<(), AuthError> {
    let Happened { user, action, failure, source, detail } = what;
    let event = AuditEvent {
        actor,
        action,
        target_kind: "user",
        target_id: Some(user.to_string()),
        outcome: if failure.is_some() { AuditOutcome::Failure } else { AuditOutcome::Success },
        code: failure,
        source: source.clone(),
        detail,
    };
    Ok(audit::insert(tx, &event).await?)
}

/// Writes down a failure of somebody of whom not even a name is known.
pub(super) async fn record_stranger(
    tx: &mut TenantTx,
    action: &'static str,
    failure: &'static str,
    source: &AuditSource,
    detail: Value,
) -> Result<(), AuthError> {
    let event = AuditEvent {
        actor: AuditActor::Anonymous,
        action,
        target_kind: "user",
        target_id: None,
        outcome: AuditOutcome::Failure,
        code: Some(failure),
        source: source.clone(),
        detail,
    };
    Ok(audit::insert(tx, &event).await?)
}

/// Tells the user by mail that somebody who has their password tries codes.
pub(super) async fn warn_of_guessing(tx: &mut TenantTx, user: &User) -> Result<(), AuthError> {
    let mail = NewMail { kind: MailKind::CodeGuessing, recipient: &user.email, detail: json!({}), row: None };
    Ok(mail_outbox::insert(tx, &mail).await?)
}

/// Tells the user by mail that their factors are others now.
pub(super) async fn tell(tx: &mut TenantTx, user: &User, change: &str, factor: &str) -> Result<(), AuthError> {
    let mail = NewMail {
        kind: MailKind::FactorChanged,
        recipient: &user.email,
        detail: json!({ "change": change, "factor": factor }),
        row: None,
    };
    Ok(mail_outbox::insert(tx, &mail).await?)
}
