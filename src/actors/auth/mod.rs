//! The auth actor: sign-in, refresh, sign-out.
//!
//! Its mailbox bounds how many of these are under way. Password hashing is bounded again, and tighter, by the
//! [`Hasher`]: a storm of sign-ins must be felt by nobody else.

mod argon;
mod begin;
pub(in crate::actors) mod break_glass;
mod factors;
mod federated;
pub mod forget;
mod hasher;
mod messages;
mod password_hash;
mod sign_in;
mod sign_out;
mod throttle;
mod tokens;

use std::sync::Arc;

pub use factors::{
    AssertionUse, BeginAssertion, BeginPasskey, BeginTotp, CeremonyOptions, Challenged, ConfirmTotp, Enrolled,
    Enroller, FinishAssertion, FinishPasskey, RemovePasskey, RemoveTotp, RenewRecoveryCodes, SignInOutcome,
    SignedInUser, StepUp, TotpEnrolment, VerifyCode,
};
pub(in crate::actors) use factors::{demand, lock_signed_in};
pub(in crate::actors) use federated::{FederatedProof, after_provider, step_up as step_up_by_provider};
pub use hasher::{Hasher, HasherError};
pub use messages::{AuthError, EndedSessions, ForgotPassword, HashPassword, Refresh, SignIn, SignOut, TokenSet};
pub(in crate::actors) use sign_out::revoke_here;
pub(in crate::actors) use throttle::Attempt;

use super::accounts;
use super::ask::{ActorRef, ChildActor, Ctx, Handle, Request, Responder};
use super::secrets::SecretsActor;
use super::sessions::SessionStore;
use crate::config::Settings;
use crate::db::Db;

/// What sign-in works with.
#[derive(Debug, Clone)]
pub struct AuthContext {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub db: Db,
    /// Where sessions live.
    pub sessions: Arc<dyn SessionStore>,
    /// Hashes passwords.
    pub hasher: Hasher,
    /// Seals and opens users' secrets.
    pub secrets: ActorRef<SecretsActor>,
}

/// Signs users in and out.
#[derive(Debug)]
pub struct AuthActor {
    context: AuthContext,
}

impl AuthActor {
    /// An actor without state of its own: everything is in the database.
    #[must_use]
    pub fn new(context: AuthContext) -> Self {
        Self { context }
    }

    /// Works on a message beside the mailbox.
    fn run<M, W>(
        &self,
        message: M,
        responder: Responder<M>,
        ctx: &mut Ctx<'_, Self>,
        work: impl FnOnce(AuthContext, M) -> W,
    ) where
        M: Request<Refusal = AuthError>,
        W: Future<Output = Result<M::Reply, AuthError>> + 'static,
    {
        ctx.spawn(work(self.context.clone(), message), |_actor, result, _ctx| responder.answer(result));
    }
}

impl ChildActor for AuthActor {
    const KIND: &'static str = "auth";
}

impl Handle<SignIn> for AuthActor {
    fn handle(&mut self, message: SignIn, responder: Responder<SignIn>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move { sign_in::sign_in(&context, message).await });
    }
}

impl Handle<Refresh> for AuthActor {
    fn handle(&mut self, message: Refresh, responder: Responder<Refresh>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move { tokens::refresh(&context, message).await });
    }
}

impl Handle<SignOut> for AuthActor {
    fn handle(&mut self, message: SignOut, responder: Responder<SignOut>, ctx: &mut Ctx<'_, Self>) {
        self.run(
            message,
            responder,
            ctx,
            |context, message| async move { sign_out::sign_out(&context, message).await },
        );
    }
}

impl Handle<ForgotPassword> for AuthActor {
    fn handle(&mut self, message: ForgotPassword, responder: Responder<ForgotPassword>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move {
            let ForgotPassword { tenant, email, source } = message;
            let done = accounts::forgot_password(&context, &tenant, &email, source).await;
            if let Err(error) = &done {
                // Whoever asked has been answered already.
                tracing::error!(error = error as &dyn std::error::Error, "a link for a new password was not written");
            }
            Ok(done?)
        });
    }
}

impl Handle<HashPassword> for AuthActor {
    fn handle(&mut self, message: HashPassword, responder: Responder<HashPassword>, ctx: &mut Ctx<'_, Self>) {
        self.run(message, responder, ctx, |context, message| async move {
            Ok(context.hasher.hash(message.password.secret().clone()).await?)
        });
    }
}
