//! What a tenant has used.

use std::collections::BTreeMap;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::tenant::TenantView;
use crate::clock;
use crate::config::Settings;
use crate::db::usage_reports::{DayRow, UsedRow};
use crate::db::{TenantTx, usage_reports};
use crate::domain::catalogue::MeterFigures;
use crate::domain::meter::Aggregation;
use crate::domain::period::Period;
use crate::domain::quota::QuotaState;
use crate::http::extract::{AnyUser, Then};
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Which usage is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct UsageQuery {
    /// A month (UTC), such as `2026-11`; left out: the present one.
    period: Option<String>,
    /// `day`: with the days of each meter.
    by: Option<String>,
}

/// What was used in a period.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct UsageResponse {
    /// The period's name.
    #[schema(example = "2026-11")]
    period: String,
    /// Its first instant.
    start: DateTime<Utc>,
    /// The first instant after it.
    end: DateTime<Utc>,
    /// By meter: every one that is configured or was used.
    meters: Vec<MeterUsage>,
}

/// What was used of one meter.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MeterUsage {
    /// The meter.
    meter: String,
    /// Used in the period.
    used: i64,
    /// Set aside for calls under way.
    reserved: i64,
    /// What came in after the period was closed, to be billed with a later one.
    late: i64,
    /// What the price of the present plan includes.
    included: i64,
    /// The present plan's soft limit.
    soft_limit: Option<i64>,
    /// The present plan's hard limit.
    hard_limit: Option<i64>,
    /// Where the period's usage stands under the present plan.
    #[schema(value_type = String, example = "ok")]
    state: QuotaState,
    /// What is to be paid beyond what is included, in the currency's smallest unit. Null: the plan has no price for more.
    overage_minor: Option<i64>,
    /// The days on which something was used, with `by=day`.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<Vec<DayUsage>>,
}

/// What was used on one day.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DayUsage {
    /// The day, in UTC.
    day: NaiveDate,
    /// What the meter made of the day's events, late ones too. For different values: those that are new in the period.
    quantity: i64,
}

/// What the tenant has used, in the present or an earlier month, by meter and, with `by=day`, by day. For all its users. Limits
/// and state are those of the present plan.
#[utoipa::path(get, path = "/billing/usage", tag = "billing", operation_id = "usage.get", security(("bearer" = [])),
    params(UsageQuery),
    responses((status = 200, description = "The usage", body = UsageResponse),
              (status = 422, description = "`validation-failed`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::SignedInProblems))]
pub(in crate::http) async fn get_usage(
    Then(user, query): Then<AnyUser, web::Query<UsageQuery>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let period = match query.period.as_deref() {
        None => Period::containing(clock::now()),
        Some(name) => {
            Period::parse(name).ok_or_else(|| Problem::invalid_field("/period", "must be a month, such as 2026-11"))?
        }
    };
    let by_day = match query.by.as_deref() {
        None => false,
        Some("day") => true,
        Some(_) => return Err(Problem::invalid_field("/by", "must be day")),
    };
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let used = usage_reports::list_used(&mut tx, period).await?;
    let days = if by_day { Some(usage_reports::list_days(&mut tx, period).await?) } else { None };
    tx.finish();
    let meters = meters(&state.settings, &user.scope.view, used, days);
    let response = UsageResponse { period: period.name(), start: period.start, end: period.end, meters };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(response))
}

fn meters(settings: &Settings, view: &TenantView, used: Vec<UsedRow>, days: Option<Vec<DayRow>>) -> Vec<MeterUsage> {
    let mut meters: BTreeMap<&str, Option<&UsedRow>> =
        settings.meters.keys().map(|meter| (meter.as_str(), None)).collect();
    meters.extend(used.iter().map(|row| (row.meter.as_str(), Some(row))));
    let of_meter = |meter: &str| {
        let aggregation = settings.meters.get(meter).map(|meter| meter.aggregation).unwrap_or_default();
        let rows = days.as_ref()?.iter().filter(|row| row.meter == meter);
        Some(rows.map(|row| DayUsage { day: row.day, quantity: quantity(aggregation, row) }).collect())
    };
    meters.into_iter().map(|(meter, row)| meter_usage(view, meter, row, of_meter(meter))).collect()
}

fn quantity(aggregation: Aggregation, row: &DayRow) -> i64 {
    match aggregation {
        Aggregation::Sum | Aggregation::Count | Aggregation::Unique => row.total,
        Aggregation::Max => row.largest,
        Aggregation::Latest => row.last,
    }
}

fn meter_usage(view: &TenantView, meter: &str, row: Option<&UsedRow>, days: Option<Vec<DayUsage>>) -> MeterUsage {
    let limits = view.plan.meters.get(meter);
    let price = view.subscription.figures.meters.get(meter).map(MeterFigures::price);
    let used = row.map_or(0, |row| row.used);
    let resumed = row.and_then(|row| row.resumed_version.as_deref());
    MeterUsage {
        meter: meter.to_owned(),
        used,
        reserved: row.map_or(0, |row| row.reserved),
        late: row.map_or(0, |row| row.late),
        included: limits.map_or(0, |limits| limits.included),
        soft_limit: limits.and_then(|limits| limits.soft),
        hard_limit: limits.and_then(|limits| limits.hard),
        state: limits.map_or(QuotaState::Ok, |limits| limits.state(used, resumed == Some(&*limits.version))),
        // A sum that does not fit is no figure to be shown.
        overage_minor: price.and_then(|price| price.cost(used).ok().flatten()),
        days,
    }
}
