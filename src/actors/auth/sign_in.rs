//! Sign-in by password. Every refusal looks and takes the same, whatever its cause.

use secrecy::SecretString;
use serde_json::json;

use super::factors::SignInOutcome;
use super::messages::{AuthError, SignIn};
use super::{AuthContext, factors};
use crate::db::users::User;
use crate::db::{TenantTx, audit, users};
use crate::domain::audit::{AuditActor, AuditEvent, AuditOutcome, AuditSource};
use crate::domain::identity::EmailAddress;
use crate::domain::ids::TenantId;

/// Longer inputs are nobody's password; hashing them would only cost time.
const MAX_PASSWORD_BYTES: usize = 1_024;

/// Checks the password; what follows it is a session or the question for a second factor.
pub(super) async fn sign_in(context: &AuthContext, message: SignIn) -> Result<SignInOutcome, AuthError> {
    let SignIn { tenant, email, password, source } = message;
    let view = tenant.view_full();
    let user = find_user(context, view.tenant.id, &email).await?;
    match check_password(context, user.as_ref(), password).await? {
        true => factors::after_password(context, &view, user.ok_or(AuthError::InvalidCredentials)?, source).await,
        false => {
            record_failure(context, view.tenant.id, user.as_ref(), source).await?;
            Err(AuthError::InvalidCredentials)
        }
    }
}

async fn find_user(context: &AuthContext, tenant: TenantId, email: &str) -> Result<Option<User>, AuthError> {
    let Ok(email) = EmailAddress::parse(email) else {
        return Ok(None);
    };
    let mut tx = TenantTx::begin_read(&context.db, tenant).await?;
    let user = users::find_by_email(&mut tx, &email).await?;
    tx.finish();
    Ok(user)
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
    user: Option<&User>,
    source: AuditSource,
) -> Result<(), AuthError> {
    let mut tx = TenantTx::begin(&context.db, tenant).await?;
    audit::insert(&mut tx, &failure(user, source)).await?;
    Ok(tx.commit().await?)
}

fn failure(user: Option<&User>, source: AuditSource) -> AuditEvent {
    AuditEvent {
        actor: AuditActor::Anonymous,
        action: "session.create",
        target_kind: "user",
        target_id: user.map(|user| user.id.to_string()),
        outcome: AuditOutcome::Failure,
        code: Some("invalid-credentials"),
        source,
        detail: json!({ "method": "password" }),
    }
}
