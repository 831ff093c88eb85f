//! WebSockets of the company's services: what the platform asks of a handshake before the gateway opens a tunnel, and what ends one.
//!
//! A browser cannot send a header with a WebSocket. Tokens in the query are not taken for that reason (`?access_token=`): they would
//! be in every log and history. A page asks its service for a ticket of its own, on a route with `auth = "none"` or
//! `"optional"`.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE};
use actix_web::{HttpRequest, web};
use http::header::HeaderMap;
use tokio::time::sleep;

use super::context::RequestContext;
use super::credential::Identity;
use super::gateway::tunnel::{self, Farewell, HandshakeError, TunnelRequest};
use super::gateway::{ForwardSettings, Forwarded, Route};
use super::problem::{Problem, kinds};
use super::standing::Standing;
use super::state::AppState;
use super::tenancy;
use crate::actors::tenant::TenantHandle;
use crate::clock;
use crate::domain::ids::TenantId;

/// How often it is looked whether the caller of an open tunnel was shut out.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A tunnel whose tenant is not found so often in a row is closed; the client may come back.
const MAX_MISSED_LOOKS: u32 = 5;

/// A tunnel could not be opened.
pub(super) enum Failure {
    /// The platform refuses it.
    Refused(Problem),
    /// The service cannot be had.
    Forward(super::gateway::ForwardError),
}

/// Opens a tunnel for a caller whom the route lets in.
pub(super) async fn open(
    request: &HttpRequest,
    payload: Payload,
    state: &web::Data<AppState>,
    route: &Arc<Route>,
    tenant: &Arc<TenantHandle>,
    caller: Option<&Identity>,
    headers: HeaderMap,
) -> Result<Forwarded, Failure> {
    let key = tunnel::check(request).map_err(|error| Failure::Refused(malformed(error)))?;
    if state.drain.is_draining() {
        let problem = Problem::new(&kinds::UNAVAILABLE, "the server is stopping; come back").retry_after(1);
        return Err(Failure::Refused(problem));
    }
    let place = tenant.enter_websocket(state.settings.limits.tenant_websockets).ok_or_else(|| {
        let detail = "the tenant has as many WebSockets open as it may";
        Failure::Refused(Problem::new(&kinds::TOO_MANY_CONNECTIONS, detail).retry_after(5))
    })?;
    let places = (place, state.metrics.enter_tunnel());
    let pool = ForwardSettings::from(&state.settings.gateway).pool;
    let end = ended(state.clone(), tenant.id(), Arc::clone(route), caller.map(Standing::of));
    let tunnel = TunnelRequest { request, key, headers, route, pool };
    let opened = tunnel::open(tunnel, payload, places, end).await.map_err(Failure::Forward)?;
    if let Some(context) = RequestContext::of(request) {
        context.upstream.set(Some(opened.upstream_latency));
    }
    Ok(opened)
}

fn malformed(error: HandshakeError) -> Problem {
    match error {
        HandshakeError::Version => Problem::new(&kinds::UPGRADE_REQUIRED, error.to_string())
            .header(UPGRADE, HeaderValue::from_static("websocket"))
            .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        HandshakeError::Method | HandshakeError::Upgrade | HandshakeError::Key => {
            Problem::new(&kinds::MALFORMED_REQUEST, error.to_string())
        }
    }
}

/// How often in a row a tunnel's tenant was not found. A tenant with an open tunnel is not passivated; only a registry that is
/// being built anew has lost it, and has it back with the next request. Without it nobody can say whether the caller may still
/// be here.
#[derive(Debug, Default)]
struct Absence {
    n_looks: u32,
}

impl Absence {
    /// Notes a look; whether the tenant has been away for too long.
    fn is_too_long(&mut self, is_there: bool) -> bool {
        self.n_looks = if is_there { 0 } else { self.n_looks + 1 };
        self.n_looks >= MAX_MISSED_LOOKS
    }
}

/// Waits until a tunnel must end: the server stops, or the caller was shut out. That the access token runs out ends nothing: a
/// tunnel is one request, and was let in while the token was good.
async fn ended(
    state: web::Data<AppState>,
    tenant: TenantId,
    route: Arc<Route>,
    standing: Option<Standing>,
) -> Farewell {
    let mut absence = Absence::default();
    loop {
        tokio::select! {
            () = state.drain.begun() => {
                sleep(state.drain.spread()).await;
                return Farewell { code: 1012, reason: "restarting" };
            }
            () = sleep(LOOK_EVERY) => {}
        }
        let found = state.registry.find_id(tenant);
        if absence.is_too_long(found.is_some()) {
            return Farewell { code: 1012, reason: "unavailable" };
        }
        let Some(tenant) = found else { continue };
        if let Err(lost) = Standing::check_shut_out(standing.as_ref(), &tenant.view(), clock::now_s()) {
            let (code, reason) = lost.close();
            return Farewell { code, reason };
        }
        if tenancy::is_shut_off(&tenant.view(), route.settings()) {
            return Farewell { code: 4402, reason: "payment-required" };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_is_away_for_five_looks_in_a_row_is_away_for_too_long() {
        let mut absence = Absence::default();
        let mut looks = |looks: &[bool]| looks.iter().map(|there| absence.is_too_long(*there)).collect::<Vec<_>>();
        assert_eq!(looks(&[false, false, false, false, true]), [false; 5], "it came back");
        assert_eq!(looks(&[false, false, false, false, false]), [false, false, false, false, true]);
    }
}
