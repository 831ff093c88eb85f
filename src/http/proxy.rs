//! The gateway's pipeline for the company's own services: tenant → credential → limit → route → quota → headers → service.

mod beside;
mod counted;
mod openai;

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse, web};

use super::challenge;
use super::context::RequestContext;
use super::credential::{self, Identity};
use super::gateway::hygiene::{self, Authorization, TenantContextHeaders};
use super::gateway::{ForwardError, ForwardSettings, Forwarded, Route, RouteMiss, forward, tunnel};
use super::gateway_identity::{self, PreparedHeaders, Subject, value};
use super::problem::{Problem, kinds};
use super::quota;
use super::state::AppState;
use super::{dunning, tenancy, websocket};
use crate::actors::tenant::{Bucket, TenantHandle, TenantView};
use crate::clock;
use crate::config::{RouteAuth, RouteKind, RouteSettings};
use crate::domain::api_key::ApiKey;
use crate::domain::assurance::Requirement;
use crate::domain::scope::Scope;
use crate::domain::token::AccessClaims;

/// Everything that the platform does not serve itself.
///
/// # Errors
/// A problem of the platform's; a service's own errors pass as they are.
pub(super) async fn proxy(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let context = RequestContext::of(&request).ok_or_else(|| Problem::new(&kinds::INTERNAL, "no context"))?;
    let table = state.routes.load();
    let route = Arc::clone(table.find(request.uri().path()).map_err(miss)?);
    drop(table);
    *context.route.borrow_mut() = route.label().clone();
    let settings = route.settings();
    let tenant = tenancy::tenant_of(&request, &state, &context).await?;
    let view = tenant.view_full();
    tenancy::check_active(&view)?;
    tenancy::check_not_shut(&state, &view)?;
    let caller = identity(&request, &state, &context, &tenant, &view, settings).await?;
    let bucket = if caller.is_some() { Bucket::SignedIn } else { Bucket::Anonymous };
    tenancy::admit(&state, &context, &tenant, &view, bucket)?;
    if caller.is_some() {
        tenancy::honour_min_version(request.headers(), &tenant).await?;
    }
    permit(&state, settings, &view, caller.as_ref())?;
    dunning::check(&state, &view, settings)?;
    let quota = quota::check(&state, &tenant, &view, settings, caller.is_some())?;
    let call = Call {
        request: &request,
        state: &state,
        context: &context,
        view: &view,
        route: &route,
        caller: caller.as_ref(),
    };
    let payload: Payload = payload.into_inner();
    // The rare ways are boxed: this future, which each request moves about, is as large as its largest branch.
    if settings.websocket && tunnel::is_upgrade(&request) {
        return Box::pin(call.open_tunnel(payload, &tenant)).await;
    }
    let mut response = match settings.kind {
        RouteKind::Http if counted::is_counted(settings) => counted::forward_call(&call, payload).await?,
        RouteKind::Http => call.forward(payload).await?,
        RouteKind::OpenAi => Box::pin(openai::forward_call(&call, payload)).await?,
    };
    if caller.is_some() {
        dunning::add_header(&view, response.headers_mut());
    }
    if let Some(quota) = quota {
        quota.add_headers(response.headers_mut(), &state.settings.gateway.upgrade_url);
    }
    Ok(response)
}

/// A request that may be forwarded.
struct Call<'a> {
    request: &'a HttpRequest,
    state: &'a web::Data<AppState>,
    context: &'a RequestContext,
    view: &'a Arc<TenantView>,
    route: &'a Arc<Route>,
    caller: Option<&'a Identity>,
}

impl Call<'_> {
    /// What the service is told about tenant and caller, and whether it gets the caller's credential.
    fn identity_headers(&self) -> (TenantContextHeaders, Authorization) {
        let headers = context_headers(self.route, self.context, self.view, self.caller);
        let authorization = match (self.route.settings().auth, self.caller) {
            (RouteAuth::None, _) | (RouteAuth::Optional, None) => Authorization::Forward,
            (RouteAuth::Required, _) | (RouteAuth::Optional, Some(_)) => Authorization::Withhold,
        };
        (headers, authorization)
    }

    /// Opens a tunnel. On a metered route it counts as one call when the service has agreed.
    async fn open_tunnel(&self, payload: Payload, tenant: &Arc<TenantHandle>) -> Result<HttpResponse, Problem> {
        let metered = counted::begin(self).await?;
        let (headers, authorization) = self.identity_headers();
        let headers = hygiene::service_headers(self.request, &headers, authorization, self.route.preserves_host());
        let opened = websocket::open(self.request, payload, self.state, self.route, tenant, self.caller, headers).await;
        let Forwarded { response, usage, .. } = opened.map_err(|refused| match refused {
            websocket::Failure::Refused(problem) => problem,
            websocket::Failure::Forward(error) => self.failure(error),
        })?;
        let settings = self.route.settings();
        counted::report(self.state, self.view.tenant.id, settings, &usage)?;
        match metered {
            None => Ok(response),
            Some(metered) => counted::finish(settings, self.request.method(), metered, response),
        }
    }

    /// Forwards it as it is. It ends with its client.
    async fn forward(&self, payload: Payload) -> Result<HttpResponse, Problem> {
        let (headers, authorization) = self.identity_headers();
        let keeps_host = self.route.preserves_host();
        let make_headers = || hygiene::service_headers(self.request, &headers, authorization, keeps_host);
        let forward_settings = ForwardSettings::from(&self.state.settings.gateway);
        let answer = forward(self.request, payload, self.route, make_headers, &forward_settings).await;
        let answer = answer.map_err(|error| self.failure(error))?;
        self.context.upstream.set(Some(answer.upstream_latency));
        // The route lists no meters, so what the service reports all the same is complained of.
        counted::report(self.state, self.view.tenant.id, self.route.settings(), &answer.usage)?;
        Ok(answer.response)
    }

    fn failure(&self, error: ForwardError) -> Problem {
        self.context.flag.set(error.response_flag());
        failure(error)
    }
}

fn miss(miss: RouteMiss) -> Problem {
    match miss {
        RouteMiss::NoRoute => Problem::new(&kinds::NO_ROUTE, "no service is configured for this path"),
        RouteMiss::AmbiguousPath => Problem::new(
            &kinds::MALFORMED_REQUEST,
            "the path can be read in more than one way: send it without '..', '//', '\\' and encoded separators",
        ),
    }
}

async fn identity(
    request: &HttpRequest,
    state: &AppState,
    context: &RequestContext,
    tenant: &TenantHandle,
    view: &Arc<TenantView>,
    settings: &RouteSettings,
) -> Result<Option<Identity>, Problem> {
    match settings.auth {
        RouteAuth::None => Ok(None),
        RouteAuth::Optional => credential::authenticate(request, state, context, tenant, view).await,
        RouteAuth::Required => {
            let caller = credential::authenticate(request, state, context, tenant, view).await?;
            match caller {
                Some(caller) => Ok(Some(caller)),
                None => {
                    Err(challenge::unauthorized(&kinds::AUTHENTICATION_REQUIRED, "send an access token or an API key"))
                }
            }
        }
    }
}

/// What the route asks of the tenant's plan and of the caller.
fn permit(
    state: &AppState,
    settings: &RouteSettings,
    view: &TenantView,
    caller: Option<&Identity>,
) -> Result<(), Problem> {
    if let Some(module) = &settings.module
        && !view.plan.includes(module)
    {
        let problem =
            Problem::new(&kinds::MODULE_NOT_INCLUDED, format!("the plan {} does not include {module}", view.plan.name));
        return Err(problem.upgrade_url(&state.settings.gateway.upgrade_url));
    }
    let claims = match caller {
        None => None,
        Some(Identity::User(token)) => Some(&token.claims),
        Some(Identity::Key(key)) => return permit_key(settings, &key.key),
    };
    if !settings.roles.is_empty() {
        let has_role = claims.is_some_and(|claims| {
            claims.roles.iter().any(|role| settings.roles.iter().any(|wanted| wanted == role.as_str()))
        });
        if !has_role {
            return Err(Problem::new(&kinds::FORBIDDEN, "your role does not permit this"));
        }
    }
    let wanted = Requirement { min_acr: settings.min_acr, max_age_s: settings.max_age_s };
    let is_met = |claims: &AccessClaims| wanted.is_met_by(&claims.acr, claims.auth_time, clock::now_s());
    if wanted != Requirement::NONE && !claims.is_some_and(is_met) {
        return Err(challenge::step_up(wanted));
    }
    Ok(())
}

/// A key needs a scope for the route, and cannot have what only users have: a role, and a sign-in that is strong or fresh.
fn permit_key(settings: &RouteSettings, key: &ApiKey) -> Result<(), Problem> {
    if !key.scopes.iter().any(|scope| scope.permits_service(&settings.prefix)) {
        let wanted = Scope::parse(&format!("gateway:{}", settings.prefix)).ok();
        return Err(challenge::insufficient_scope(wanted.as_ref()));
    }
    let wanted = Requirement { min_acr: settings.min_acr, max_age_s: settings.max_age_s };
    if settings.roles.is_empty() && wanted == Requirement::NONE {
        Ok(())
    } else {
        Err(challenge::insufficient_scope(None))
    }
}

/// What the service is told: about tenant and caller from what was prepared for the credential, about the request from its context.
fn context_headers(
    route: &Route,
    context: &RequestContext,
    view: &Arc<TenantView>,
    caller: Option<&Identity>,
) -> TenantContextHeaders {
    let subject = Subject::of(caller);
    let of_nobody: gateway_identity::Prepared;
    let prepared = match caller {
        Some(caller) => caller.prepared(),
        None => {
            of_nobody = gateway_identity::of_nobody(view.tenant.id);
            &*of_nobody
        }
    };
    let mut prepared = prepared.borrow_mut();
    let prepared = match prepared.take().filter(|known| known.is_for(view)) {
        Some(known) => prepared.insert(known),
        None => prepared.insert(PreparedHeaders::new(view, subject)),
    };
    let prefix = route.label();
    let headers = if route.settings().bind_request_id {
        prepared.for_request(prefix, subject, &context.request_id)
    } else {
        prepared.for_route(prefix, subject)
    };
    TenantContextHeaders {
        request_id: value(&context.request_id),
        traceparent: value(&context.traceparent),
        forwarded_for: context.client_ip.and_then(|ip| value(&ip.to_string())),
        forwarded_host: context.host.as_deref().and_then(value),
        forwarded_proto: Some(http::HeaderValue::from_static(if context.is_secure { "https" } else { "http" })),
        ..headers
    }
}

fn failure(error: ForwardError) -> Problem {
    match error {
        ForwardError::ConnectFailed => {
            Problem::new(&kinds::UPSTREAM_UNAVAILABLE, "the service cannot be reached").retry_after(1)
        }
        ForwardError::FirstByteTimeout | ForwardError::IdleTimeout => {
            Problem::new(&kinds::UPSTREAM_TIMEOUT, "the service did not answer in time")
        }
        ForwardError::UpstreamReset | ForwardError::UpstreamProtocol => {
            Problem::new(&kinds::BAD_GATEWAY, "the service did not answer properly")
        }
        ForwardError::BodyTooLarge => {
            Problem::new(&kinds::PAYLOAD_TOO_LARGE, "the body is larger than this route permits")
        }
        ForwardError::MalformedBody => Problem::new(&kinds::MALFORMED_REQUEST, "the body's framing is broken"),
        ForwardError::MalformedTarget => Problem::new(&kinds::MALFORMED_REQUEST, "the request target is malformed"),
        ForwardError::ClientGone | ForwardError::ClientStalled => {
            Problem::new(&kinds::CLIENT_CLOSED, "the client stopped sending")
        }
    }
}
