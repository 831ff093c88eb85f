//! What is said on a stream, beside the events themselves.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::actors::tenant::TenantView;
use crate::db::stream_feed::{Counter, Picture};
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::QuotaState;

/// One meter in the picture.
#[derive(Debug, Serialize)]
struct MeterPicture<'a> {
    meter: &'a MeterName,
    used: i64,
    reserved: i64,
    included: i64,
    soft_limit: Option<i64>,
    hard_limit: Option<i64>,
    state: QuotaState,
}

/// The first message.
#[derive(Debug, Serialize)]
struct Snapshot<'a> {
    r#type: &'static str,
    id: i64,
    period: String,
    meters: Vec<MeterPicture<'a>>,
    /// Events between the client's number and this picture are gone: the picture is all there is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resync: bool,
}

/// A counter that was changed.
#[derive(Debug, Serialize)]
struct UsageUpdated<'a> {
    r#type: &'static str,
    meter: &'a MeterName,
    used: i64,
    reserved: i64,
    state: QuotaState,
}

/// Where the tenant stands with a counter's meter, under its present plan.
fn state(view: &TenantView, counter: &Counter) -> QuotaState {
    view.plan.meters.get(&counter.meter).map_or(QuotaState::Ok, |limits| {
        limits.state(counter.used, counter.resumed_version.as_deref() == Some(&*limits.version))
    })
}

/// The picture that a stream begins with: every meter that the platform knows, used or not.
pub(super) fn snapshot<'a>(
    view: &'a TenantView,
    known: impl Iterator<Item = &'a MeterName>,
    period: Period,
    picture: &'a Picture,
    resync: bool,
) -> String {
    let meters: BTreeSet<&MeterName> =
        known.chain(view.plan.meters.keys()).chain(picture.counters.iter().map(|counter| &counter.meter)).collect();
    let of = |meter: &'a MeterName| {
        let counter = picture.counters.iter().find(|counter| counter.meter == *meter);
        let limits = view.plan.meters.get(meter);
        MeterPicture {
            meter,
            used: counter.map_or(0, |counter| counter.used),
            reserved: counter.map_or(0, |counter| counter.reserved),
            included: limits.map_or(0, |limits| limits.included),
            soft_limit: limits.and_then(|limits| limits.soft),
            hard_limit: limits.and_then(|limits| limits.hard),
            state: match counter {
                Some(counter) => state(view, counter),
                None => limits.map_or(QuotaState::Ok, |limits| limits.state(0, false)),
            },
        }
    };
    let meters = meters.into_iter().map(of).collect();
    text(&Snapshot { r#type: "snapshot", id: picture.head, period: period.name(), meters, resync })
}

/// A changed counter's message.
pub(super) fn usage_updated(view: &TenantView, counter: &Counter) -> String {
    let Counter { meter, used, reserved, .. } = counter;
    let state = state(view, counter);
    text(&UsageUpdated { r#type: "usage.updated", meter, used: *used, reserved: *reserved, state })
}

fn text(message: &impl Serialize) -> String {
    // These types always serialise.
    serde_json::to_string(message).unwrap_or_default()
}
