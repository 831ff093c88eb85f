//! Which tenant a request is for. Host, header and token must agree; none of them wins over another, and nobody gets a default.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName};

use super::context::RequestContext;
use super::credential;
use super::problem::{Problem, kinds};
use super::state::AppState;
use crate::actors::ask::AskError;
use crate::actors::tenant::{Bucket, ReloadTenant, ResolveError, TenantHandle, TenantView, Wanted};
use crate::clock;
use crate::config::RouteSettings;
use crate::domain::custom_host;
use crate::domain::ids::TenantId;
use crate::domain::subscription::Access;
use crate::domain::tenant::{Slug, TenantState};
use crate::domain::token;

static X_TENANT: HeaderName = HeaderName::from_static("x-tenant");
static X_MIN_CONFIG_VERSION: HeaderName = HeaderName::from_static("x-min-config-version");

/// Longest wait for a view that is new enough.
const RELOAD_DEADLINE: std::time::Duration = std::time::Duration::from_secs(3);

/// No node lags so many changes behind; a larger number is made up.
const MAX_VERSIONS_BEHIND: i64 = 1_000;
/// How often a supervisor that is being built anew is asked again.
const RESTART_POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// The request's tenant: by custom host, by subdomain, by `X-Tenant`, and, for a client that names none, by its token.
///
/// # Errors
/// `unknown-tenant`, `tenant-mismatch`, or that it cannot be loaded now.
pub async fn tenant_of(
    request: &HttpRequest,
    state: &AppState,
    context: &RequestContext,
) -> Result<Arc<TenantHandle>, Problem> {
    if let Some(tenant) = context.tenant.get() {
        return Ok(Arc::clone(tenant));
    }
    let tenant = find(request, state, context).await?;
    tenant.touch(context.started_ns);
    // Set once: the first resolution counts for the whole request.
    Ok(Arc::clone(context.tenant.get_or_init(|| tenant)))
}

async fn find(request: &HttpRequest, state: &AppState, context: &RequestContext) -> Result<Arc<TenantHandle>, Problem> {
    let by_host = match context.host.as_deref() {
        Some(host) => by_host(state, host).await?,
        None => None,
    };
    let mut named = request.headers().get_all(&X_TENANT);
    let by_header = named.next().map(|value| value.to_str().unwrap_or_default());
    if named.next().is_some() {
        return Err(Problem::new(&kinds::MALFORMED_REQUEST, "send one X-Tenant header"));
    }
    let tenant = match (by_host, by_header) {
        (Some(tenant), _) => tenant,
        (None, Some(name)) => by_name(state, name).await?,
        (None, None) => {
            let named = credential::bearer(request.headers()).and_then(token::peek_tenant);
            let id = named.ok_or_else(|| {
                Problem::new(&kinds::UNKNOWN_TENANT, "name a tenant by its host, X-Tenant or an access token")
            })?;
            resolve(state, Wanted::Id(id)).await?
        }
    };
    match by_header {
        Some(name) if !names(&tenant, name) => {
            Err(Problem::new(&kinds::TENANT_MISMATCH, "host and X-Tenant name different tenants"))
        }
        _ => Ok(tenant),
    }
}

/// The tenant that a host means, if it means any: a host that nobody has may be the platform's own name within its network.
///
/// # Errors
/// `unknown-tenant` below the platform's domain, or that it cannot be loaded now.
pub async fn by_host(state: &AppState, host: &str) -> Result<Option<Arc<TenantHandle>>, Problem> {
    if let Some(slug) = slug_of_host(state, host) {
        return by_slug(state, slug).await.map(Some);
    }
    if let Some(tenant) = state.registry.find_host(host) {
        return Ok(Some(tenant));
    }
    if !custom_host::is_host_name(host) || host == state.settings.gateway.base_domain {
        return Ok(None);
    }
    match state.registry.resolve(&state.registry_actor, Wanted::Host(host.into())).await {
        Ok(tenant) => Ok(Some(tenant)),
        Err(ResolveError::Unknown) => Ok(None),
        Err(error @ ResolveError::Unavailable) => Err(error.into()),
    }
}

/// The subdomain that a host means without being looked up: from the operator's map of hosts, or one label before the base domain. Both
/// go before what tenants claim.
fn slug_of_host<'a>(state: &'a AppState, host: &'a str) -> Option<&'a str> {
    let gateway = &state.settings.gateway;
    if let Some(slug) = gateway.hosts.get(host) {
        return Some(slug);
    }
    host.strip_suffix(gateway.base_domain.as_str())?.strip_suffix('.')
}

/// The tenant that host or `X-Tenant` name, if it is active here: without waiting for anything.
#[must_use]
pub fn active_of(request: &HttpRequest, state: &AppState, context: &RequestContext) -> Option<TenantId> {
    let host = context.host.as_deref();
    let by_host = host.and_then(|host| slug_of_host(state, host));
    if let (None, Some(host)) = (by_host, host)
        && let Some(tenant) = state.registry.find_host(host)
    {
        return Some(tenant.id());
    }
    let named = request.headers().get(&X_TENANT).and_then(|value| value.to_str().ok());
    let name = by_host.or(named)?;
    let tenant = match name.parse::<TenantId>() {
        Ok(id) => state.registry.find_id(id),
        Err(_not_an_id) => state.registry.find_slug(name),
    };
    tenant.map(|tenant| tenant.id())
}

fn names(tenant: &TenantHandle, name: &str) -> bool {
    match name.parse::<TenantId>() {
        Ok(id) => id == tenant.id(),
        Err(_not_an_id) => tenant.slug().as_str() == name,
    }
}

async fn by_name(state: &AppState, name: &str) -> Result<Arc<TenantHandle>, Problem> {
    match name.parse::<TenantId>() {
        Ok(id) => resolve(state, Wanted::Id(id)).await,
        Err(_not_an_id) => by_slug(state, name).await,
    }
}

async fn by_slug(state: &AppState, slug: &str) -> Result<Arc<TenantHandle>, Problem> {
    if let Some(tenant) = state.registry.find_slug(slug) {
        return Ok(tenant);
    }
    // What is no subdomain is nobody's, and is not remembered as unknown either.
    Slug::parse(slug).map_err(|_malformed: crate::domain::tenant::TenantError| {
        Problem::new(&kinds::UNKNOWN_TENANT, "no tenant has this name")
    })?;
    resolve(state, Wanted::Slug(slug.into())).await
}

/// A tenant by id or slug, started if need be.
///
/// # Errors
/// `unknown-tenant`, or that it cannot be loaded now.
pub async fn resolve(state: &AppState, wanted: Wanted) -> Result<Arc<TenantHandle>, Problem> {
    Ok(state.registry.resolve(&state.registry_actor, wanted).await?)
}

/// Waits for the version that the request asks to see at least (`X-Min-Config-Version`), for a caller who was admitted.
///
/// # Errors
/// `malformed-request`, or that the tenant cannot be read now.
pub async fn honour_min_version(headers: &HeaderMap, tenant: &TenantHandle) -> Result<(), Problem> {
    let Some(value) = headers.get(&X_MIN_CONFIG_VERSION) else { return Ok(()) };
    let malformed = || Problem::new(&kinds::MALFORMED_REQUEST, "X-Min-Config-Version is no version of this tenant's");
    let version: i64 = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
    if version > tenant.view().tenant.config_version.saturating_add(MAX_VERSIONS_BEHIND) {
        return Err(malformed());
    }
    ensure_version(tenant, version).await
}

/// Waits until the tenant's view is at least at this version: read-your-writes across nodes.
///
/// # Errors
/// That the tenant cannot be read now.
pub async fn ensure_version(tenant: &TenantHandle, version: i64) -> Result<(), Problem> {
    if tenant.view().tenant.config_version >= version {
        return Ok(());
    }
    reload(tenant, Some(version)).await
}

/// Has the supervisor read the tenant again, after a change of this node's own.
///
/// # Errors
/// That the tenant cannot be read now; the change itself stands, and the config log brings it.
pub async fn reload(tenant: &TenantHandle, at_least: Option<i64>) -> Result<(), Problem> {
    let Some(supervisor) = tenant.supervisor() else {
        return Ok(());
    };
    let started = std::time::Instant::now();
    loop {
        match supervisor.ask(ReloadTenant { at_least }, RELOAD_DEADLINE).await {
            Ok(_version) => return Ok(()),
            // It is being built anew after a crash, which takes some ten milliseconds: no reason to fail a caller.
            Err(AskError::Unavailable) if started.elapsed() < RELOAD_DEADLINE => {
                tokio::time::sleep(RESTART_POLL).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Refuses a tenant that is switched off, before any credential is looked at.
///
/// # Errors
/// `tenant-suspended`.
pub fn check_active(view: &TenantView) -> Result<(), Problem> {
    match view.tenant.state {
        TenantState::Active => Ok(()),
        TenantState::Suspended => {
            Err(Problem::new(&kinds::TENANT_SUSPENDED, "the platform's operator suspended this tenant"))
        }
        TenantState::Deleting => Err(Problem::new(&kinds::TENANT_SUSPENDED, "this tenant is being deleted")),
    }
}

/// Refuses a tenant whose invoices have been overdue for very long.
///
/// # Errors
/// `tenant-suspended`, with a link.
pub fn check_not_shut(state: &AppState, view: &TenantView) -> Result<(), Problem> {
    match view.subscription.access() {
        Access::Open | Access::Warned | Access::Restricted => Ok(()),
        Access::Shut => Err(Problem::new(&kinds::TENANT_SUSPENDED, "pay the overdue invoices, or subscribe")
            .upgrade_url(&state.settings.gateway.upgrade_url)),
    }
}

/// Whether what a route serves is refused to a tenant until it has paid: what belongs to a module or is metered, and then everything.
#[must_use]
pub fn is_shut_off(view: &TenantView, route: &RouteSettings) -> bool {
    match view.subscription.access() {
        Access::Open | Access::Warned => false,
        Access::Restricted => route.module.is_some() || route.meter.is_some() || !route.usage_header.is_empty(),
        Access::Shut => true,
    }
}

/// Takes one request from the tenant's limit and enters it into the tenant's requests in flight.
///
/// # Errors
/// `rate-limited` or `overloaded`. A refused request counts against nothing.
pub fn admit(
    state: &AppState,
    context: &RequestContext,
    tenant: &Arc<TenantHandle>,
    view: &TenantView,
    caller: Bucket,
) -> Result<(), Problem> {
    use crate::domain::rate_limit::{Decision, RatePolicy};
    let in_flight = tenant.enter(state.settings.limits.tenant_in_flight).ok_or_else(|| {
        Problem::new(&kinds::OVERLOADED, "too many requests of this tenant are being answered").retry_after(1)
    })?;
    let rate = match caller {
        Bucket::SignedIn | Bucket::Anonymous => view.rate,
        // Whatever the plan: who is dismissed must be out.
        Bucket::Provisioner => RatePolicy::per_minute(state.settings.limits.scim_per_minute),
    };
    let decision = tenant.take(caller, rate, clock::monotonic_ns());
    context.rate.set(Some((rate, decision)));
    match decision {
        Decision::Allowed { .. } => {
            context.places.borrow_mut().tenant = Some(Rc::new(in_flight));
            Ok(())
        }
        Decision::Refused { retry_after } => {
            Err(Problem::new(&kinds::RATE_LIMITED, "the tenant's request limit is used up")
                .retry_after(super::middleware::edge::ceil_s(retry_after)))
        }
    }
}
