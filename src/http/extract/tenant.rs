//! The request's tenant, and who calls without having proved who they are.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use crate::actors::tenant::{TenantHandle, TenantView};
use crate::domain::audit::AuditSource;
use crate::http::context::RequestContext;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;
use crate::http::tenancy;

/// What the edge knows of the request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The request's context.
    pub context: Rc<RequestContext>,
    /// For the audit log.
    pub source: AuditSource,
}

impl Caller {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let context = RequestContext::of(request).ok_or_else(|| Problem::new(&kinds::INTERNAL, "no context"))?;
        if let Some(pattern) = request.match_pattern() {
            *context.route.borrow_mut() = label(pattern);
        }
        let source = context.audit_source(request.head());
        Ok(Self { context, source })
    }
}

/// One shared string for each route template, so that metrics know a route by its address.
fn label(pattern: String) -> Arc<str> {
    use std::cell::RefCell;
    use std::collections::HashSet;
    thread_local! {
        static LABELS: RefCell<HashSet<Arc<str>>> = RefCell::default();
    }
    LABELS.with_borrow_mut(|labels| {
        if let Some(label) = labels.get(pattern.as_str()) {
            return Arc::clone(label);
        }
        let label: Arc<str> = pattern.into();
        labels.insert(Arc::clone(&label));
        label
    })
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        std::future::ready(Self::of(request))
    }
}

/// The request's tenant, active, whoever calls.
#[derive(Debug, Clone)]
pub struct TenantScope {
    /// The tenant.
    pub tenant: Arc<TenantHandle>,
    /// Its view at the time of the request.
    pub view: Arc<TenantView>,
    /// The caller.
    pub caller: Caller,
}

impl TenantScope {
    pub(super) async fn of(request: &HttpRequest, state: &AppState) -> Result<Self, Problem> {
        let caller = Caller::of(request)?;
        let tenant = tenancy::tenant_of(request, state, &caller.context).await?;
        let view = tenant.view_full();
        tenancy::check_active(&view)?;
        if !is_open_in_debt(request) {
            tenancy::check_not_shut(state, &view)?;
        }
        Ok(Self { tenant, view, caller })
    }
}

/// Whether a call is served to a tenant whose invoices have been overdue for very long: whoever is to pay must be able to sign in, and
/// to see what and where.
fn is_open_in_debt(request: &HttpRequest) -> bool {
    const OPEN: [&str; 3] = ["/auth/", "/billing/", "/.well-known/"];
    request.match_pattern().is_some_and(|pattern| OPEN.iter().any(|start| pattern.starts_with(start)))
}

impl FromRequest for TenantScope {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request, state(&request)?).await })
    }
}

/// The application's state; always there, because the server registers it.
pub(super) fn state(request: &HttpRequest) -> Result<&AppState, Problem> {
    request
        .app_data::<web::Data<AppState>>()
        .map(|state| state.get_ref())
        .ok_or_else(|| Problem::new(&kinds::INTERNAL, "no state"))
}
