//! Sign-in by password. Every refusal looks and takes the same, whatever its cause.

use secrecy::SecretString;
use serde_json::json;

use super::factors::SignInOutcome;
use super::messages::{AuthError, SignIn};
use super::password_hash::is_foreign;
use super::throttle::Attempt;
use super::{AuthContext, factors};
use crate::db::users::User;
use crate::db::{TenantTx, audit, user_admin, users};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::EmailAddress;
use crate::domain::ids::{TenantId, UserId};

/// Longer inputs are nobody's password; hashing them would only cost time.
const MAX_PASSWORD_BYTES: usize = 1_024;

/// Checks the password; what follows it is a session or the question for a second factor.
pub(super) async fn sign_in(context: &AuthContext, message: SignIn) -> Result<SignInOutcome, AuthError> {
    let is_sso_enforced = message.tenant.view().tenant.config.sso.enforced;
    let outcome = by_password(context, message).await;
    match outcome {
        // Where passwords are for owners in need alone, nobody learns whose they are, or whether one was right.
        Err(AuthError::InvalidCredentials) if is_sso_enforced => Err(AuthError::SsoRequired),
        outcome => outcome,
    }
}

async fn by_password(context: &AuthContext, message: SignIn) -> Result<SignInOutcome, AuthError> {
    let SignIn { tenant, email, password, source } = message;
    let view = tenant.view_full();
    let (user, mut attempt) = find_user(context, view.tenant.id, &email, &source).await?;
    attempt.admit(&context.db).await?;
    match check_password(context, user.as_ref(), password.clone()).await? {
        true => {
            let mut user = user.ok_or(AuthError::InvalidCredentials)?;
            upgrade_hash(context, view.tenant.id, &mut user, password, &source).await;
            let id = user.id;
            let outcome = factors::after_password(context, &view, user, source.clone(), &attempt).await;
            if let Err(AuthError::InvalidCredentials | AuthError::SsoRequired) = outcome {
                // It was the password, and is so no more; or it is of no use here.
                record_failure(context, view.tenant.id, Some(id), source, &attempt).await?;
            }
            outcome
        }
        false => {
            record_failure(context, view.tenant.id, user.map(|user| user.id), source, &attempt).await?;
            Err(AuthError::InvalidCredentials)
        }
    }
}

async fn find_user(
    context: &AuthContext,
    tenant: TenantId,
    email: &str,
    source: &AuditSource,
) -> Result<(Option<User>, Attempt), AuthError> {
    let mut tx = TenantTx::begin_read(&context.db, tenant).await?;
    // What is no address is nobody's, and is looked for all the same.
    let user = match EmailAddress::parse(email) {
        Ok(email) => users::find_by_email(&mut tx, &email).await?,
        Err(_malformed) => None,
    };
    let attempt = Attempt::look(&mut tx, email, user.as_ref().map(|user| user.id), source).await?;
    tx.finish();
    Ok((user, attempt))
}

/// Replaces a hash that was imported, now that the password is at hand. Not doing it does no harm: the next sign-in tries again.
async fn upgrade_hash(
    context: &AuthContext,
    tenant: TenantId,
    user: &mut User,
    password: SecretString,
    source: &AuditSource,
) {
    let Some(old) = user.password_hash.as_deref().filter(|hash| is_foreign(hash)) else { return };
    let upgraded = async {
        let new = context.hasher.hash(password.clone()).await?;
        let mut tx = TenantTx::begin(&context.db, tenant).await?;
        if user_admin::upgrade_hash(&mut tx, user.id, old, &new).await? {
            let event = AuditEvent {
                actor: AuditActor::System,
                action: "password.rehash",
                target_kind: "user",
                target_id: Some(user.id.to_string()),
                outcome: AuditOutcome::Success,
                code: None,
                source: source.clone(),
                detail: json!({}),
            };
            audit::insert(&mut tx, &event).await?;
        }
        let stored = users::find(&mut tx, user.id).await?.and_then(|user| user.password_hash);
        tx.commit().await?;
        // Another sign-in may have been first, or a change of the password.
        let is_the_same = stored.as_deref() == Some(&new) || context.hasher.verify(password, stored.clone()).await?;
        Ok::<_, AuthError>(stored.filter(|_| is_the_same))
    };
    match upgraded.await {
        Ok(Some(stored)) => user.password_hash = Some(stored),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "an imported password's hash was not upgraded"),
    }
}

/// Hashes even if there is nothing to compare with, so that time does not tell who exists.
async fn check_password(context: &AuthContext, user: Option<&User>, password: SecretString) -> Result<bool, AuthError> {
    let is_plausible = secrecy::ExposeSecret::expose_secret(&password).len() <= MAX_PASSWORD_BYTES;
    let hash = user.filter(|user| is_plausible && !user.is_suspended).and_then(|user| user.password_hash.clone());
    let password = if is_plausible { password } else { SecretString::default() };
    Ok(context.hasher.verify(password, hash).await?)
}

async fn record_failure(
    context: &AuthContext,
    tenant: TenantId,
    user: Option<UserId>,
    source: AuditSource,
    attempt: &Attempt,
) -> Result<(), AuthError> {
    let mut tx = TenantTx::begin(&context.db, tenant).await?;
    let mut failed = failure(user, source);
    let delay_s = attempt.record_failure(&mut tx).await?;
    if delay_s > 0 {
        failed.detail = json!({ "method": "password", "delay_s": delay_s });
    }
    audit::insert(&mut tx, &failed).await?;
    Ok(tx.commit().await?)
}

fn failure(user: Option<UserId>, source: AuditSource) -> AuditEvent {
    AuditEvent {
        actor: AuditActor::Anonymous,
        action: "session.create",
        target_kind: "user",
        target_id: user.map(|user| user.to_string()),
        outcome: AuditOutcome::Failure,
        code: Some("invalid-credentials"),
        source,
        detail: json!({ "method": "password" }),
    }
}
