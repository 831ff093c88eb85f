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

/// Asks a caller for a stronger or fresher sign-in, where only the request tells whether it is needed.
///
/// # Errors
/// A 401 challenge.
pub fn demand(caller: &Principal, wanted: Requirement) -> Result<(), Problem> {
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
            demand(&caller, Requirement::SENSITIVE)?;
            Ok(Self(caller))
        }
        .boxed_local()
    }
}
