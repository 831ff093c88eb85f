//! Exchanging the code that a browser brought back: for tokens, a stronger session, or a link.

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{SsoDesk, SsoError, begin, event, hash};
use crate::actors::auth::{
    FederatedProof, SignInOutcome, SignedInUser, TokenSet, after_provider, lock_signed_in, step_up_by_provider,
};
use crate::actors::tenant::TenantHandle;
use crate::db::sso_codes::{self, Code};
use crate::db::sso_flows::FlowPurpose;
use crate::db::{TenantTx, audit, sso_identities, user_admin};
use crate::domain::audit::{AuditActor, AuditSource};

/// Who redeems a code, and with what.
#[derive(Debug)]
pub struct Redeem<'a> {
    /// The code.
    pub code: &'a SecretString,
    /// PKCE verifier, if the client sent a challenge.
    pub verifier: Option<&'a SecretString>,
    /// What the browser's cookie says, if it sent one.
    pub browser: Option<&'a str>,
    /// The signed-in user who asks, if one does.
    pub by: Option<&'a SignedInUser>,
}

/// What a code was exchanged for.
#[derive(Debug)]
pub enum Redeemed {
    /// A session, or the question for a second factor.
    SignIn(SignInOutcome),
    /// Tokens of the same session, stronger.
    StepUp(TokenSet),
    /// The user is known under the person now.
    Linked,
}

/// Exchanges a code. It is tried once: whatever comes of it, it is gone.
///
/// # Errors
/// [`SsoError::InvalidCode`], [`SsoError::NotAdmitted`], [`SsoError::LinkTaken`], sign-in's refusals, or the database's.
pub async fn redeem(
    desk: &SsoDesk,
    tenant: &TenantHandle,
    redeem: Redeem<'_>,
    source: AuditSource,
) -> Result<Redeemed, SsoError> {
    let view = tenant.view_full();
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    let code = sso_codes::take(&mut tx, &hash(redeem.code.expose_secret())).await?;
    tx.commit().await?;
    let code = code.filter(|code| is_whose(code, &redeem)).ok_or(SsoError::InvalidCode)?;
    // Switched off meanwhile, it lets nobody in.
    begin::usable(desk, &view, code.connection).await?;
    let proof = FederatedProof { connection: code.connection, acr: code.acr, at: code.auth_time };
    let mut tx = TenantTx::begin(&desk.auth.db, view.tenant.id).await?;
    match code.purpose {
        FlowPurpose::SignIn => {
            let user = user_admin::lock(&mut tx, code.user).await?.filter(|user| !user.is_suspended);
            let user = user.ok_or(SsoError::NotAdmitted("the user was suspended or deleted"))?;
            // Whoever was unlinked meanwhile is not the user any more.
            if sso_identities::find(&mut tx, code.connection, &code.subject).await? != Some(user.id) {
                return Err(SsoError::NotAdmitted("the link was taken away"));
            }
            let outcome = after_provider(&desk.auth, &view, tx, &user, proof, source).await?;
            Ok(Redeemed::SignIn(outcome))
        }
        FlowPurpose::StepUp => {
            let by = own(&code, redeem.by)?;
            lock_signed_in(&desk.auth, &mut tx, by).await?;
            Ok(Redeemed::StepUp(step_up_by_provider(&desk.auth, &view, tx, by, proof, source).await?))
        }
        FlowPurpose::Link => {
            let by = own(&code, redeem.by)?;
            lock_signed_in(&desk.auth, &mut tx, by).await?;
            if !sso_identities::link(&mut tx, code.connection, &code.subject, by.user).await? {
                return Err(SsoError::LinkTaken);
            }
            let detail = json!({ "connection": code.connection, "by": "user" });
            let target = ("user", by.user.to_string());
            audit::insert(&mut tx, &event(AuditActor::User(by.user), "sso.link", target, source, detail)).await?;
            tx.commit().await?;
            Ok(Redeemed::Linked)
        }
    }
}

/// Whether it is the client that began, by its PKCE verifier or by the browser's cookie.
fn is_whose(code: &Code, redeem: &Redeem<'_>) -> bool {
    let is_equal = |a: &[u8], b: &[u8]| constant_time::verify_slices_are_equal(a, b).is_ok();
    match (&code.code_challenge, redeem.verifier, redeem.browser) {
        (Some(challenge), Some(verifier), _) => {
            let hash = digest::digest(&digest::SHA256, verifier.expose_secret().as_bytes());
            is_equal(URL_SAFE_NO_PAD.encode(hash).as_bytes(), challenge.as_bytes())
        }
        (None, None, Some(browser)) => is_equal(&hash(browser), &code.browser),
        (Some(_), None, _) | (None, Some(_), _) | (None, None, None) => false,
    }
}

/// The user who asks, if it is they who began, in the same session. Somebody who has another one's browser go to a provider gets nothing
/// of it, and neither does that other one.
fn own<'a>(code: &Code, by: Option<&'a SignedInUser>) -> Result<&'a SignedInUser, SsoError> {
    by.filter(|by| by.user == code.user && Some(by.session) == code.session).ok_or(SsoError::InvalidCode)
}
