//! Calls that count by the piece, and what services say themselves that they used.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue as OldValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web;
use aws_lc_rs::digest;
use http::HeaderValue;

use super::Call;
use super::beside::{self, Work};
use crate::clock;
use crate::config::RouteSettings;
use crate::domain::ids::TenantId;
use crate::domain::meter::MeterName;
use crate::domain::usage::UsageRecord;
use crate::domain::usage_header;
use crate::http::credential::Identity;
use crate::http::gateway::metered::{Held, MeteredBody, MeteredCall};
use crate::http::gateway::{ForwardSettings, Forwarded, forward, hygiene};
use crate::http::problem::Problem;
use crate::http::quota;
use crate::http::state::AppState;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether calls of a route leave a record: each of them, or those of which its service says what it used.
pub(super) fn is_counted(settings: &RouteSettings) -> bool {
    settings.meter.is_some() || !settings.usage_header.is_empty()
}

/// A call that will be counted, in its request's places.
pub(super) fn new_call(call: &Call<'_>, meter: &MeterName, held: Option<Held>) -> MeteredCall {
    let places = call.context.places.borrow().clone();
    MeteredCall::new(call.state, call.view.tenant.id, meter.clone(), held).in_places(places)
}

/// Enters a call of a route that counts its calls; `None` for other routes.
///
/// # Errors
/// `quota-exceeded` under a hard limit, or that nothing can be set aside now.
pub(super) async fn begin(call: &Call<'_>) -> Result<Option<MeteredCall>, Problem> {
    let settings = call.route.settings();
    let Some(meter) = &settings.meter else { return Ok(None) };
    let is_known = call.caller.is_some();
    let held = quota::set_aside(call.state, call.view, meter, settings.meter_quantity, is_known).await?;
    Ok(Some(new_call(call, meter, held)))
}

/// Forwards a call of a route that counts. Once its body is sent the service does what was asked, so its answer is waited for and
/// counted even if the client has left by then; one that leaves before breaks its request off, and has asked nothing.
///
/// # Errors
/// `quota-exceeded`, `metering-unavailable`, or what is wrong with the service.
pub(super) async fn forward_call(call: &Call<'_>, payload: Payload) -> Result<HttpResponse, Problem> {
    let metered = begin(call).await?.map(|metered| metered.named(idempotent_name(call)));
    beside::run(call, exchange(call, payload, metered)).await
}

/// Made here and not where it is waited for, because a future is as large as all that it waits for: the request's own, which is moved
/// about, is not to have this one in it.
fn exchange(call: &Call<'_>, payload: Payload, metered: Option<MeteredCall>) -> Work {
    let (headers, authorization) = call.identity_headers();
    let settings = ForwardSettings::from(&call.state.settings.gateway);
    let (request, route, state) = (call.request.clone(), Arc::clone(call.route), call.state.clone());
    let tenant = call.view.tenant.id;
    Box::pin(async move {
        let make_headers = || hygiene::service_headers(&request, &headers, authorization, route.preserves_host());
        let answer = forward(&request, payload, &route, make_headers, &settings).await?;
        report(&state, tenant, route.settings(), &answer.usage)?;
        let Forwarded { response, upstream_latency, .. } = answer;
        let response = match metered {
            None => response,
            Some(metered) => finish(route.settings(), request.method(), metered, response)?,
        };
        Ok((response, upstream_latency))
    })
}

/// Has the call counted when its answer is complete. An answer that says that the call failed is not counted.
///
/// # Errors
/// `metering-unavailable`, for an answer without a body.
pub(super) fn finish(
    settings: &RouteSettings,
    method: &Method,
    metered: MeteredCall,
    response: HttpResponse,
) -> Result<HttpResponse, Problem> {
    if response.status().as_u16() >= 400 {
        return Ok(response);
    }
    let quantity = u64::try_from(settings.meter_quantity).unwrap_or(0);
    let is_empty = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_empty || is_tunnel || *method == Method::HEAD {
        // Nobody polls such a body: the head is the whole answer. A tunnel is what was asked for once it is open.
        metered.count(quantity).map_err(|_reported| quota::unavailable())?;
        return Ok(response);
    }
    Ok(response.map_body(|_, body| BoxBody::new(MeteredBody::fixed(body, metered, quantity))))
}

/// Writes down what the service says that it used, whatever its answer: it has done the work. A header that cannot be read counts
/// nothing, and neither does an entry for a meter that the route does not list.
///
/// # Errors
/// `metering-unavailable`.
pub(super) fn report(
    state: &web::Data<AppState>,
    tenant: TenantId,
    settings: &RouteSettings,
    lines: &[HeaderValue],
) -> Result<(), Problem> {
    if lines.is_empty() {
        return Ok(());
    }
    let refuse = |reason: &dyn std::fmt::Display| {
        state.metrics.metering.refused_usage_headers.inc();
        tracing::warn!(route = settings.prefix, reason = %reason, "a service's X-Usage was not counted");
    };
    let entries = match usage_header::parse(lines.iter().map(HeaderValue::as_bytes)) {
        Ok(entries) => entries,
        Err(error) => {
            refuse(&error);
            return Ok(());
        }
    };
    for entry in entries {
        if !settings.usage_header.contains(&entry.meter) {
            refuse(&format_args!("the route's usage_header does not list {}", entry.meter));
            continue;
        }
        let key = entry.key();
        let record = UsageRecord {
            tenant,
            meter: entry.meter,
            quantity: entry.quantity,
            occurred_at: clock::now(),
            key,
            source: format!("service:{}", settings.prefix),
            dims: std::collections::BTreeMap::new(),
            reservation: None,
        };
        if let Err(error) = state.spool.append(&record) {
            state.metrics.metering.refused_records.inc();
            tracing::error!(tenant.id = %tenant, error = &error as &dyn std::error::Error, "usage was not written down");
            return Err(quota::unavailable());
        }
    }
    Ok(())
}

/// The client's key, if its service gets to see exactly that: a key that is there twice may be read in two ways, and one that
/// `Connection` lists is not passed on (RFC 9110 §7.6.1).
fn idempotency_key<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a OldValue> {
    // Other methods either change nothing, or may be repeated without a key.
    if !matches!(*method, Method::POST | Method::PATCH) {
        return None;
    }
    let mut keys = headers.get_all(&IDEMPOTENCY_KEY);
    let key = keys.next().filter(|key| !key.is_empty())?;
    let connection = headers.get_all(CONNECTION).map(OldValue::as_bytes);
    let is_only = keys.next().is_none() && !hygiene::is_listed(connection, IDEMPOTENCY_KEY.as_str());
    is_only.then_some(key)
}

/// The name of a call that its client may repeat, for a service that does it once: caller, call and the client's key, hashed. Callers
/// who prove nothing are told apart by nothing, so their calls have no names. A service forgets keys in time and does the call again
/// then, so a name is good for one span of `idempotency_key_ttl_h`; spans lie end to end, and a call that is repeated across the edge
/// of one counts twice.
fn idempotent_name(call: &Call<'_>) -> Option<String> {
    let settings = call.route.settings();
    if !settings.idempotency_key {
        return None;
    }
    let key = idempotency_key(call.request.method(), call.request.headers())?;
    let span = u64::try_from(clock::now_s()).ok()?.checked_div(settings.idempotency_key_ttl_h.saturating_mul(3600))?;
    let caller = match call.caller? {
        Identity::User(token) => format!("user:{}", token.claims.sub),
        Identity::Key(key) => format!("key:{}", key.key.id),
    };
    let target = call.request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut hash = digest::Context::new(&digest::SHA256);
    let parts = [
        settings.prefix.as_bytes(),
        caller.as_bytes(),
        call.request.method().as_str().as_bytes(),
        target.as_bytes(),
        key.as_bytes(),
        &span.to_be_bytes(),
    ];
    for part in parts {
        // With their lengths, so that no two lists of parts read the same.
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Some(hex::encode(hash.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_the_service_may_not_see_or_not_need_names_nothing() {
        let named = |method: Method, fields: &[(HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name.clone(), OldValue::from_static(value));
            }
            idempotency_key(&method, &headers).map(|key| key.to_str().unwrap().to_owned())
        };
        let key = || (IDEMPOTENCY_KEY.clone(), "k1");
        for method in [Method::POST, Method::PATCH] {
            assert_eq!(named(method, &[key(), (CONNECTION, "keep-alive")]).as_deref(), Some("k1"));
        }
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            assert_eq!(named(method.clone(), &[key()]), None, "{method}");
        }
        assert_eq!(named(Method::POST, &[]), None);
        assert_eq!(named(Method::POST, &[(IDEMPOTENCY_KEY.clone(), "")]), None);
        assert_eq!(named(Method::POST, &[key(), key()]), None, "two lines");
        for listed in ["idempotency-key", "close, Idempotency-Key", "x ,\tIDEMPOTENCY-KEY"] {
            assert_eq!(named(Method::POST, &[key(), (CONNECTION, listed)]), None, "{listed}");
        }
    }
}
