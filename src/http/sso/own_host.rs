//! Sign-in that begins at a host of the tenant's own.
//!
//! Providers send browsers back to the tenant's subdomain, which never changes, and there is the cookie that ties a flow to its browser. So
//! a browser that comes by another host is sent to the subdomain first, and in the end to where it came from.

use super::flow::StartQuery;
use crate::actors::tenant::url_of_host;
use crate::http::extract::TenantScope;
use crate::http::state::AppState;

/// URL of the host that a request came by, if that is one of the tenant's own.
pub(super) fn elsewhere(state: &AppState, scope: &TenantScope) -> Option<String> {
    let host = scope.caller.context.host.as_deref()?;
    let is_given = state.settings.gateway.hosts.contains_key(host);
    (is_given || scope.view.has_host(host)).then(|| url_of_host(&state.settings, host))
}

/// `return_to` for a flow on the subdomain: a path is one of the host that the request came by.
pub(super) fn absolute(return_to: Option<String>, elsewhere: Option<&str>) -> Option<String> {
    match (return_to, elsewhere) {
        (Some(path), Some(origin)) if path.starts_with('/') && !path.starts_with("//") => {
            Some(format!("{origin}{path}"))
        }
        (None, Some(origin)) => Some(format!("{origin}/")),
        (return_to, _) => return_to,
    }
}

/// Where a browser begins that has come by `elsewhere`: the same on the subdomain.
pub(super) fn start_url(issuer: &str, connection: &str, query: StartQuery, elsewhere: &str) -> String {
    let StartQuery { return_to, state, code_challenge, code_challenge_method, login_hint, ticket } = query;
    // A ticket's return_to was written down with it.
    let return_to = if ticket.is_some() { return_to } else { absolute(return_to, Some(elsewhere)) };
    let pairs = [
        ("return_to", return_to),
        ("state", state),
        ("code_challenge", code_challenge),
        ("code_challenge_method", code_challenge_method),
        ("login_hint", login_hint),
        ("ticket", ticket),
    ];
    let mut query = openidconnect::url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))));
    format!("{issuer}/auth/sso/{connection}?{}", query.finish())
}
