//! Enrolling and removing passkeys.

use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{Passkey, PasskeyRegistration};

use super::challenge;
use super::change::{self, Admitted};
use super::messages::Enrolled;
use super::passkey_messages::{BeginPasskey, CeremonyOptions, FinishPasskey, RemovePasskey};
use super::relying_party::{self, MAX_PASSKEYS, refused, restored, stored};
use super::trail::{self, Happened};
use crate::actors::auth::begin::{self, Proof};
use crate::actors::auth::{AuthContext, AuthError, break_glass, sign_out, tokens};
use crate::clock;
use crate::db::passkey_ceremonies::{self, NewCeremony};
use crate::db::passkeys::{self, NewPasskey};
use crate::db::{TenantTx, factors, recovery_codes};
use crate::domain::assurance::Requirement;
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::factor::FactorKind;
use crate::domain::ids::{FactorId, UserId};

const PURPOSE: &str = "register";

/// Asks the authenticator for a new passkey.
pub(super) async fn begin(context: &AuthContext, message: BeginPasskey) -> Result<CeremonyOptions, AuthError> {
    let BeginPasskey { tenant, by, source } = message;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let Admitted { user, has, challenge, .. } = change::admit(context, &mut tx, &view, &by, false).await?;
    let known = relying_party::passkeys(passkeys::list(&mut tx, user.id).await?)?;
    if known.len() >= MAX_PASSKEYS {
        return Err(AuthError::TooManyPasskeys);
    }
    let exclude = known.iter().map(|passkey| passkey.cred_id().clone()).collect();
    let display_name = user.name.as_deref().unwrap_or(&user.email);
    let (options, state) = relying_party::of(&view)?
        .start_passkey_registration(user.id.uuid(), &user.email, display_name, Some(exclude))
        .map_err(AuthError::Webauthn)?;
    let ceremony: Uuid = clock::new_id();
    let new = NewCeremony {
        id: ceremony,
        user: Some(user.id),
        purpose: PURPOSE,
        challenge,
        state: &stored(&state)?,
        expires_at: relying_party::expiry(),
    };
    passkey_ceremonies::insert(&mut tx, &new).await?;
    let happened = Happened {
        user: user.id,
        action: "factor.enrol",
        failure: None,
        source: &source,
        detail: json!({ "factor": FactorKind::Webauthn, "is_first": !has.any() }),
    };
    trail::record(&mut tx, AuditActor::User(user.id), happened).await?;
    tx.commit().await?;
    let mut options = stored(&options)?;
    // A passkey that the authenticator can find by itself also signs in without a name.
    if let Some(Value::Object(selection)) = options.pointer_mut("/publicKey/authenticatorSelection") {
        selection.insert("residentKey".to_owned(), "preferred".into());
    }
    Ok(CeremonyOptions { ceremony, options })
}

/// Stores the passkey that it made.
pub(super) async fn finish(context: &AuthContext, message: FinishPasskey) -> Result<Enrolled, AuthError> {
    let FinishPasskey { tenant, by, ceremony, name, credential, source } = message;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let Admitted { user, has, session, challenge } = change::admit(context, &mut tx, &view, &by, false).await?;
    let state = passkey_ceremonies::take(&mut tx, ceremony, PURPOSE, Some(user.id), challenge).await?;
    let Some(state) = state else {
        fail(tx, user.id, &source).await?;
        return Err(AuthError::InvalidPasskey);
    };
    let state: PasskeyRegistration = restored(state)?;
    let passkey: Passkey =
        match relying_party::of(&view)?.finish_passkey_registration(&credential, &state).map_err(refused) {
            Ok(passkey) => passkey,
            Err(error) => {
                // The ceremony is over, whatever came of it.
                fail(tx, user.id, &source).await?;
                return Err(error);
            }
        };
    let connection = challenge::meet(&mut tx, challenge).await?;
    let id: FactorId = clock::new_id();
    let new = NewPasskey {
        id,
        user: user.id,
        name: &name,
        credential_id: passkey.cred_id().as_ref(),
        credential: &stored(&passkey)?,
    };
    if let Err(error) = passkeys::insert(&mut tx, &new).await {
        if error.constraint() != Some("passkeys_credential_key") {
            return Err(error.into());
        }
        // The violation has ended the first transaction.
        drop(tx);
        fail(TenantTx::begin(&context.db, view.tenant.id).await?, user.id, &source).await?;
        return Err(AuthError::InvalidPasskey);
    }
    let happened = Happened {
        user: user.id,
        action: "factor.confirm",
        failure: None,
        source: &source,
        detail: json!({ "factor": FactorKind::Webauthn, "factor_id": id, "name": name }),
    };
    trail::record(&mut tx, AuditActor::User(user.id), happened).await?;
    let needs_codes = has.n_recovery_codes == 0;
    let recovery_codes = if needs_codes { change::renew_codes(&mut tx, user.id).await? } else { Vec::new() };
    let ended = change::settle(context, &mut tx, &user, session, "added", FactorKind::Webauthn.as_str()).await?;
    let grant = match challenge {
        Some(_) => {
            let proof = Proof::PASSWORD_AND_NEW_PASSKEY.after(connection);
            Some(begin::session(context, &view, &mut tx, &user, proof, source.clone()).await?)
        }
        None => None,
    };
    tx.commit().await?;
    sign_out::revoke_here(&tenant, &ended).await;
    let tokens = grant.map(|grant| tokens::issue(context, &view, grant)).transpose()?;
    Ok(Enrolled { recovery_codes, tokens })
}

/// Writes down that an authenticator's answer was not taken, and commits: the ceremony stays taken.
async fn fail(mut tx: TenantTx, user: UserId, source: &AuditSource) -> Result<(), AuthError> {
    let happened = Happened {
        user,
        action: "factor.confirm",
        failure: Some("invalid-passkey"),
        source,
        detail: json!({ "factor": FactorKind::Webauthn }),
    };
    trail::record(&mut tx, AuditActor::User(user), happened).await?;
    Ok(tx.commit().await?)
}

/// Removes a passkey; the recovery codes go with the last factor.
pub(super) async fn remove(context: &AuthContext, message: RemovePasskey) -> Result<(), AuthError> {
    let RemovePasskey { tenant, by, passkey, source } = message;
    change::demand(&by, Requirement::SENSITIVE)?;
    let mut tx = TenantTx::begin(&context.db, tenant.id()).await?;
    let breaks_glass = break_glass::is_last(&mut tx, break_glass::role_of(&tenant.view()), by.user).await?;
    let user = change::lock_signed_in(context, &mut tx, &by).await?;
    if !passkeys::delete(&mut tx, user.id, passkey).await? {
        return Err(AuthError::NoSuchFactor);
    }
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
        detail: json!({ "factor": FactorKind::Webauthn, "factor_id": passkey, "was_last": is_last }),
    };
    trail::record(&mut tx, AuditActor::User(user.id), happened).await?;
    let factor = FactorKind::Webauthn.as_str();
    let ended = change::settle(context, &mut tx, &user, Some(by.session), "removed", factor).await?;
    tx.commit().await?;
    sign_out::revoke_here(&tenant, &ended).await;
    Ok(())
}
