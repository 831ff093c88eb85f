//! Calls that count by the piece, and what services say themselves that they used.

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::HeaderName;
use actix_web::http::{Method, StatusCode};
use actix_web::web;
use aws_lc_rs::digest;
use http::HeaderValue;

use super::Call;
use crate::clock;
use crate::config::RouteSettings;
use crate::domain::ids::TenantId;
use crate::domain::usage::UsageRecord;
use crate::domain::usage_header;
use crate::http::credential::Identity;
use crate::http::gateway::metered::{MeteredBody, MeteredCall};
use crate::http::problem::Problem;
use crate::http::quota;
use crate::http::state::AppState;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Enters a call of a route that counts its calls; `None` for other routes.
///
/// # Errors
/// `quota-exceeded` under a hard limit, or that nothing can be set aside now.
pub(super) async fn begin(call: &Call<'_>) -> Result<Option<MeteredCall>, Problem> {
    let settings = call.route.settings();
    let Some(meter) = &settings.meter else { return Ok(None) };
    let held = quota::set_aside(call.state, call.view, meter, settings.meter_quantity).await?;
    let metered = MeteredCall::new(call.state, call.view.tenant.id, meter.clone(), held);
    let metered = metered.named(idempotent_name(call));
    Ok(Some(metered))
}

/// Has the call counted when its answer is complete. An answer that says that the call failed is not counted.
///
/// # Errors
/// `metering-unavailable`, for an answer without a body.
pub(super) fn finish(call: &Call<'_>, metered: MeteredCall, response: HttpResponse) -> Result<HttpResponse, Problem> {
    if response.status().as_u16() >= 400 {
        return Ok(response);
    }
    let quantity = u64::try_from(call.route.settings().meter_quantity).unwrap_or(0);
    let is_empty = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_empty || is_tunnel || *call.request.method() == Method::HEAD {
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

/// The name of a call that its client may repeat, for a service that does it once: caller, call and the client's key, hashed. Callers
/// who prove nothing are told apart by nothing, so their calls have no names.
fn idempotent_name(call: &Call<'_>) -> Option<String> {
    let settings = call.route.settings();
    let key = call.request.headers().get(&IDEMPOTENCY_KEY).filter(|_| settings.idempotency_key)?;
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
    ];
    for part in parts {
        // With their lengths, so that no two lists of parts read the same.
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Some(hex::encode(hash.finish()))
}
