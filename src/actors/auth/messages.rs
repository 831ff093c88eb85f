//! The auth actor's protocol.

use std::sync::Arc;

use secrecy::SecretString;
use webauthn_rs::prelude::WebauthnError;

use super::factors::SignInOutcome;
use super::hasher::HasherError;
use crate::actors::ask::{AskError, Request};
use crate::actors::secrets::KeysError;
use crate::actors::sessions::SessionStoreError;
use crate::actors::tenant::TenantHandle;
use crate::db::DbError;
use crate::domain::assurance::Requirement;
use crate::domain::audit::AuditSource;
use crate::domain::identity::NewPassword;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::token::TokenError;

/// Why the auth actor refuses.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown user, wrong password, suspended user: the caller is not told which.
    #[error("e-mail or password are wrong")]
    InvalidCredentials,
    /// Not a refresh token of this tenant, or expired.
    #[error("the refresh token is not valid")]
    InvalidRefreshToken,
    /// The session has ended.
    #[error("the session has ended")]
    SessionRevoked,
    /// Not the token of a sign-in that waits for a second factor, or one that waits no more.
    #[error("the token of the sign-in is not valid")]
    InvalidMfaToken,
    /// Not the code, or one that was used before.
    #[error("the code is wrong")]
    InvalidMfaCode,
    /// Too many wrong codes.
    #[error("too many wrong codes")]
    TooManyCodes {
        /// Seconds until another may be tried.
        retry_after_s: u64,
    },
    /// The tenant asks for two factors, and the session has shown one.
    #[error("the tenant asks for a second factor")]
    MfaRequired,
    /// The tenant takes only those who come by its identity provider.
    #[error("the tenant asks for a sign-in by its identity provider")]
    SsoRequired,
    /// The call asks for a stronger or fresher sign-in.
    #[error("a stronger or fresher sign-in is needed")]
    StepUp(Requirement),
    /// The user has no such factor, or no enrolment waits.
    #[error("there is no such factor")]
    NoSuchFactor,
    /// The tenant enforces its provider, and nobody else would get in when that is away.
    #[error("the last owner who gets in without the provider keeps their second factor")]
    BreakGlass,
    /// Not the answer of a passkey that was asked for.
    #[error("the passkey's answer is not valid")]
    InvalidPasskey,
    /// The user has as many as anybody may have.
    #[error("too many passkeys")]
    TooManyPasskeys,
    /// The session of the refresh token ran out, as all do.
    #[error("the session has run out")]
    ExpiredSession,
    /// A ceremony could not begin.
    #[error("a passkey ceremony could not begin")]
    Webauthn(#[source] WebauthnError),
    /// The secrets actor did not do it.
    #[error("the secret could not be sealed or opened")]
    Secrets(#[from] AskError<KeysError>),
    /// A stored secret is none.
    #[error("a stored secret cannot be used")]
    CorruptSecret,
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
    /// The user has no such session that is alive.
    #[error("the user has no such session")]
    UnknownSession,
    /// Too many wrong passwords for this account lately.
    #[error("too many attempts for this account")]
    TooManyAttempts {
        /// Seconds until another attempt may be made.
        seconds: i64,
    },
    /// Too many sign-ins at once.
    #[error("too many passwords are being checked")]
    Busy(#[from] HasherError),
    /// The database did not do it.
    #[error("the database did not answer")]
    Db(#[from] DbError),
    /// The session store did not do it.
    #[error(transparent)]
    Sessions(#[from] SessionStoreError),
    /// The tenant's key cannot sign.
    #[error("the token could not be signed")]
    Signing(#[source] TokenError),
}

/// Tokens of a session.
#[derive(Debug, Clone)]
pub struct TokenSet {
    /// Access token (RFC 9068).
    pub access_token: SecretString,
    /// Its life, in seconds.
    pub expires_in: u64,
    /// Refresh token.
    pub refresh_token: SecretString,
    /// The session.
    pub session_id: SessionId,
}

/// Command, not idempotent: checks a password and begins a session. Sent by the login handler; after a lost reply the user signs
/// in again, and the session that nobody knows of runs out.
#[derive(Debug)]
pub struct SignIn {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Address as typed.
    pub email: String,
    /// Password as typed.
    pub password: SecretString,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for SignIn {
    const NAME: &'static str = "sign_in";
    type Reply = SignInOutcome;
    type Refusal = AuthError;
}

/// Command, idempotent within the grace: rotates a session's refresh token. Sent by the refresh handler; after a lost reply the
/// client asks again with the same token and gets the same answer.
#[derive(Debug)]
pub struct Refresh {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Token as sent.
    pub refresh_token: SecretString,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for Refresh {
    const NAME: &'static str = "refresh";
    type Reply = TokenSet;
    type Refusal = AuthError;
}

/// Which of a user's sessions to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedSessions {
    /// The one of the request.
    Own,
    /// Every one but that of the request.
    Others,
    /// Every one.
    All,
    /// This one, which must be the user's and alive.
    One(SessionId),
}

/// Command, idempotent but for [`EndedSessions::One`], which is refused when there is none: ends sessions of a user. Sent by the
/// handlers of logout and of sessions; replies with the sessions that ended.
#[derive(Debug)]
pub struct SignOut {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Whose.
    pub user: UserId,
    /// The session of the request.
    pub session: SessionId,
    /// What to end.
    pub ended: EndedSessions,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for SignOut {
    const NAME: &'static str = "sign_out";
    type Reply = Vec<SessionId>;
    type Refusal = AuthError;
}

/// Command, not idempotent: mails a link for a new password to whoever has this address, if anybody does. Told by a handler, which
/// waits for no reply, so that its answer says nothing about the address; lost, it is asked for again.
#[derive(Debug)]
pub struct ForgotPassword {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Address as typed.
    pub email: String,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for ForgotPassword {
    const NAME: &'static str = "forgot_password";
    type Reply = ();
    type Refusal = AuthError;
}

/// Query: the hash of a password that somebody chose. Sent by onboarding.
#[derive(Debug)]
pub struct HashPassword {
    /// The password.
    pub password: NewPassword,
}

impl Request for HashPassword {
    const NAME: &'static str = "hash_password";
    type Reply = String;
    type Refusal = AuthError;
}
