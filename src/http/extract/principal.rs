//! Callers who proved who they are, by what they may do.

use std::ops::Deref;
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;

use super::tenant::{Caller, TenantScope, state};
use crate::actors::accounts::Asker;
use crate::actors::tenant::Bucket;
use crate::clock;
use crate::domain::assurance::Requirement;
use crate::domain::audit::AuditActor;
use crate::domain::identity::Role;
use crate::domain::tenant::PLATFORM_SLUG;
use crate::http::challenge;
use crate::http::credential::{self, Identity, Verified};
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// An authenticated user in the request's tenant.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Tenant and request.
    pub scope: TenantScope,
    /// What the access token says.
    pub token: Rc<Verified>,
}

impl Principal {
    /// Who calls, counted against the tenant's limit.
    async fn of(request: &HttpRequest, state: &AppState) -> Result<Self, Problem> {
        let mut principal = Self::of_uncounted(request, state).await?;
        let TenantScope { tenant, view, caller } = &principal.scope;
        tenancy::admit(state, &caller.context, tenant, view, Bucket::SignedIn)?;
        tenancy::honour_min_version(request.headers(), tenant).await?;
        principal.scope.view = principal.scope.tenant.view_full();
        Ok(principal)
    }

    /// Who calls, whatever is left of the tenant's limit.
    async fn of_uncounted(request: &HttpRequest, state: &AppState) -> Result<Self, Problem> {
        let scope = TenantScope::of(request, state).await?;
        let context = &scope.caller.context;
        let identity = credential::authenticate(request, state, context, &scope.tenant, &scope.view)
            .await?
            .ok_or_else(|| challenge::unauthorized(&kinds::AUTHENTICATION_REQUIRED, "send an access token"))?;
        match identity {
            Identity::User(token) => Ok(Self { scope, token }),
            Identity::Key(_) => Err(challenge::insufficient_scope(None)),
        }
    }

    /// Whether the user has one of these roles.
    #[must_use]
    pub fn has_role(&self, roles: &[Role]) -> bool {
        self.token.claims.roles.iter().any(|role| roles.contains(role))
    }

    /// Whether the user is an operator of the platform. The role counts in the platform's own tenant only.
    #[must_use]
    pub fn is_operator(&self) -> bool {
        self.scope.tenant.slug().as_str() == PLATFORM_SLUG && self.has_role(&[Role::Operator])
    }

    /// Who acts, for the audit log.
    #[must_use]
    pub fn audit_actor(&self) -> AuditActor {
        let user = self.token.claims.sub;
        if self.is_operator() { AuditActor::Operator(user) } else { AuditActor::User(user) }
    }

    /// Who asks, for changes of accounts.
    #[must_use]
    pub fn asker(&self) -> Asker {
        let roles = &self.token.claims.roles;
        let role = if self.is_operator() {
            Role::Operator
        } else {
            // An `operator` of another tenant than the platform's is nobody special there.
            [Role::Owner, Role::Admin].into_iter().find(|role| roles.contains(role)).unwrap_or(Role::Member)
        };
        let has_stepped_up =
            Requirement::SENSITIVE.is_met_by(&self.token.claims.acr, self.token.claims.auth_time, clock::now_s());
        Asker { actor: self.audit_actor(), role, has_stepped_up, source: self.scope.caller.source.clone() }
    }

    /// The answer to a user whose role does not do.
    #[must_use]
    pub fn forbidden() -> Problem {
        Problem::new(&kinds::FORBIDDEN, "your role does not permit this")
    }
}

/// Any signed-in user, also one whose tenant's limit is used up: for what must always work, such as signing out.
#[derive(Debug, Clone)]
pub struct SignedIn(pub Principal);

impl FromRequest for SignedIn {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Principal::of_uncounted(&request, state(&request)?).await.map(Self) })
    }
}

macro_rules! role_extractor {
    ($(#[$doc:meta])* $name:ident, $permits:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Principal);

        impl Deref for $name {
            type Target = Principal;

            fn deref(&self) -> &Principal {
                &self.0
            }
        }

        impl FromRequest for $name {
            type Error = Problem;
            type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
                let request = request.clone();
                Box::pin(async move {
                    let principal = Principal::of(&request, state(&request)?).await?;
                    let permits: fn(&Principal) -> bool = $permits;
                    if permits(&principal) { Ok(Self(principal)) } else { Err(Principal::forbidden()) }
                })
            }
        }
    };
}

role_extractor!(
    /// Any signed-in user of the tenant.
    AnyUser,
    |_| true
);
role_extractor!(
    /// An owner or admin of the tenant, or an operator of the platform.
    AdminOfTenant,
    |principal| principal.has_role(&[Role::Owner, Role::Admin]) || principal.is_operator()
);
role_extractor!(
    /// Who sees and pays the tenant's bills: an owner, an admin, or whoever has the role for it.
    BillingUser,
    |principal| principal.has_role(&[Role::Owner, Role::Admin, Role::Billing])
);
role_extractor!(
    /// An operator of the platform.
    Operator,
    Principal::is_operator
);

/// The caller of a call that anybody may make: signed in if the request brings a credential (which must be good), nobody if it
/// brings none.
#[derive(Debug, Clone)]
pub struct OptionalUser {
    /// The user.
    pub user: Option<Principal>,
    /// The request.
    pub caller: Caller,
}

impl OptionalUser {
    /// The user, if they are an operator of the platform.
    #[must_use]
    pub fn operator(&self) -> Option<&Principal> {
        self.user.as_ref().filter(|user| user.is_operator())
    }
}

impl FromRequest for OptionalUser {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = Caller::of(&request)?;
            if !credential::is_present(request.headers()) {
                return Ok(Self { user: None, caller });
            }
            let user = Principal::of(&request, state(&request)?).await?;
            Ok(Self { user: Some(user), caller })
        })
    }
}
