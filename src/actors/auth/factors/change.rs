//! What every change of a user's factors brings with it.

use secrecy::SecretString;

use super::messages::{Enroller, SignedInUser};
use super::{challenge, trail};
use crate::actors::auth::{AuthContext, AuthError};
use crate::actors::tenant::TenantView;
use crate::clients::kms::{self, MasterKeyError};
use crate::clock;
use crate::db::users::User;
use crate::db::{TenantTx, account_links, factors, mfa_challenges, recovery_codes, totp_factors, user_admin};
use crate::domain::assurance::Requirement;
use crate::domain::factor::{Factors, MAX_CHALLENGE_ATTEMPTS, N_RECOVERY_CODES};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::recovery_code;

/// Who enrols, with what they have.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) user: User,
    pub(super) has: Factors,
    pub(super) session: Option<SessionId>,
    /// The waiting sign-in.
    pub(super) challenge: Option<uuid::Uuid>,
}

/// Lets somebody enrol who may: signed in as strongly and freshly as the user's factors ask, or waiting at sign-in without any
/// factor. The user is locked before their factors are looked at, so that what is found stays so until the commit. `counts` takes one
/// of the waiting sign-in's attempts.
pub(super) async fn admit(
    context: &AuthContext,
    tx: &mut TenantTx,
    view: &TenantView,
    by: &Enroller,
    counts: bool,
) -> Result<Admitted, AuthError> {
    match by {
        Enroller::SignedIn(by) => {
            let user = lock_signed_in(context, tx, by).await?;
            let has = factors::get(tx, user.id).await?;
            demand(by, has.enrolment_requirement())?;
            Ok(Admitted { user, has, session: Some(by.session), challenge: None })
        }
        Enroller::Waiting(mfa_token) => {
            let id = challenge::row_of(view, mfa_token)?;
            let user = if counts {
                challenge::claim_attempt(tx, id).await?
            } else {
                let user = mfa_challenges::find_open(tx, id, MAX_CHALLENGE_ATTEMPTS).await?;
                challenge::user_of(tx, user.ok_or(AuthError::InvalidMfaToken)?).await?
            };
            let has = factors::get(tx, user.id).await?;
            // A password alone adds no factor to those that there are.
            if has.any() {
                return Err(AuthError::InvalidMfaToken);
            }
            Ok(Admitted { user, has, session: None, challenge: Some(id) })
        }
    }
}

/// Locks a user who is signed in: they and their session may have been ended since the token was looked at.
pub(in crate::actors) async fn lock_signed_in(
    context: &AuthContext,
    tx: &mut TenantTx,
    by: &SignedInUser,
) -> Result<User, AuthError> {
    let user = user_admin::lock(tx, by.user).await?.filter(|user| !user.is_suspended);
    let user = user.ok_or(AuthError::SessionRevoked)?;
    let session = context.sessions.find(tx, by.session).await?;
    if session.is_none_or(|session| session.revoked_at.is_some()) {
        return Err(AuthError::SessionRevoked);
    }
    Ok(user)
}

/// Asks for a stronger or fresher sign-in if it is needed.
pub(in crate::actors) fn demand(by: &SignedInUser, wanted: Requirement) -> Result<(), AuthError> {
    if wanted.is_met_by(&by.acr, by.auth_time_s, clock::now_s()) { Ok(()) } else { Err(AuthError::StepUp(wanted)) }
}

/// A new set of recovery codes in place of the old one.
pub(super) async fn renew_codes(tx: &mut TenantTx, user: UserId) -> Result<Vec<SecretString>, AuthError> {
    let mut codes = Vec::with_capacity(N_RECOVERY_CODES);
    for _ in 0..N_RECOVERY_CODES {
        let random = kms::random().map_err(|_random: MasterKeyError| AuthError::Random)?;
        codes.push(recovery_code::encode(random));
    }
    let hashes: Vec<_> = codes.iter().filter_map(recovery_code::hash_of).collect();
    recovery_codes::replace(tx, user, &hashes).await?;
    Ok(codes)
}

/// After a factor was added or removed: what was proved before is worth nothing. Sign-ins that wait end, enrolments that wait
/// end, links that were mailed end, all other sessions end, and the user hears of it. Returns the ended sessions, for this node's view.
pub(super) async fn settle(
    context: &AuthContext,
    tx: &mut TenantTx,
    user: &User,
    keep: Option<SessionId>,
    change: &str,
    factor: &str,
) -> Result<Vec<SessionId>, AuthError> {
    mfa_challenges::delete_all(tx, user.id).await?;
    account_links::spend_of_every_purpose(tx, user.id).await?;
    totp_factors::delete_pending(tx, user.id).await?;
    trail::tell(tx, user, change, factor).await?;
    Ok(context.sessions.revoke_all(tx, user.id, keep, "factor_changed").await?)
}
