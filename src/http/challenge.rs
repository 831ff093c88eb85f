//! `WWW-Authenticate` challenges (RFC 6750 §3, RFC 9470).

use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::problem::{Kind, Problem, kinds};
use crate::domain::assurance::{Acr, Requirement};
use crate::domain::scope::Scope;

/// A 401 with the challenge that fits its kind.
#[must_use]
pub fn unauthorized(kind: &'static Kind, detail: &'static str) -> Problem {
    let challenge = if kind == &kinds::INVALID_TOKEN { "Bearer error=\"invalid_token\"" } else { "Bearer" };
    Problem::new(kind, detail).header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// A 403 for an API key that lacks a scope, or, without one, for a call that no key may make (RFC 6750 §3.1).
#[must_use]
pub fn insufficient_scope(wanted: Option<&Scope>) -> Problem {
    let (detail, challenge) = match wanted {
        Some(scope) => (
            format!("the API key needs the scope {scope}"),
            format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""),
        ),
        None => ("only a signed-in user may do this".to_owned(), "Bearer error=\"insufficient_scope\"".to_owned()),
    };
    let problem = Problem::new(&kinds::INSUFFICIENT_SCOPE, detail);
    match HeaderValue::from_str(&challenge) {
        Ok(value) => problem.header(WWW_AUTHENTICATE, value),
        // A scope is always header text.
        Err(_malformed) => problem,
    }
}

/// A 401 that asks for a stronger or fresher sign-in (RFC 9470 §3).
#[must_use]
pub fn step_up(wanted: Requirement) -> Problem {
    let Requirement { min_acr, max_age_s } = wanted;
    let mut challenge = "Bearer error=\"insufficient_user_authentication\"".to_owned();
    if let Some(acr) = min_acr {
        challenge.push_str(&format!(", acr_values=\"{acr}\""));
    }
    if let Some(max_age_s) = max_age_s {
        challenge.push_str(&format!(", max_age=\"{max_age_s}\""));
    }
    let detail = match min_acr {
        Some(Acr::Aal2) => {
            "show a second factor: POST /auth/mfa/verify with purpose \"step_up\" (POST /auth/mfa/totp enrols one)"
        }
        Some(Acr::Aal1) | None => "sign in again: the last time is too long ago",
    };
    let problem = Problem::new(&kinds::STEP_UP_REQUIRED, detail);
    match HeaderValue::from_str(&challenge) {
        Ok(value) => problem.header(WWW_AUTHENTICATE, value),
        // Words and numbers are always header text.
        Err(_malformed) => problem,
    }
}
