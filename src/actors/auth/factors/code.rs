//! Codes: counting attempts, and telling a right one from a wrong one.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::actors::auth::{AuthContext, AuthError};
use crate::actors::secrets::{OpenSecret, StoredSecret};
use crate::clock;
use crate::db::{TenantTx, code_attempts, recovery_codes, totp_factors};
use crate::domain::factor::{CodePurpose, FactorKind};
use crate::domain::ids::{FactorId, TenantId, UserId};
use crate::domain::recovery_code::{self, CodeHash};
use crate::domain::totp::TotpSecret;

/// Longest wait for the secrets actor.
pub(super) const SECRETS_DEADLINE: Duration = Duration::from_secs(3);

/// A code that was read: what it would use up if it is right.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReadCode {
    /// The authenticator app's code of this step.
    Totp { factor: FactorId, step: i64 },
    /// A recovery code, if it is one of the user's.
    Recovery(CodeHash),
    /// Nothing of either.
    Wrong,
}

impl ReadCode {
    /// The kind of factor that was meant.
    pub(super) fn kind(&self) -> FactorKind {
        match self {
            Self::Totp { .. } | Self::Wrong => FactorKind::Totp,
            Self::Recovery(_) => FactorKind::RecoveryCode,
        }
    }
}

/// Counts an attempt for the user before the code is looked at; returns how many there are in this window now.
pub(super) async fn claim(tx: &mut TenantTx, user: UserId, purpose: CodePurpose) -> Result<i32, AuthError> {
    code_attempts::claim(tx, user, purpose).await?.map_err(|retry_after_s| AuthError::TooManyCodes { retry_after_s })
}

/// Reads a code, without using it up. It holds no transaction while it waits for the secret.
pub(super) async fn read(
    context: &AuthContext,
    tenant: TenantId,
    user: UserId,
    code: &SecretString,
) -> Result<ReadCode, AuthError> {
    if let Some(hash) = recovery_code::hash(code.expose_secret()) {
        return Ok(ReadCode::Recovery(hash));
    }
    let mut tx = TenantTx::begin_read(&context.db, tenant).await?;
    let factor = totp_factors::find_active(&mut tx, user).await?;
    tx.finish();
    let Some(factor) = factor else { return Ok(ReadCode::Wrong) };
    Ok(match step_of(context, tenant, factor, code).await? {
        Some(step) => ReadCode::Totp { factor, step },
        None => ReadCode::Wrong,
    })
}

/// The step whose code this is.
pub(super) async fn step_of(
    context: &AuthContext,
    tenant: TenantId,
    factor: FactorId,
    code: &SecretString,
) -> Result<Option<i64>, AuthError> {
    let message = OpenSecret { tenant, secret: StoredSecret::Totp(factor) };
    let bytes = context.secrets.ask(message, SECRETS_DEADLINE).await?;
    let secret = TotpSecret::from_stored(&bytes).ok_or(AuthError::CorruptSecret)?;
    // Apps show a code in two groups, and people type what they see.
    let typed: String = code.expose_secret().chars().filter(|c| *c != ' ').take(16).collect();
    Ok(secret.matching_step(&typed, clock::now_s()))
}

/// Uses a code up and takes the attempt back; false if it was wrong, or used before.
pub(super) async fn use_up(
    tx: &mut TenantTx,
    user: UserId,
    code: ReadCode,
    purpose: CodePurpose,
) -> Result<bool, AuthError> {
    let is_right = match code {
        ReadCode::Totp { factor, step } => totp_factors::use_step(tx, factor, step).await?,
        ReadCode::Recovery(hash) => recovery_codes::use_up(tx, user, &hash).await?,
        ReadCode::Wrong => false,
    };
    if is_right {
        code_attempts::forgive(tx, user, purpose).await?;
    }
    Ok(is_right)
}
