//! A tenant's identity provider, by its SCIM token.

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;

use super::tenant::{TenantScope, state};
use crate::actors::scim::{Changer, Desk};
use crate::actors::tenant::Bucket;
use crate::clock;
use crate::domain::api_key;
use crate::domain::audit::AuditActor;
use crate::domain::scim::token::ScimToken;
use crate::http::challenge;
use crate::http::credential;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// The identity provider of the request's tenant, counted against a limit of its own. Nobody else may call where it does: users and API
/// keys have other calls.
#[derive(Debug, Clone)]
pub struct Provisioner {
    /// Tenant and request.
    pub scope: TenantScope,
    /// Its token.
    pub token: ScimToken,
}

impl Provisioner {
    async fn of(request: &HttpRequest, state: &AppState) -> Result<Self, Problem> {
        let scope = TenantScope::of(request, state).await?;
        let headers = request.headers();
        if headers.get_all(AUTHORIZATION).count() > 1 {
            return Err(Problem::new(&kinds::MALFORMED_REQUEST, "send one Authorization header"));
        }
        let missing = || {
            challenge::unauthorized(
                &kinds::AUTHENTICATION_REQUIRED,
                "send the bearer token that POST /scim/tokens gave out",
            )
        };
        let text = credential::bearer(headers).ok_or_else(missing)?;
        // Tokens name no tenant: another tenant's is as unknown as one that was never made.
        let token = scope.view.scim_tokens.get(&api_key::hash(text)).copied().ok_or_else(|| {
            challenge::unauthorized(&kinds::INVALID_TOKEN, "the token is none of this tenant's for SCIM")
        })?;
        scope.caller.context.scim_token.set(Some(token.id));
        tenancy::admit(state, &scope.caller.context, &scope.tenant, &scope.view, Bucket::Provisioner)?;
        state.notes.scim_uses.note(scope.tenant.id(), token.id, clock::now_s());
        Ok(Self { scope, token })
    }

    /// What it takes to do what the provider asks for.
    #[must_use]
    pub fn desk(&self, state: &AppState) -> Desk {
        let TenantScope { tenant, view, caller } = &self.scope;
        Desk {
            context: state.accounts.clone(),
            tenant: tenant.clone(),
            base: base(&view.issuer),
            changer: Changer {
                actor: AuditActor::Scim(self.token.id),
                rank: self.token.rank,
                source: caller.source.clone(),
            },
        }
    }

    /// URL that all resources are under.
    #[must_use]
    pub fn base(&self) -> String {
        base(&self.scope.view.issuer)
    }
}

/// Where a tenant's resources are.
#[must_use]
pub fn base(issuer: &str) -> String {
    format!("{issuer}/scim/v2")
}

impl FromRequest for Provisioner {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request, state(&request)?).await })
    }
}
