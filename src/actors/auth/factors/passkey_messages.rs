//! The protocol of passkeys. All are sent by the handlers below `/auth/mfa/webauthn` and `/auth/webauthn`.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;
use webauthn_rs::prelude::{PublicKeyCredential, RegisterPublicKeyCredential};

use super::messages::{Enrolled, Enroller, SignedInUser};
use crate::actors::ask::Request;
use crate::actors::auth::{AuthError, TokenSet};
use crate::actors::tenant::TenantHandle;
use crate::domain::audit::AuditSource;
use crate::domain::ids::FactorId;

/// A ceremony that begins: what the browser is given.
#[derive(Debug, Clone)]
pub struct CeremonyOptions {
    /// Names the ceremony when its answer comes.
    pub ceremony: Uuid,
    /// Options for `navigator.credentials`, in the JSON form of WebAuthn Level 3.
    pub options: Value,
}

/// Command, idempotent in effect: begins to enrol a passkey.
#[derive(Debug)]
pub struct BeginPasskey {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: Enroller,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for BeginPasskey {
    const NAME: &'static str = "begin_passkey";
    type Reply = CeremonyOptions;
    type Refusal = AuthError;
}

/// Command, not idempotent: enrols the passkey that the authenticator made. After a lost reply the list shows it.
#[derive(Debug)]
pub struct FinishPasskey {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: Enroller,
    /// The ceremony.
    pub ceremony: Uuid,
    /// What the user calls it.
    pub name: String,
    /// The authenticator's answer.
    pub credential: Box<RegisterPublicKeyCredential>,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for FinishPasskey {
    const NAME: &'static str = "finish_passkey";
    type Reply = Enrolled;
    type Refusal = AuthError;
}

/// Command, idempotent in effect: removes a passkey of a user who has just shown two factors.
#[derive(Debug)]
pub struct RemovePasskey {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// Who.
    pub by: SignedInUser,
    /// Which.
    pub passkey: FactorId,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for RemovePasskey {
    const NAME: &'static str = "remove_passkey";
    type Reply = ();
    type Refusal = AuthError;
}

/// What a passkey is shown for.
#[derive(Debug, Clone)]
pub enum AssertionUse {
    /// To finish the sign-in by password with this token.
    SignIn(SecretString),
    /// To strengthen a session.
    StepUp(SignedInUser),
    /// To sign in with nothing else: it verifies its user itself.
    Passwordless,
}

/// Command, idempotent in effect: begins to ask for a passkey.
#[derive(Debug)]
pub struct BeginAssertion {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// What for.
    pub purpose: AssertionUse,
}

impl Request for BeginAssertion {
    const NAME: &'static str = "begin_assertion";
    type Reply = CeremonyOptions;
    type Refusal = AuthError;
}

/// Command, not idempotent: checks the authenticator's answer. After a lost reply the client begins anew.
#[derive(Debug)]
pub struct FinishAssertion {
    /// The tenant of the request's host.
    pub tenant: Arc<TenantHandle>,
    /// What for.
    pub purpose: AssertionUse,
    /// The ceremony.
    pub ceremony: Uuid,
    /// The authenticator's answer.
    pub credential: Box<PublicKeyCredential>,
    /// Where the request came from.
    pub source: AuditSource,
}

impl Request for FinishAssertion {
    const NAME: &'static str = "finish_assertion";
    type Reply = TokenSet;
    type Refusal = AuthError;
}
