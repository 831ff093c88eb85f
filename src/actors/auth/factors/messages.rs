//! The protocol of second factors. All are sent by the handlers below `/auth/mfa`.

use std::sync::Arc;

use secrecy::SecretString;

use crate::actors::ask::Request;
use crate::actors::auth::{AuthError, TokenSet};
use crate::actors::tenant::TenantHandle;
use crate::domain::audit::AuditSource;
use crate::domain::factor::FactorKind;
use crate::domain::ids::{SessionId, UserId};

/// A sign-in whose password was right, and which waits for more.
#[derive(Debug, Clone)]
pub struct Challenged {
    /// Continues the sign-in.
    pub mfa_token: SecretString,
    /// What may continue it; nothing = the user must enrol a factor first.
    pub factors: Vec<FactorKind>,
}

/// What came of a right password.
#[derive(Debug, Clone)]
pub enum SignInOutcome {
    /// Signed in.
    Tokens(TokenSet),
    /// More is needed.
    Challenged(Challenged),
}

/// A signed-in user as the access token tells it.
#[derive(Debug, Clone)]
pub struct SignedInUser {
    /// Who.
    pub user: UserId,
    /// The session of the request.
    pub session: SessionId,
    /// How strongly they proved who they are.
    pub acr: String,
    /// When, in seconds since 1970.
    pub auth_time_s: i64,
}

/// Who enrols a factor.
#[derive(Debug, Clone)]
pub enum Enroller {
    /// A user who is signed in.
    SignedIn(SignedInUser),
    /// A user whose sign-in waits, because the tenant asks for a factor and there is none: the sign-in's token.
    Waiting(SecretString),
}

/// Command, idempotent: begins the enrolment of an authenticator app, in place of one that was not confirmed.
#[derive(Debug)]
pub struct BeginTotp {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: Enroller,
    /// Where the request came from.
    pub source: AuditSource,
}

/// What an authenticator app needs.
#[derive(Debug, Clone)]
pub struct TotpEnrolment {
    /// Everything in one URI.
    pub otpauth_uri: SecretString,
    /// The secret alone, to be typed.
    pub secret: SecretString,
    /// The URI as a QR code.
    pub qr_svg: SecretString,
}

impl Request for BeginTotp {
    const NAME: &'static str = "begin_totp";
    type Reply = TotpEnrolment;
    type Refusal = AuthError;
}

/// Command, not idempotent: confirms the enrolment by a code. After a lost reply the user asks for new recovery codes.
#[derive(Debug)]
pub struct ConfirmTotp {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: Enroller,
    /// Code as typed.
    pub code: SecretString,
    /// Where the request came from.
    pub source: AuditSource,
}

/// What a user gets for a confirmed factor.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// Recovery codes, shown this once; none if earlier ones still hold.
    pub recovery_codes: Vec<SecretString>,
    /// Tokens, if it was a waiting sign-in that enrolled.
    pub tokens: Option<TokenSet>,
}

impl Request for ConfirmTotp {
    const NAME: &'static str = "confirm_totp";
    type Reply = Enrolled;
    type Refusal = AuthError;
}

/// Command, idempotent in effect: removes the authenticator app of a user who has just shown two factors.
#[derive(Debug)]
pub struct RemoveTotp {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: SignedInUser,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for RemoveTotp {
    const NAME: &'static str = "remove_totp";
    type Reply = ();
    type Refusal = AuthError;
}

/// Command, not idempotent: puts new recovery codes in place of the old ones, for a user who has just shown two factors.
#[derive(Debug)]
pub struct RenewRecoveryCodes {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: SignedInUser,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for RenewRecoveryCodes {
    const NAME: &'static str = "renew_recovery_codes";
    type Reply = Vec<SecretString>;
    type Refusal = AuthError;
}

/// Command, not idempotent: finishes a waiting sign-in by a code. After a lost reply the user signs in again.
#[derive(Debug)]
pub struct VerifyCode {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Token of the waiting sign-in.
    pub mfa_token: SecretString,
    /// Code as typed: of the authenticator app, or a recovery code.
    pub code: SecretString,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for VerifyCode {
    const NAME: &'static str = "verify_code";
    type Reply = TokenSet;
    type Refusal = AuthError;
}

/// Command, not idempotent: strengthens a session by a code and rotates its refresh token. After a lost reply the client
/// refreshes with the token it has, within the grace.
#[derive(Debug)]
pub struct StepUp {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: SignedInUser,
    /// Code as typed: of the authenticator app, or a recovery code.
    pub code: SecretString,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for StepUp {
    const NAME: &'static str = "step_up";
    type Reply = TokenSet;
    type Refusal = AuthError;
}
