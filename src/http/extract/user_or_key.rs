//! Callers of calls that programs with an API key may make, too.

use std::fmt::Debug;
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::principal::Principal;
use super::tenant::{TenantScope, state};
use crate::actors::tenant::Bucket;
use crate::domain::audit::AuditActor;
use crate::domain::identity::Role;
use crate::domain::scope::Scope;
use crate::http::challenge;
use crate::http::credential::{self, Identity};
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// Who may make a call.
pub trait Policy: Debug + 'static {
    /// Scope that a key needs; `None` = every key may.
    const SCOPE: Option<Scope>;

    /// Whether this user may.
    fn permits(user: &Principal) -> bool;
}

/// Every user and every key of the tenant.
#[derive(Debug, Clone, Copy)]
pub struct Anyone;

impl Policy for Anyone {
    const SCOPE: Option<Scope> = None;

    fn permits(_user: &Principal) -> bool {
        true
    }
}

/// Admins, and keys with `audit:read`.
#[derive(Debug, Clone, Copy)]
pub struct AuditReader;

impl Policy for AuditReader {
    const SCOPE: Option<Scope> = Some(Scope::AuditRead);

    fn permits(user: &Principal) -> bool {
        user.has_role(&[Role::Owner, Role::Admin]) || user.is_operator()
    }
}

/// Admins, and keys with `usage:write`. Not every user: what is reported is what the tenant pays for.
#[derive(Debug, Clone, Copy)]
pub struct UsageReporter;

impl Policy for UsageReporter {
    const SCOPE: Option<Scope> = Some(Scope::UsageWrite);

    fn permits(user: &Principal) -> bool {
        user.has_role(&[Role::Owner, Role::Admin]) || user.is_operator()
    }
}

/// A user or an API key of the request's tenant that the policy `P` permits, counted against the tenant's limit.
#[derive(Debug, Clone)]
pub struct UserOrKey<P: Policy> {
    /// Tenant and request.
    pub scope: TenantScope,
    /// Who it is.
    pub identity: Identity,
    policy: PhantomData<P>,
}

impl<P: Policy> UserOrKey<P> {
    async fn of(request: &HttpRequest, state: &AppState) -> Result<Self, Problem> {
        let mut scope = TenantScope::of(request, state).await?;
        let identity = credential::authenticate(request, state, &scope.caller.context, &scope.tenant, &scope.view)
            .await?
            .ok_or_else(|| {
                challenge::unauthorized(&kinds::AUTHENTICATION_REQUIRED, "send an access token or an API key")
            })?;
        tenancy::admit(state, &scope.caller.context, &scope.tenant, &scope.view, Bucket::SignedIn)?;
        tenancy::honour_min_version(request.headers(), &scope.tenant).await?;
        scope.view = scope.tenant.view_full();
        match &identity {
            Identity::Key(key) => {
                if let Some(wanted) = P::SCOPE
                    && !key.key.scopes.contains(&wanted)
                {
                    return Err(challenge::insufficient_scope(Some(&wanted)));
                }
            }
            Identity::User(token) => {
                let user = Principal { scope: scope.clone(), token: std::rc::Rc::clone(token) };
                if !P::permits(&user) {
                    return Err(Principal::forbidden());
                }
            }
        }
        Ok(Self { scope, identity, policy: PhantomData })
    }

    /// Who acts, for the audit log.
    #[must_use]
    pub fn audit_actor(&self) -> AuditActor {
        match &self.identity {
            Identity::Key(key) => AuditActor::Key(key.key.id),
            Identity::User(token) => {
                Principal { scope: self.scope.clone(), token: std::rc::Rc::clone(token) }.audit_actor()
            }
        }
    }
}

impl<P: Policy> FromRequest for UserOrKey<P> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { Self::of(&request, state(&request)?).await }.boxed_local()
    }
}
