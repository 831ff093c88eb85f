//! Enrolling an authenticator app: a secret first, then a code that proves that the app has it.

use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde_json::json;

use super::challenge;
use super::change::{self, Admitted};
use super::code::{SECRETS_DEADLINE, step_of};
use super::messages::{BeginTotp, ConfirmTotp, Enrolled, TotpEnrolment};
use super::trail::{self, Happened};
use crate::actors::auth::begin::{self, Proof};
use crate::actors::auth::{AuthContext, AuthError, sign_out, tokens};
use crate::actors::secrets::{SealSecret, StoredSecret};
use crate::clients::kms::{self, MasterKeyError};
use crate::clock;
use crate::db::totp_factors::{NewTotpFactor, SealedSecret};
use crate::db::{TenantTx, totp_factors};
use crate::domain::audit::AuditActor;
use crate::domain::factor::{ENROLMENT_TTL_S, FactorKind};
use crate::domain::ids::FactorId;
use crate::domain::qr;
use crate::domain::totp::TotpSecret;

/// Makes a secret and stores it as pending.
pub(super) async fn begin(context: &AuthContext, message: BeginTotp) -> Result<TotpEnrolment, AuthError> {
    let BeginTotp { tenant, by, source } = message;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    change::admit(context, &mut tx, &view, &by, false).await?;
    tx.commit().await?;

    let secret = TotpSecret::new(kms::random().map_err(|_random: MasterKeyError| AuthError::Random)?);
    let id: FactorId = clock::new_id();
    let seal = SealSecret { tenant: view.tenant.id, secret: StoredSecret::Totp(id), plaintext: secret.bytes() };
    let SealedSecret { sealed, key_version } = context.secrets.ask(seal, SECRETS_DEADLINE).await?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    // Asked again, in the transaction that acts on it.
    let Admitted { user, has, .. } = change::admit(context, &mut tx, &view, &by, false).await?;
    let new = NewTotpFactor { id, user: user.id, secret_enc: &sealed, key_version };
    totp_factors::insert_pending(&mut tx, &new).await?;
    let happened = Happened {
        user: user.id,
        action: "factor.enrol",
        failure: None,
        source: &source,
        detail: json!({ "factor": FactorKind::Totp, "factor_id": id, "is_first": !has.any() }),
    };
    trail::record(&mut tx, AuditActor::User(user.id), happened).await?;
    tx.commit().await?;

    let otpauth_uri = secret.otpauth_uri(&view.tenant.name, &user.email).ok_or(AuthError::CorruptSecret)?;
    let qr_svg = qr::svg(otpauth_uri.expose_secret()).ok_or(AuthError::CorruptSecret)?.into();
    Ok(TotpEnrolment { otpauth_uri, secret: secret.base32(), qr_svg })
}

/// Makes the pending secret the user's factor.
pub(super) async fn confirm(context: &AuthContext, message: ConfirmTotp) -> Result<Enrolled, AuthError> {
    let ConfirmTotp { tenant, by, code, source } = message;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let Admitted { user, .. } = change::admit(context, &mut tx, &view, &by, true).await?;
    let since = clock::now() - TimeDelta::seconds(ENROLMENT_TTL_S);
    let pending = totp_factors::find_pending(&mut tx, user.id, since).await?;
    tx.commit().await?;

    let id = pending.ok_or(AuthError::NoSuchFactor)?;
    let step = step_of(context, view.tenant.id, id, &code).await?;
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let happened = |failure| Happened {
        user: user.id,
        action: "factor.confirm",
        failure,
        source: &source,
        detail: json!({ "factor": FactorKind::Totp, "factor_id": id }),
    };
    let Some(step) = step else {
        trail::record(&mut tx, AuditActor::User(user.id), happened(Some("invalid-mfa-code"))).await?;
        tx.commit().await?;
        return Err(AuthError::InvalidMfaCode);
    };
    // Asked again, in the transaction that acts on it.
    let Admitted { user: stored, session, challenge, .. } = change::admit(context, &mut tx, &view, &by, false).await?;
    let connection = challenge::meet(&mut tx, challenge).await?;
    if !totp_factors::confirm(&mut tx, user.id, id, step).await? {
        return Err(AuthError::NoSuchFactor);
    }
    trail::record(&mut tx, AuditActor::User(user.id), happened(None)).await?;
    let recovery_codes = change::renew_codes(&mut tx, user.id).await?;
    let ended = change::settle(context, &mut tx, &stored, session, "added", FactorKind::Totp.as_str()).await?;
    let grant = match challenge {
        // Password, and a code of the app: both factors were shown.
        Some(_) => {
            let proof = Proof::PASSWORD_AND_TOTP.after(connection);
            Some(begin::session(context, &view, &mut tx, &stored, proof, source.clone()).await?)
        }
        None => None,
    };
    tx.commit().await?;
    sign_out::revoke_here(&tenant, &ended).await;
    let tokens = grant.map(|grant| tokens::issue(context, &view, grant)).transpose()?;
    Ok(Enrolled { recovery_codes, tokens })
}
