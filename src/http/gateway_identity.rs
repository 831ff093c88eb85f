//! What services are told about a request: the tenant, the user, and a context that the platform signed.
//!
//! All of it is the same for every request of one credential while the tenant's view stays, so it is prepared once and kept with the
//! verified credential, and for callers without one with their tenant. A context lives a minute and is used for half of it, so that it outlives the slowest hop.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;
use quick_cache::unsync::Cache;

use super::credential::Identity;
use super::gateway::hygiene::TenantContextHeaders;
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::domain::api_key::ApiKey;
use crate::domain::identity::Role;
use crate::domain::ids::TenantId;
use crate::domain::scope::Scope;
use crate::domain::token::{self, AccessClaims, CONTEXT_TTL_S, ContextClaims};

/// Tenants of whose nameless callers each worker keeps the headers.
const TENANTS_KEPT: usize = 256;

thread_local! {
    static OF_NOBODY: RefCell<Cache<TenantId, Prepared>> = RefCell::new(Cache::new(TENANTS_KEPT));
}

/// A place for prepared headers.
pub type Prepared = Rc<RefCell<Option<PreparedHeaders>>>;

/// The place for headers about a tenant's callers who prove nothing. Without it each of their calls would cost a signature, which is
/// more than all the rest of it.
#[must_use]
pub fn of_nobody(tenant: TenantId) -> Prepared {
    OF_NOBODY.with_borrow_mut(|kept| {
        if let Some(place) = kept.get(&tenant) {
            return Rc::clone(place);
        }
        let place = Prepared::default();
        kept.insert(tenant, Rc::clone(&place));
        place
    })
}

/// Whom the headers are about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Nobody who proved who they are.
    Nobody,
    /// A user.
    User(&'a AccessClaims),
    /// A program with an API key.
    Key(&'a ApiKey),
}

impl<'a> Subject<'a> {
    /// Whom a credential is of.
    #[must_use]
    pub fn of(identity: Option<&'a Identity>) -> Self {
        match identity {
            None => Self::Nobody,
            Some(Identity::User(token)) => Self::User(&token.claims),
            Some(Identity::Key(key)) => Self::Key(&key.key),
        }
    }

    fn user(self) -> Option<&'a AccessClaims> {
        if let Self::User(claims) = self { Some(claims) } else { None }
    }

    fn key(self) -> Option<&'a ApiKey> {
        if let Self::Key(key) = self { Some(key) } else { None }
    }
}

/// Headers of one credential under one view.
#[derive(Debug)]
pub struct PreparedHeaders {
    view: Arc<TenantView>,
    headers: TenantContextHeaders,
    /// Signed contexts by route prefix, with the second at which to sign anew.
    contexts: Vec<(Arc<str>, HeaderValue, i64)>,
}

impl PreparedHeaders {
    /// Prepares what does not change from request to request.
    #[must_use]
    pub fn new(view: &Arc<TenantView>, caller: Subject<'_>) -> Self {
        let tenant = &view.tenant;
        let headers = TenantContextHeaders {
            tenant_id: value(&tenant.id.to_string()),
            tenant_slug: value(tenant.slug.as_str()),
            tenant_plan: value(&tenant.plan),
            tenant_region: value(&tenant.region),
            user_id: caller.user().and_then(|claims| value(&claims.sub.to_string())),
            user_roles: match caller {
                Subject::Nobody => None,
                Subject::User(claims) => value(&roles(&claims.roles)),
                // A key has no roles: said, so that nobody takes silence for something else.
                Subject::Key(_) => Some(HeaderValue::from_static("")),
            },
            auth_acr: caller.user().and_then(|claims| value(&claims.acr)),
            api_key_id: caller.key().and_then(|key| value(&key.id.to_string())),
            ..TenantContextHeaders::default()
        };
        Self { view: Arc::clone(view), headers, contexts: Vec::new() }
    }

    /// Whether these headers were prepared under this view.
    #[must_use]
    pub fn is_for(&self, view: &Arc<TenantView>) -> bool {
        Arc::ptr_eq(&self.view, view)
    }

    /// The headers for one route, with a context signed within the last half minute.
    pub fn for_route(&mut self, prefix: &Arc<str>, caller: Subject<'_>) -> TenantContextHeaders {
        let now_s = clock::now_s();
        // One that is good for longer than any is was signed before the clock was set back.
        self.contexts.retain(|(_, _, until_s)| (now_s + 1..=now_s + CONTEXT_TTL_S / 2).contains(until_s));
        let known = self.contexts.iter().find(|(route, _, _)| route == prefix).map(|(_, value, _)| value.clone());
        let context = known.or_else(|| {
            let signed = sign(&self.view, prefix, caller, None)?;
            self.contexts.push((Arc::clone(prefix), signed.clone(), now_s + CONTEXT_TTL_S / 2));
            Some(signed)
        });
        TenantContextHeaders { tenant_context: context, ..self.headers.clone() }
    }

    /// The headers for one request, whose id is in the signed context.
    #[must_use]
    pub fn for_request(&self, prefix: &str, caller: Subject<'_>, request_id: &str) -> TenantContextHeaders {
        let context = sign(&self.view, prefix, caller, Some(request_id));
        TenantContextHeaders { tenant_context: context, ..self.headers.clone() }
    }
}

/// Roles as services receive them: separated by commas.
#[must_use]
pub fn roles(roles: &[Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",")
}

/// `None` for text that is no header value, which none of ours is.
#[must_use]
pub fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

fn sign(view: &TenantView, prefix: &str, caller: Subject<'_>, request_id: Option<&str>) -> Option<HeaderValue> {
    let now_s = clock::now_s();
    let context = ContextClaims {
        iss: view.issuer.clone(),
        aud: prefix.to_owned(),
        tid: view.tenant.id,
        slug: view.tenant.slug.to_string(),
        plan: view.tenant.plan.clone(),
        sub: caller.user().map(|claims| claims.sub),
        roles: caller.user().map(|claims| claims.roles.clone()).unwrap_or_default(),
        acr: caller.user().map(|claims| claims.acr.clone()),
        key: caller.key().map(|key| key.id),
        scopes: caller.key().map(|key| key.scopes.iter().map(Scope::to_string).collect()),
        iat: now_s,
        exp: now_s + CONTEXT_TTL_S,
        request_id: request_id.map(str::to_owned),
    };
    match token::sign_context(&view.keys.signing, &context) {
        Ok(text) => value(&text),
        Err(error) => {
            tracing::error!(tenant.id = %view.tenant.id, %error, "a tenant context could not be signed");
            None
        }
    }
}
