//! Credentials: from a header to a believed identity, which is a user with an access token or a program with an API key.
//!
//! A verified credential is remembered by each worker (SHA-256 of its text → what it says), because a signature costs more than
//! the rest of a proxied request. Every use asks again whether it is still alive, so a revocation bites at once. API keys are
//! part of the tenant's view: neither kind asks the database.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use quick_cache::unsync::Cache;

use super::challenge;
use super::context::RequestContext;
use super::gateway_identity::PreparedHeaders;
use super::problem::{Problem, kinds};
use super::state::AppState;
use super::tenancy;
use crate::actors::tenant::{TenantHandle, TenantView, Wanted};
use crate::clock;
use crate::domain::api_key::{self, ApiKey, ApiKeyHash};
use crate::domain::token::{self, AccessClaims, Expected, TokenError};

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A key's use is noted at most once in so many seconds by each worker.
const NOTE_EVERY_S: i64 = 15;

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

/// An API key that its tenant has.
#[derive(Debug)]
pub struct VerifiedKey {
    /// The key.
    pub key: Arc<ApiKey>,
    /// Headers for services, made once for each key and view.
    pub prepared: RefCell<Option<PreparedHeaders>>,
    noted_s: Cell<i64>,
}

/// Who calls.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A user, by an access token.
    User(Rc<Verified>),
    /// A program, by an API key.
    Key(Rc<VerifiedKey>),
}

impl Identity {
    /// Headers that were made for this credential.
    #[must_use]
    pub fn prepared(&self) -> &RefCell<Option<PreparedHeaders>> {
        match self {
            Self::User(token) => &token.prepared,
            Self::Key(key) => &key.prepared,
        }
    }
}

thread_local! {
    static CACHE: RefCell<Option<Cache<ApiKeyHash, Identity>>> = const { RefCell::new(None) };
}

/// The bearer token of a request (RFC 6750 §2.1).
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a request brings a credential, good or not.
#[must_use]
pub fn is_present(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || headers.contains_key(&X_API_KEY)
}

/// The one credential of a request, `None` if it brings none.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let one = |name: &HeaderName, text: &'static str| {
        let mut values = headers.get_all(name);
        let first = values.next();
        if values.next().is_some() { Err(Problem::new(&kinds::MALFORMED_REQUEST, text)) } else { Ok(first) }
    };
    let authorization = one(&AUTHORIZATION, "send one Authorization header")?;
    let api_key = one(&X_API_KEY, "send one X-Api-Key header")?;
    match (authorization, api_key) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Problem::new(&kinds::MALFORMED_REQUEST, "send Authorization or X-Api-Key, and not both"))
        }
        (Some(_), None) => bearer(headers).map(Some).ok_or_else(|| {
            challenge::unauthorized(&kinds::INVALID_TOKEN, "send Authorization: Bearer and an access token or API key")
        }),
        (None, Some(value)) => match value.to_str().map(str::trim) {
            Ok(text) if api_key::looks_like_one(text) => Ok(Some(text)),
            Ok(_) | Err(_) => Err(challenge::unauthorized(&kinds::INVALID_TOKEN, "X-Api-Key takes an API key")),
        },
    }
}

/// The identity of a request, `None` if it brings no credential.
///
/// # Errors
/// `malformed-request` for two credentials, `invalid-token`, or `tenant-mismatch` for a good token of another tenant. An API
/// key of another tenant is as unknown as one that was never made: keys name no tenant, so nothing is told of either.
pub async fn authenticate(
    request: &HttpRequest,
    state: &AppState,
    context: &RequestContext,
    tenant: &TenantHandle,
    view: &Arc<TenantView>,
) -> Result<Option<Identity>, Problem> {
    let Some(text) = presented(request.headers())? else { return Ok(None) };
    let hash = api_key::hash(text);
    if api_key::looks_like_one(text) {
        let key = verify_key(state, view, text, hash)?;
        context.key.set(Some(key.key.id));
        return Ok(Some(Identity::Key(key)));
    }
    match verify(state, view, text, hash) {
        Ok(verified) => {
            context.user.set(Some(verified.claims.sub));
            Ok(Some(Identity::User(verified)))
        }
        Err(error) => Err(refusal(state, tenant, text, error).await),
    }
}

fn remembered(hash: &ApiKeyHash) -> Option<Identity> {
    CACHE.with_borrow(|cache| cache.as_ref().and_then(|cache| cache.get(hash).cloned()))
}

fn remember(state: &AppState, hash: ApiKeyHash, identity: Identity) {
    CACHE.with_borrow_mut(|cache| {
        let capacity = state.settings.auth.token_cache_entries;
        cache.get_or_insert_with(|| Cache::new(capacity)).insert(hash, identity);
    });
}

fn verify_key(state: &AppState, view: &TenantView, text: &str, hash: ApiKeyHash) -> Result<Rc<VerifiedKey>, Problem> {
    let unauthorized = |detail| challenge::unauthorized(&kinds::INVALID_TOKEN, detail);
    // The view decides, at each use; what is remembered only saves making the headers again.
    let Some(key) = view.api_keys.get(&hash) else {
        return Err(match api_key::parse(text) {
            Ok(_id) => unauthorized("the API key is not valid here"),
            Err(_mistyped) => unauthorized("the API key is mistyped or cut short: its checksum does not fit"),
        });
    };
    let now_s = clock::now_s();
    if !key.is_valid_at(now_s) {
        return Err(unauthorized("the API key has expired").routine());
    }
    let verified = match remembered(&hash) {
        Some(Identity::Key(known)) if Arc::ptr_eq(&known.key, key) => known,
        _ => {
            let (prepared, noted_s) = (RefCell::new(None), Cell::new(0));
            let verified = Rc::new(VerifiedKey { key: Arc::clone(key), prepared, noted_s });
            remember(state, hash, Identity::Key(Rc::clone(&verified)));
            verified
        }
    };
    if now_s >= verified.noted_s.get() + NOTE_EVERY_S {
        verified.noted_s.set(now_s);
        state.notes.key_uses.note(view.tenant.id, key.id, now_s);
    }
    Ok(verified)
}

fn verify(state: &AppState, view: &Arc<TenantView>, token: &str, hash: ApiKeyHash) -> Result<Rc<Verified>, TokenError> {
    let now_s = clock::now_s();
    if let Some(Identity::User(verified)) = remembered(&hash)
        && is_current(&verified, view)
    {
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
    remember(state, hash, Identity::User(Rc::clone(&verified)));
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
