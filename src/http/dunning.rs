//! What the gateway does for tenants whose invoices are overdue: it says so, then it refuses what costs something. What is refused
//! altogether is refused earlier, with the tenant.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, LINK};

use super::problem::{Problem, kinds};
use super::state::AppState;
use super::tenancy;
use crate::actors::tenant::TenantView;
use crate::config::RouteSettings;
use crate::domain::subscription::Access;

static X_BILLING_STATE: HeaderName = HeaderName::from_static("x-billing-state");

/// Refuses what belongs to a module or is metered to a tenant whose invoices have been overdue for long.
///
/// # Errors
/// `payment-required`, with a link to where it is paid.
pub(super) fn check(state: &AppState, view: &TenantView, route: &RouteSettings) -> Result<(), Problem> {
    if !tenancy::is_shut_off(view, route) {
        return Ok(());
    }
    let url = &state.settings.gateway.upgrade_url;
    let mut problem = Problem::new(&kinds::PAYMENT_REQUIRED, "pay the overdue invoices to use this").upgrade_url(url);
    if let Ok(link) = HeaderValue::from_str(&format!("<{url}>; rel=\"payment\"")) {
        problem = problem.header(LINK, link);
    }
    Err(match value(view) {
        Some(value) => problem.header(X_BILLING_STATE.clone(), value),
        None => problem,
    })
}

/// Says in an answer that an invoice is overdue.
pub(super) fn add_header(view: &TenantView, headers: &mut HeaderMap) {
    if let Some(value) = value(view) {
        headers.insert(X_BILLING_STATE.clone(), value);
    }
}

fn value(view: &TenantView) -> Option<HeaderValue> {
    match view.subscription.access() {
        Access::Open => None,
        Access::Warned | Access::Restricted | Access::Shut => {
            Some(HeaderValue::from_static(view.subscription.status.as_str()))
        }
    }
}
