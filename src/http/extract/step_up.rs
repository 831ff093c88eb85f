//! Step-up authentication (RFC 9470) as part of a handler's signature.

use std::ops::Deref;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::principal::Principal;
use crate::clock;
use crate::domain::assurance::Requirement;
use crate::http::challenge;
use crate::http::problem::Problem;

/// Asks a caller for what the call needs of their sign-in, where that depends on the call's body.
///
/// # Errors
/// The 401 challenge of RFC 9470.
pub fn check_step_up(caller: &Principal, wanted: Requirement) -> Result<(), Problem> {
    let claims = &caller.token.claims;
    if wanted.is_met_by(&claims.acr, claims.auth_time, clock::now_s()) {
        Ok(())
    } else {
        Err(challenge::step_up(wanted))
    }
}

/// A caller of kind `P` who has shown two factors within the last five minutes ([`Requirement::SENSITIVE`]). Who may not make
/// the call at all is told so first; whoever may is asked for the second factor by a 401 challenge.
#[derive(Debug, Clone)]
pub struct SteppedUp<P>(pub P);

impl<P> Deref for SteppedUp<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

impl<P> FromRequest for SteppedUp<P>
where
    P: FromRequest<Error = Problem> + Deref<Target = Principal> + 'static,
{
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = P::from_request(request, payload);
        async move {
            let caller = caller.await?;
            check_step_up(&caller, Requirement::SENSITIVE)?;
            Ok(Self(caller))
        }
        .boxed_local()
    }
}
