//! Showing a passkey: as second factor, to step up, or in place of a password.

use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, Passkey, PasskeyAuthentication, PublicKeyCredential, Webauthn,
};

use super::challenge::{claim_attempt, meet, row_of, user_of};
use super::passkey_messages::{AssertionUse, BeginAssertion, CeremonyOptions, FinishAssertion};
use super::relying_party::{self, method, refused, restored, stored};
use super::trail::{self, Happened};
use super::verify::elevate;
use crate::actors::auth::begin::{self, Proof};
use crate::actors::auth::tokens::issue;
use crate::actors::auth::{AuthContext, AuthError, TokenSet};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::passkey_ceremonies::{self, NewCeremony};
use crate::db::{TenantTx, mfa_challenges, passkeys, user_admin, users};
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::factor::{FactorKind, MAX_CHALLENGE_ATTEMPTS};
use crate::domain::ids::UserId;

/// What a ceremony is bound to besides its purpose.
#[derive(Debug, Clone, Copy)]
struct Bound {
    purpose: &'static str,
    action: &'static str,
    user: Option<UserId>,
    challenge: Option<Uuid>,
}

async fn bound(tx: &mut TenantTx, view: &TenantView, purpose: &AssertionUse, counts: bool) -> Result<Bound, AuthError> {
    Ok(match purpose {
        AssertionUse::SignIn(mfa_token) => {
            let id = row_of(view, mfa_token)?;
            let user = if counts {
                claim_attempt(tx, id).await?.id
            } else {
                let user = mfa_challenges::find_open(tx, id, MAX_CHALLENGE_ATTEMPTS).await?;
                user.ok_or(AuthError::InvalidMfaToken)?
            };
            Bound { purpose: "sign_in", action: "mfa.verify", user: Some(user), challenge: Some(id) }
        }
        AssertionUse::StepUp(by) => {
            Bound { purpose: "step_up", action: "session.step_up", user: Some(by.user), challenge: None }
        }
        AssertionUse::Passwordless => {
            Bound { purpose: "passwordless", action: "session.create", user: None, challenge: None }
        }
    })
}

/// Asks for a passkey.
pub(super) async fn begin(context: &AuthContext, message: BeginAssertion) -> Result<CeremonyOptions, AuthError> {
    let BeginAssertion { tenant, purpose } = message;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let Bound { purpose, user, challenge, .. } = bound(&mut tx, &view, &purpose, false).await?;
    let party = relying_party::of(&view)?;
    let (mut options, state) = match user {
        Some(user) => {
            let known = relying_party::passkeys(passkeys::list(&mut tx, user).await?)?;
            if known.is_empty() {
                return Err(AuthError::NoSuchFactor);
            }
            let (options, state) = party.start_passkey_authentication(&known).map_err(AuthError::Webauthn)?;
            (stored(&options)?, stored(&state)?)
        }
        None => {
            let (options, state) = party.start_discoverable_authentication().map_err(AuthError::Webauthn)?;
            (stored(&options)?, stored(&state)?)
        }
    };
    // How the browser asks (a dialogue or the autofill list) is the page's business.
    if let Value::Object(options) = &mut options {
        options.remove("mediation");
    }
    let ceremony: Uuid = clock::new_id();
    let expires_at = relying_party::expiry();
    let new = NewCeremony { id: ceremony, user, purpose, challenge, state: &state, expires_at };
    passkey_ceremonies::insert(&mut tx, &new).await?;
    tx.commit().await?;
    Ok(CeremonyOptions { ceremony, options })
}

/// Checks what the authenticator answered, and gives what it was shown for.
pub(super) async fn finish(context: &AuthContext, message: FinishAssertion) -> Result<TokenSet, AuthError> {
    let FinishAssertion { tenant, purpose, ceremony, credential, source } = message;
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    let bound = bound(&mut tx, &view, &purpose, true).await?;
    let state = passkey_ceremonies::take(&mut tx, ceremony, bound.purpose, bound.user, bound.challenge).await?;
    let shown = match state {
        Some(state) => check(&mut tx, &relying_party::of(&view)?, &bound, state, &credential).await,
        None => Err(AuthError::InvalidPasskey),
    };
    let (user, shown) = match shown {
        Ok(shown) => shown,
        Err(error) => {
            // The ceremony is over and the attempt counted, whatever came of it.
            record(&mut tx, &bound, bound.user, Some("invalid-passkey"), &source).await?;
            tx.commit().await?;
            return Err(error);
        }
    };
    record(&mut tx, &bound, Some(user), None, &source).await?;
    let grant = match (&purpose, bound.challenge) {
        (AssertionUse::StepUp(by), _) => {
            elevate(context, &view, &mut tx, by.session, method(&shown), clock::now()).await?
        }
        (AssertionUse::SignIn(_) | AssertionUse::Passwordless, challenge) => {
            let user = user_of(&mut tx, user).await?;
            let connection = meet(&mut tx, challenge).await?;
            let proof = Proof::passkey(challenge.is_some(), shown.backup_eligible()).after(connection);
            begin::session(context, &view, &mut tx, &user, proof, source).await?
        }
    };
    tx.commit().await?;
    issue(context, &view, grant)
}

/// Whose passkey it is, and what it said. The counter and flags that it sent are stored.
async fn check(
    tx: &mut TenantTx,
    party: &Webauthn,
    bound: &Bound,
    state: Value,
    credential: &PublicKeyCredential,
) -> Result<(UserId, AuthenticationResult), AuthError> {
    let row = passkeys::find_by_credential(tx, credential.get_credential_id()).await?;
    let row = row.ok_or(AuthError::InvalidPasskey)?;
    // Locked before their passkey is written to, as by whoever removes it.
    user_admin::lock(tx, row.user_id.into()).await?;
    let row = passkeys::find_by_credential(tx, credential.get_credential_id()).await?;
    let row = row.ok_or(AuthError::InvalidPasskey)?;
    let mut passkey: Passkey = restored(row.credential)?;
    let owner = UserId::from(row.user_id);
    let shown = match bound.user {
        Some(user) if user == owner => {
            let state: PasskeyAuthentication = restored(state)?;
            party.finish_passkey_authentication(credential, &state).map_err(refused)?
        }
        Some(_) => return Err(AuthError::InvalidPasskey),
        None => {
            let (claimed, _) = party.identify_discoverable_authentication(credential).map_err(refused)?;
            if claimed != owner.uuid() {
                return Err(AuthError::InvalidPasskey);
            }
            let state: DiscoverableAuthentication = restored(state)?;
            party.finish_discoverable_authentication_v2(credential, state, &passkey).map_err(refused)?
        }
    };
    if !shown.user_verified() {
        return Err(AuthError::InvalidPasskey);
    }
    // Whoever was switched off meanwhile does not get in, and that is a failure like the others.
    if bound.purpose != "step_up" && users::find(tx, owner).await?.is_none_or(|user| user.is_suspended) {
        return Err(AuthError::InvalidPasskey);
    }
    passkey.update_credential(&shown);
    passkeys::update_used(tx, row.id, &stored(&passkey)?).await?;
    Ok((owner, shown))
}

async fn record(
    tx: &mut TenantTx,
    bound: &Bound,
    user: Option<UserId>,
    failure: Option<&'static str>,
    source: &AuditSource,
) -> Result<(), AuthError> {
    let (action, detail) = (bound.action, json!({ "factor": FactorKind::Webauthn }));
    match (user, failure) {
        (None, Some(failure)) => trail::record_stranger(tx, action, failure, source, detail).await,
        (Some(user), _) if bound.user.is_some() => {
            let is_known = failure.is_none() || bound.purpose == "step_up";
            let actor = if is_known { AuditActor::User(user) } else { AuditActor::Anonymous };
            trail::record(tx, actor, Happened { user, action, failure, source, detail }).await
        }
        // The session's own row tells of a sign-in without a name that succeeded.
        (Some(_) | None, _) => Ok(()),
    }
}
