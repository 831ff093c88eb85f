//! Sign-ins that wait: between the right password and the second factor.

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::messages::{Challenged, SignInOutcome};
use super::trail::{self, Happened};
use crate::actors::auth::begin::{self, Proof};
use crate::actors::auth::throttle::Attempt;
use crate::actors::auth::{AuthContext, AuthError, federated};
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::db::users::User;
use crate::db::{TenantTx, factors, mfa_challenges, user_admin};
use crate::domain::assurance::Acr;
use crate::domain::audit::{AuditActor, AuditSource};
use crate::domain::factor::{CHALLENGE_TTL_S, Factors, MAX_CHALLENGE_ATTEMPTS};
use crate::domain::ids::{ConnectionId, SessionId, UserId};
use crate::domain::row_token::{self, RowTokenPurpose};

/// What follows a right password: tokens, or a challenge for whoever has a factor or must have one. Hashing took its time: `user` is as
/// they were before it, and must have the same password still.
pub(in crate::actors::auth) async fn after_password(
    context: &AuthContext,
    view: &TenantView,
    user: User,
    source: AuditSource,
    attempt: &Attempt,
) -> Result<SignInOutcome, AuthError> {
    let mut tx = TenantTx::begin(&context.db, view.tenant.id).await?;
    // Locked first: who changes a password or switches a user off waits, and ends the session that begins here, or was before.
    let now = user_admin::lock(&mut tx, user.id).await?;
    let user = now
        .filter(|now| !now.is_suspended && now.password_hash == user.password_hash)
        .ok_or(AuthError::InvalidCredentials)?;
    attempt.forgive(&mut tx).await?;
    let has = factors::get(&mut tx, user.id).await?;
    federated::check_way(view, user.role, false, has.any())?;
    if !has.any() && !view.tenant.config.mfa_required {
        let grant = begin::session(context, view, &mut tx, &user, Proof::PASSWORD, source).await?;
        tx.commit().await?;
        return Ok(SignInOutcome::Tokens(crate::actors::auth::tokens::issue(context, view, grant)?));
    }
    wait_for_factor(view, tx, &user, has, None, &source).await
}

/// Has a sign-in wait for a second factor, or for its enrolment. `connection`: where the first one was shown, if not here.
pub(in crate::actors::auth) async fn wait_for_factor(
    view: &TenantView,
    mut tx: TenantTx,
    user: &User,
    has: Factors,
    connection: Option<ConnectionId>,
    source: &AuditSource,
) -> Result<SignInOutcome, AuthError> {
    let id: Uuid = clock::new_id();
    let expires_at = clock::now() + TimeDelta::seconds(CHALLENGE_TTL_S);
    mfa_challenges::insert(&mut tx, id, user.id, connection, expires_at, source).await?;
    let happened = Happened {
        user: user.id,
        action: "mfa.challenge",
        failure: None,
        source,
        detail: json!({ "factors": has.kinds(), "enrolment_required": !has.any(), "connection": connection }),
    };
    trail::record(&mut tx, AuditActor::Anonymous, happened).await?;
    tx.commit().await?;
    let mfa_token = row_token::encode(RowTokenPurpose::MfaChallenge, id, view.tenant.id, &view.keys.rows).into();
    Ok(SignInOutcome::Challenged(Challenged { mfa_token, factors: has.kinds() }))
}

/// The row that the token of a waiting sign-in stands for.
pub(super) fn row_of(view: &TenantView, mfa_token: &SecretString) -> Result<Uuid, AuthError> {
    row_token::decode(mfa_token.expose_secret(), RowTokenPurpose::MfaChallenge, view.tenant.id, &view.keys.rows)
        .map_err(|_forged: row_token::RowTokenError| AuthError::InvalidMfaToken)
}

/// The user behind a waiting sign-in, locked, as stored now. Whoever was switched off meanwhile does not get in. The user is locked
/// before their challenges, codes and factors, everywhere.
pub(super) async fn user_of(tx: &mut TenantTx, user: UserId) -> Result<User, AuthError> {
    user_admin::lock(tx, user).await?.filter(|user| !user.is_suspended).ok_or(AuthError::InvalidMfaToken)
}

/// The user behind a waiting sign-in, locked, after one of its attempts was taken.
pub(super) async fn claim_attempt(tx: &mut TenantTx, challenge: Uuid) -> Result<User, AuthError> {
    let user = mfa_challenges::find_open(tx, challenge, MAX_CHALLENGE_ATTEMPTS).await?;
    let user = user_of(tx, user.ok_or(AuthError::InvalidMfaToken)?).await?;
    let claimed = mfa_challenges::claim_attempt(tx, challenge, MAX_CHALLENGE_ATTEMPTS).await?;
    claimed.map(|_| user).ok_or(AuthError::InvalidMfaToken)
}

/// Ends a waiting sign-in as met. Of any number of callers one gets through, and learns where its first factor was shown, if that was
/// at an identity provider.
pub(super) async fn meet(tx: &mut TenantTx, challenge: Option<Uuid>) -> Result<Option<ConnectionId>, AuthError> {
    match challenge {
        Some(challenge) => {
            let met = mfa_challenges::use_up(tx, challenge).await?.ok_or(AuthError::InvalidMfaToken)?;
            Ok(met.connection)
        }
        None => Ok(None),
    }
}

/// Turns the refresh of a session away that has shown one factor, where the tenant asks for two. It is asked before anything is
/// rotated: the session stays, and its token is good again when the tenant asks no more.
pub(in crate::actors::auth) async fn require_factor(
    context: &AuthContext,
    view: &TenantView,
    tx: &mut TenantTx,
    session: SessionId,
) -> Result<(), AuthError> {
    if !view.tenant.config.mfa_required {
        return Ok(());
    }
    let session = context.sessions.find(tx, session).await?;
    let is_weak = session.is_some_and(|session| {
        session.revoked_at.is_none() && Acr::parse(&session.acr).is_none_or(|acr| acr < Acr::Aal2)
    });
    if is_weak { Err(AuthError::MfaRequired) } else { Ok(()) }
}
