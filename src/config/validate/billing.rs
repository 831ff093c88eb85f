//! Mistakes in `[metering]`, `[meters]`, `[plans]`, and in what routes say of meters.

use crate::config::{MAX_REST_S, MeterSettings, PlanMeterSettings, RouteKind, RouteSettings, Settings};
use crate::domain::meter::{Aggregation, MeterName};
use crate::domain::usage::MAX_QUANTITY;

/// Highest threshold, in percent.
const MAX_THRESHOLD: u16 = 1_000;
/// Fewest events a minute: the largest call must be able to pass.
const MIN_EVENTS: u64 = 1_000;
/// Most events a minute.
const MAX_EVENTS: u64 = 1_000_000_000;

/// Every mistake, each as `key: found, expected`.
pub(super) fn validate(settings: &Settings) -> Vec<String> {
    let mut mistakes = Vec::new();
    check_metering(settings, &mut mistakes);
    for (name, meter) in &settings.meters {
        check_meter(&format!("meters.{name}"), meter, &mut mistakes);
    }
    for (name, plan) in &settings.plans {
        let key = format!("plans.{name}");
        expect(plan.version >= 1, &mut mistakes, || format!("{key}.version: found 0, expected 1 or more"));
        if let Some(found) = plan.events_per_minute {
            expect((MIN_EVENTS..=MAX_EVENTS).contains(&u64::from(found)), &mut mistakes, || {
                format!("{key}.events_per_minute: found {found}, expected {MIN_EVENTS} to {MAX_EVENTS}")
            });
        }
        for (meter, figures) in &plan.meters {
            let key = format!("{key}.meters.{meter}");
            check_known(settings, &key, meter, &mut mistakes);
            check_figures(&key, figures, &mut mistakes);
        }
    }
    for (index, route) in settings.gateway.routes.iter().enumerate() {
        check_route(settings, &format!("gateway.routes[{index}] ({})", route.prefix), route, &mut mistakes);
    }
    mistakes
}

pub(super) fn expect(ok: bool, mistakes: &mut Vec<String>, text: impl FnOnce() -> String) {
    if !ok {
        mistakes.push(text());
    }
}

fn check_metering(settings: &Settings, mistakes: &mut Vec<String>) {
    let metering = &settings.metering;
    for (key, value, min, max) in [
        ("flush_ms", metering.flush_ms, 10, 60_000),
        ("spool_max_bytes", metering.spool_max_bytes, 65_536, 1_099_511_627_776),
        ("max_age_days", u64::from(metering.max_age_days), 1, 366),
        ("late_grace_h", u64::from(metering.late_grace_h), 0, 720),
        ("reservation_ttl_s", metering.reservation_ttl_s, 1, 86_400),
        ("events_per_minute", u64::from(metering.events_per_minute), MIN_EVENTS, MAX_EVENTS),
        ("event_retention_months", u64::from(metering.event_retention_months), 3, 1_200),
        // A key must live longer than anybody may send its event again.
        (
            "dedup_retention_days",
            u64::from(metering.dedup_retention_days),
            u64::from(metering.max_age_days) + 35,
            3_650,
        ),
    ] {
        expect((min..=max).contains(&value), mistakes, || {
            format!("metering.{key}: found {value}, expected {min} to {max}")
        });
    }
}

fn check_meter(key: &str, meter: &MeterSettings, mistakes: &mut Vec<String>) {
    match (meter.aggregation, meter.unique_by.as_deref()) {
        (Aggregation::Unique, None | Some("")) => {
            mistakes.push(format!("{key}.unique_by: found none, expected the dimension whose values are counted"));
        }
        (Aggregation::Unique, Some(_)) | (_, None) => {}
        (_, Some(dimension)) => mistakes.push(format!(
            "{key}.unique_by: found {dimension:?}, expected none, because the aggregation is not \"unique\""
        )),
    }
}

fn check_known(settings: &Settings, key: &str, meter: &MeterName, mistakes: &mut Vec<String>) {
    expect(settings.meters.contains_key(meter), mistakes, || {
        format!("{key}: found the meter {:?}, expected a name of [meters]", meter.as_str())
    });
}

fn check_figures(key: &str, figures: &PlanMeterSettings, mistakes: &mut Vec<String>) {
    let PlanMeterSettings {
        included,
        overage_unit_price: _,
        soft_limit,
        hard_limit,
        thresholds,
        on_exceed: _,
        throttle_per_minute,
    } = figures;
    for (name, value) in [("included", &Some(*included)), ("soft_limit", soft_limit), ("hard_limit", hard_limit)] {
        expect(value.is_none_or(|value| value >= 0), mistakes, || {
            format!("{key}.{name}: found {}, expected 0 or more", value.unwrap_or_default())
        });
    }
    if let (Some(soft), Some(hard)) = (soft_limit, hard_limit) {
        expect(hard >= soft, mistakes, || {
            format!("{key}.hard_limit: found {hard}, expected at least the soft limit, which is {soft}")
        });
    }
    for threshold in thresholds {
        expect((1..=MAX_THRESHOLD).contains(threshold), mistakes, || {
            format!("{key}.thresholds: found {threshold}, expected percentages from 1 to {MAX_THRESHOLD}")
        });
    }
    expect(*throttle_per_minute >= 1, mistakes, || {
        format!("{key}.throttle_per_minute: found 0, expected 1 or more (on_exceed = \"pause\" lets none through)")
    });
}

fn check_route(settings: &Settings, key: &str, route: &RouteSettings, mistakes: &mut Vec<String>) {
    for (name, meter) in route.named_meters() {
        check_known(settings, &format!("{key}.{name}"), meter, mistakes);
    }
    expect((1..=MAX_QUANTITY).contains(&route.meter_quantity), mistakes, || {
        format!("{key}.meter_quantity: found {}, expected 1 to {MAX_QUANTITY}", route.meter_quantity)
    });
    check_time(settings, key, route, mistakes);
    expect((1..=720).contains(&route.idempotency_key_ttl_h), mistakes, || {
        format!("{key}.idempotency_key_ttl_h: found {}, expected 1 to 720", route.idempotency_key_ttl_h)
    });
    match route.kind {
        RouteKind::Http => expect(route.provider_secret.is_none(), mistakes, || {
            format!("{key}.provider_secret: found one, expected none, because the route's kind is not \"openai\"")
        }),
        RouteKind::OpenAi => {
            expect(route.meter_quantity == 1, mistakes, || {
                format!("{key}.meter_quantity: found {}, expected none: tokens are counted", route.meter_quantity)
            });
            expect(!route.websocket, mistakes, || {
                format!("{key}.websocket: found true, expected false: nobody counts the tokens of a tunnel")
            });
            expect(route.max_output_tokens >= 1, mistakes, || {
                format!("{key}.max_output_tokens: found 0, expected 1 or more")
            });
        }
    }
}

/// What is set aside for a call must still be there when it is counted: while its head is waited for, and while the rest of its
/// answer is read. A TTL out of its range has been told already.
fn check_time(settings: &Settings, key: &str, route: &RouteSettings, mistakes: &mut Vec<String>) {
    let ttl_ms = settings.metering.reservation_ttl_s.saturating_mul(1_000);
    let connecting = route.connect_timeout_ms.saturating_mul(u64::from(route.retries).saturating_add(1));
    let most = ttl_ms.saturating_sub(connecting.saturating_add(MAX_REST_S * 1_000));
    expect(route.meter.is_none() || ttl_ms == 0 || route.first_byte_timeout_ms < most, mistakes, || {
        format!(
            "{key}.first_byte_timeout_ms: found {}, expected less than {most}: metering.reservation_ttl_s without the {MAX_REST_S} s \
             for the rest of an answer, and the time to connect",
            route.first_byte_timeout_ms
        )
    });
}

#[cfg(test)]
#[path = "billing_tests.rs"]
mod tests;
