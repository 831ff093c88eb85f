//! Credentials: from a header to a believed identity.
//!
//! A verified token is remembered by each worker (SHA-256 of the token → what it says), because a signature costs more than the
//! rest of a proxied request. Every use asks again whether it is still alive, so a revocation bites at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use aws_lc_rs::digest;
use quick_cache::unsync::Cache;

use super::challenge;
use super::context::RequestContext;
use super::gateway_identity::PreparedHeaders;
use super::problem::{Problem, kinds};
use super::state::AppState;
use super::tenancy;
use crate::actors::tenant::{TenantHandle, TenantView, Wanted};
use crate::clock;
use crate::domain::token::{self, AccessClaims, Expected, TokenError};

/// A token that was verified for its tenant.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: AccessClaims,
    /// Headers for services, made once for each token and view.
    pub prepared: RefCell<Option<PreparedHeaders>>,
    /// The key that signed it may be withdrawn; then the view's keys change.
    kid_seen_in: RefCell<Arc<TenantView>>,
}

type TokenHash = [u8; 32];

thread_local! {
    static CACHE: RefCell<Option<Cache<TokenHash, Rc<Verified>>>> = const { RefCell::new(None) };
}

/// The bearer token of a request (RFC 6750 §2.1).
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The identity of a request, `None` if it brings no credential.
///
/// # Errors
/// `malformed-request` for two credentials, `invalid-token`, or `tenant-mismatch` for a good token of another tenant.
pub async fn authenticate(
    request: &HttpRequest,
    state: &AppState,
    context: &RequestContext,
    tenant: &TenantHandle,
    view: &Arc<TenantView>,
) -> Result<Option<Rc<Verified>>, Problem> {
    let headers = request.headers();
    if headers.get_all(AUTHORIZATION).nth(1).is_some() {
        return Err(Problem::new(&kinds::MALFORMED_REQUEST, "send one Authorization header"));
    }
    if !headers.contains_key(AUTHORIZATION) {
        return Ok(None);
    }
    let token = bearer(headers).ok_or_else(|| {
        challenge::unauthorized(&kinds::INVALID_TOKEN, "send Authorization: Bearer and an access token")
    })?;
    match verify(state, view, token) {
        Ok(verified) => {
            context.user.set(Some(verified.claims.sub));
            Ok(Some(verified))
        }
        Err(error) => Err(refusal(state, tenant, token, error).await),
    }
}

fn verify(state: &AppState, view: &Arc<TenantView>, token: &str) -> Result<Rc<Verified>, TokenError> {
    let now_s = clock::now_s();
    let mut hash = TokenHash::default();
    for (slot, byte) in hash.iter_mut().zip(digest::digest(&digest::SHA256, token.as_bytes()).as_ref()) {
        *slot = *byte;
    }
    let known = CACHE.with_borrow(|cache| cache.as_ref().and_then(|cache| cache.get(&hash).cloned()));
    if let Some(verified) = known.filter(|verified| is_current(verified, view)) {
        if verified.claims.tid != view.tenant.id {
            return Err(TokenError::WrongAudience);
        }
        view.check_alive(&verified.claims, now_s)?;
        return Ok(verified);
    }
    let expected =
        Expected { issuer: &view.issuer, audience: &state.settings.auth.audience, tenant: view.tenant.id, now_s };
    let claims = token::verify_access(&view.keys.verifying, token, &expected)?;
    view.check_alive(&claims, now_s)?;
    let verified =
        Rc::new(Verified { claims, prepared: RefCell::new(None), kid_seen_in: RefCell::new(Arc::clone(view)) });
    CACHE.with_borrow_mut(|cache| {
        let capacity = state.settings.auth.token_cache_entries;
        cache.get_or_insert_with(|| Cache::new(capacity)).insert(hash, Rc::clone(&verified));
    });
    Ok(verified)
}

/// Whether the keys are still those that the token was verified with; a new view may have dropped one.
fn is_current(verified: &Verified, view: &Arc<TenantView>) -> bool {
    let mut seen_in = verified.kid_seen_in.borrow_mut();
    if Arc::ptr_eq(&seen_in, view) {
        return true;
    }
    let is_same = seen_in.tenant.id == view.tenant.id && seen_in.jwks == view.jwks;
    if is_same {
        *seen_in = Arc::clone(view);
    }
    is_same
}

/// A good token of another tenant is answered 403; everything else 401.
async fn refusal(state: &AppState, tenant: &TenantHandle, token: &str, error: TokenError) -> Problem {
    let elsewhere = token::peek_tenant(token).filter(|id| *id != tenant.id());
    if let Some(id) = elsewhere
        && let Ok(other) = tenancy::resolve(state, Wanted::Id(id)).await
    {
        let view = other.view_full();
        let expected = Expected {
            issuer: &view.issuer,
            audience: &state.settings.auth.audience,
            tenant: id,
            now_s: clock::now_s(),
        };
        if token::verify_access(&view.keys.verifying, token, &expected).is_ok() {
            return Problem::new(&kinds::TENANT_MISMATCH, "the token is for another tenant");
        }
    }
    error.into()
}
