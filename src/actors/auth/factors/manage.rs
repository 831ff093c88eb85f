//! Removing the authenticator app, and new recovery codes.

use secrecy::SecretString;
use serde_json::json;

use super::change;
use super::messages::{RemoveTotp, RenewRecoveryCodes};
use super::trail::{self, Happened};
use crate::actors::auth::{AuthContext, AuthError, break_glass, sign_out};
use crate::db::{TenantTx, factors, recovery_codes, totp_factors};
use crate::domain::assurance::Requirement;
use crate::domain::audit::AuditActor;
use crate::domain::factor::{FactorKind, N_RECOVERY_CODES};

/// Removes the authenticator app; the recovery codes go with the last factor.
pub(super) async fn remove_totp(context: &AuthContext, message: RemoveTotp) -> Result<(), AuthError> {
    let RemoveTotp { tenant, by, source } = message;
    change::demand(&by, Requirement::SENSITIVE)?;
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let breaks_glass = break_glass::is_last(&mut tx, break_glass::role_of(&tenant.view()), by.user).await?;
    let user = change::lock_signed_in(context, &mut tx, &by).await?;
    let removed = totp_factors::delete(&mut tx, user.id).await?.ok_or(AuthError::NoSuchFactor)?;
    let is_last = !factors::get(&mut tx, user.id).await?.any();
    if is_last && breaks_glass {
        return Err(AuthError::BreakGlass);
    }
    if is_last {
        recovery_codes::delete_all(&mut tx, user.id).await?;
    }
    let happened = Happened {
        user: user.id,
        action: "factor.remove",
        failure: None,
        source: &source,
        detail: json!({ "factor": FactorKind::Totp, "factor_id": removed, "was_last": is_last }),
    };
    trail::record(&mut tx, AuditActor::User(user.id), happened).await?;
    let factor = FactorKind::Totp.as_str();
    let ended = change::settle(context, &mut tx, &user, Some(by.session), "removed", factor).await?;
    tx.commit().await?;
    sign_out::revoke_here(&tenant, &ended).await;
    Ok(())
}

/// Puts ten new recovery codes in place of the old ones.
pub(super) async fn renew(context: &AuthContext, message: RenewRecoveryCodes) -> Result<Vec<SecretString>, AuthError> {
    let RenewRecoveryCodes { tenant, by, source } = message;
    change::demand(&by, Requirement::SENSITIVE)?;
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let user = change::lock_signed_in(context, &mut tx, &by).await?;
    if !factors::get(&mut tx, user.id).await?.any() {
        return Err(AuthError::NoSuchFactor);
    }
    let codes = change::renew_codes(&mut tx, user.id).await?;
    let happened = Happened {
        user: user.id,
        action: "recovery_codes.renew",
        failure: None,
        source: &source,
        detail: json!({ "n_codes": N_RECOVERY_CODES }),
    };
    trail::record(&mut tx, AuditActor::User(user.id), happened).await?;
    trail::tell(&mut tx, &user, "renewed", FactorKind::RecoveryCode.as_str()).await?;
    tx.commit().await?;
    Ok(codes)
}
