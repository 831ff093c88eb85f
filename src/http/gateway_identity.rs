//! What services are told about a request: the tenant, the user, and a context that the platform signed.
//!
//! All of it is the same for every request of one token while the tenant's view stays, so it is prepared once and kept with the
//! verified token. A context lives a minute and is used for half of it, so that it outlives the slowest hop.

use std::sync::Arc;

use http::HeaderValue;

use super::gateway::hygiene::TenantContextHeaders;
use crate::actors::tenant::TenantView;
use crate::clock;
use crate::domain::identity::Role;
use crate::domain::token::{self, AccessClaims, CONTEXT_TTL_S, ContextClaims};

/// Headers of one token under one view.
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
    pub fn new(view: &Arc<TenantView>, claims: Option<&AccessClaims>) -> Self {
        let tenant = &view.tenant;
        let headers = TenantContextHeaders {
            tenant_id: value(&tenant.id.to_string()),
            tenant_slug: value(tenant.slug.as_str()),
            tenant_plan: value(&tenant.plan),
            tenant_region: value(&tenant.region),
            user_id: claims.and_then(|claims| value(&claims.sub.to_string())),
            user_roles: claims.and_then(|claims| value(&roles(&claims.roles))),
            auth_acr: claims.and_then(|claims| value(&claims.acr)),
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
    pub fn for_route(&mut self, prefix: &Arc<str>, claims: Option<&AccessClaims>) -> TenantContextHeaders {
        let now_s = clock::now_s();
        self.contexts.retain(|(_, _, until_s)| *until_s > now_s);
        let known = self.contexts.iter().find(|(route, _, _)| route == prefix).map(|(_, value, _)| value.clone());
        let context = known.or_else(|| {
            let signed = sign(&self.view, prefix, claims, None)?;
            self.contexts.push((Arc::clone(prefix), signed.clone(), now_s + CONTEXT_TTL_S / 2));
            Some(signed)
        });
        TenantContextHeaders { tenant_context: context, ..self.headers.clone() }
    }

    /// The headers for one request, whose id is in the signed context.
    #[must_use]
    pub fn for_request(&self, prefix: &str, claims: Option<&AccessClaims>, request_id: &str) -> TenantContextHeaders {
        let context = sign(&self.view, prefix, claims, Some(request_id));
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

fn sign(
    view: &TenantView,
    prefix: &str,
    claims: Option<&AccessClaims>,
    request_id: Option<&str>,
) -> Option<HeaderValue> {
    let now_s = clock::now_s();
    let context = ContextClaims {
        iss: view.issuer.clone(),
        aud: prefix.to_owned(),
        tid: view.tenant.id,
        slug: view.tenant.slug.to_string(),
        plan: view.tenant.plan.clone(),
        sub: claims.map(|claims| claims.sub),
        roles: claims.map(|claims| claims.roles.clone()).unwrap_or_default(),
        acr: claims.map(|claims| claims.acr.clone()),
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
