//! `GET /billing/usage/stream`.

use actix_web::http::header::{HeaderValue, UPGRADE};
use actix_web::{HttpRequest, HttpResponse, web};

use super::caller::{Opening, StreamCaller, StreamQuery};
use super::messages;
use super::serve::{Stream, serve};
use crate::actors::tenant::TenantView;
use crate::actors::usage_feed::HubFull;
use crate::clock;
use crate::db::stream_feed::{self, Picture};
use crate::db::{DbError, TenantTx};
use crate::domain::period::Period;
use crate::http::extract::Then;
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// A client's frame may be so long: it has nothing to say but pings and pongs.
const MAX_FRAME: usize = 1_024;

/// The live stream of the tenant's usage, a WebSocket for admins and for API keys with `usage:read`. Text messages, each a JSON
/// object with a `type`: first `snapshot` (`id`: number of the last event; `period`; `meters`), then `usage.updated` (at most one a second
/// for each meter, without `id`) and numbered events: `threshold.crossed`, `workflow.paused`, `workflow.resumed`, `plan.changed`,
/// `invoice.created`, `invoice.paid`, `invoice.failed` (a payment failed or is disputed), `invoice.credited` and more to come. `resume_from` brings the events after one, each once; when some of them are gone, the snapshot has `resync: true`.
/// Browsers, which cannot send a header, use a ticket. The server pings, and closes with 4401 (token or key ran out or was revoked: come
/// back with a new one), 4403 (tenant suspended), 1013 (the client reads too slowly), 1012 (the server restarts) or 4408 (no pongs).
#[utoipa::path(get, path = "/billing/usage/stream", tag = "billing", operation_id = "billing.usage_stream", security(("bearer" = [])),
    params(StreamQuery),
    responses((status = 101, description = "The protocol is a WebSocket from here on"),
              (status = 426, description = "`upgrade-required`: not a WebSocket handshake", body = openapi::ProblemSchema,
               content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(in crate::http) async fn open(
    Then(caller, opening): Then<StreamCaller, Opening>,
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let StreamCaller { scope, standing } = caller;
    if actix_http::ws::verify_handshake(request.head()).is_err() {
        let problem = Problem::new(&kinds::UPGRADE_REQUIRED, "send a WebSocket handshake, version 13 (RFC 6455)");
        return Err(problem.header(UPGRADE, HeaderValue::from_static("websocket")));
    }
    if state.drain.is_draining() {
        return Err(Problem::new(&kinds::UNAVAILABLE, "the server is stopping; come back").retry_after(1));
    }
    let tenant = scope.tenant.id();
    let place = state.streams.enter(tenant).map_err(full)?;
    let period = Period::containing(clock::now());
    let mut tx = TenantTx::begin_read(&state.db, tenant).await?;
    let picture = stream_feed::get_picture(&mut tx, period).await?;
    let (after, resync) = begin(&mut tx, opening.query.resume_from, picture.head).await?;
    tx.finish();
    let first = first_message(&state, &scope.view, period, &picture, resync);
    let (response, session, messages) =
        actix_ws::handle(&request, opening.payload).map_err(|_not_a_handshake: actix_web::Error| {
            Problem::new(&kinds::UPGRADE_REQUIRED, "send a WebSocket handshake")
        })?;
    let messages = messages.max_frame_size(MAX_FRAME);
    serve(Stream::new(state, tenant, standing, place, session, messages, picture), first, after);
    Ok(response)
}

fn full(full: HubFull) -> Problem {
    match full {
        HubFull::Tenant => {
            Problem::new(&kinds::TOO_MANY_CONNECTIONS, "the tenant has as many streams open as it may").retry_after(5)
        }
        HubFull::Total => {
            Problem::new(&kinds::OVERLOADED, "there are as many streams open as there may be").retry_after(5)
        }
    }
}

/// The event after which the stream begins, and whether some of those that the client wants are gone: forgotten, or never made here.
/// Numbers have no holes, so the first one tells.
async fn begin(tx: &mut TenantTx, wanted: Option<u64>, head: i64) -> Result<(i64, bool), DbError> {
    let Some(wanted) = wanted else { return Ok((head, false)) };
    let after = i64::try_from(wanted).unwrap_or(i64::MAX);
    if after == head {
        return Ok((head, false));
    }
    let next = stream_feed::list_after(tx, after, 1).await?;
    let is_there = next.first().is_some_and(|event| Some(event.id) == after.checked_add(1));
    Ok(if is_there { (after, false) } else { (head, true) })
}

fn first_message(state: &AppState, view: &TenantView, period: Period, picture: &Picture, resync: bool) -> String {
    messages::snapshot(view, state.settings.meters.keys(), period, picture, resync)
}
