//! Quotas on the gateway's routes: who is refused before anything is forwarded, and what answers say of it.
//!
//! Everything here reads the figures that the tenant's supervisor has published; only what is set aside under a hard limit asks the
//! database. A route that counts nothing and pauses with nothing passes without a look.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, LINK};
use actix_web::web;

use super::gateway::metered::Held;
use super::middleware::edge::ceil_s;
use super::problem::{Kind, Problem, QuotaFacts, kinds};
use super::state::AppState;
use crate::actors::billing_meter::reservations::{self, ReserveError};
use crate::actors::tenant::{TenantHandle, TenantView};
use crate::clock;
use crate::config::RouteSettings;
use crate::domain::meter::MeterName;
use crate::domain::quota::{QuotaState, Standing, standing};
use crate::domain::rate_limit::{Decision, RatePolicy};

static X_QUOTA_METER: HeaderName = HeaderName::from_static("x-quota-meter");
static X_QUOTA_LIMIT: HeaderName = HeaderName::from_static("x-quota-limit");
static X_QUOTA_USED: HeaderName = HeaderName::from_static("x-quota-used");
static X_QUOTA_REMAINING: HeaderName = HeaderName::from_static("x-quota-remaining");
static X_QUOTA_STATE: HeaderName = HeaderName::from_static("x-quota-state");
static X_QUOTA_RESET: HeaderName = HeaderName::from_static("x-quota-reset");
static X_UPGRADE_URL: HeaderName = HeaderName::from_static("x-upgrade-url");

/// Time after which a call that could not be written down may be tried again, in seconds.
const RETRY_SPOOL_S: u64 = 5;

/// Where a tenant stands with the meter of a route.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    meter: MeterName,
    standing: Standing,
    /// The caller has proved to belong to the tenant, and may know its figures.
    is_shown: bool,
}

/// Lets a call pass, or says why not. Returns where the tenant stands with the route's own meter, if it has one. The figures are in
/// answers only if `is_shown`: they are nothing for a caller without a credential.
///
/// # Errors
/// `quota-exceeded`, `quota-throttled` or `metering-unavailable`.
pub(super) fn check(
    state: &AppState,
    tenant: &TenantHandle,
    view: &TenantView,
    route: &RouteSettings,
    is_shown: bool,
) -> Result<Option<Quota>, Problem> {
    if route.meter.is_none() && route.pauses_with.is_empty() && route.usage_header.is_empty() {
        return Ok(None);
    }
    let is_counted = route.meter.is_some() || !route.usage_header.is_empty();
    if is_counted && !state.spool.has_room() {
        return Err(unavailable());
    }
    let quotas = tenant.quotas();
    let now = clock::now();
    let of = |meter: &MeterName| Quota {
        meter: meter.clone(),
        standing: standing(view.plan.meters.get(meter), quotas.get(meter), now),
        is_shown,
    };
    let shut = route.pauses_with.iter().map(of).find(|quota| quota.standing.state >= QuotaState::Paused);
    // What a service will report is not known before, so nothing of it can be set aside; at the limit nothing more is begun.
    let spent = || route.usage_header.iter().map(of).find(|quota| quota.standing.state == QuotaState::Hard);
    if let Some(quota) = shut.or_else(spent) {
        return Err(quota.exceeded(state));
    }
    let Some(meter) = &route.meter else { return Ok(None) };
    let quota = of(meter);
    match quota.standing.state {
        QuotaState::Hard => Err(quota.exceeded(state)),
        QuotaState::Throttled => quota.throttle(state, tenant).map(Some),
        QuotaState::Ok | QuotaState::Warn | QuotaState::Soft | QuotaState::Paused => Ok(Some(quota)),
    }
}

/// Sets usage aside if the meter has a hard limit. A refusal has the figures if `is_shown`.
///
/// # Errors
/// `quota-exceeded`, or that the database does not answer.
pub(super) async fn set_aside(
    state: &web::Data<AppState>,
    view: &TenantView,
    meter: &MeterName,
    quantity: i64,
    is_shown: bool,
) -> Result<Option<Held>, Problem> {
    let limits = view.plan.meters.get(meter).filter(|limits| limits.hard.is_some());
    let Some(limits) = limits else { return Ok(None) };
    let ttl = std::time::Duration::from_secs(state.settings.metering.reservation_ttl_s);
    // Boxed: few calls get here, and each would have room for it.
    match Box::pin(reservations::reserve(&state.db, view, meter, quantity, ttl)).await {
        Ok(reserved) => Ok(reserved.id.map(|id| Held::new(state, view.tenant.id, id))),
        Err(ReserveError::Exceeded { limit: _, used, reserved, period }) => {
            let standing = Standing { period, used, reserved, limits: Some(limits.clone()), state: QuotaState::Hard };
            Err(Quota { meter: meter.clone(), standing, is_shown }.exceeded(state))
        }
        Err(ReserveError::Db(error)) => Err(error.into()),
    }
}

/// The answer while usage cannot be written down.
pub(super) fn unavailable() -> Problem {
    Problem::new(&kinds::METERING_UNAVAILABLE, "usage cannot be written down at the moment; try again soon")
        .retry_after(RETRY_SPOOL_S)
}

impl Quota {
    /// The limit that matters: the hard one where that is what is reached, else the soft one.
    fn limit(&self) -> Option<i64> {
        let limits = self.standing.limits.as_ref()?;
        match self.standing.state {
            QuotaState::Hard => limits.hard.or(limits.soft),
            QuotaState::Ok | QuotaState::Warn | QuotaState::Soft | QuotaState::Throttled | QuotaState::Paused => {
                limits.reference()
            }
        }
    }

    fn seconds_left(&self) -> u64 {
        let left = self.standing.period.end - clock::now();
        // Rounded up: at the end of the last second the new period has begun.
        u64::try_from(left.num_seconds()).map_or(1, |seconds| seconds + 1)
    }

    fn exceeded(&self, state: &AppState) -> Problem {
        let detail = format!("the quota of {} is used up until the period ends, or the plan changes", self.meter);
        self.problem(state, &kinds::QUOTA_EXCEEDED, detail).retry_after(self.seconds_left())
    }

    fn problem(&self, state: &AppState, kind: &'static Kind, detail: String) -> Problem {
        let url = &state.settings.gateway.upgrade_url;
        if !self.is_shown {
            return Problem::new(kind, detail).upgrade_url(url);
        }
        let facts = QuotaFacts {
            meter: self.meter.clone(),
            limit: self.limit(),
            used: self.standing.used,
            resets_at: self.standing.period.end,
        };
        let mut headers = HeaderMap::new();
        self.add_headers(&mut headers, url);
        let problem = Problem::new(kind, detail).upgrade_url(url).quota(facts);
        headers.into_iter().fold(problem, |problem, (name, value)| problem.header(name, value))
    }

    /// Takes one call from the rate that is left past the soft limit.
    fn throttle(self, state: &AppState, tenant: &TenantHandle) -> Result<Self, Problem> {
        let per_minute = self.standing.limits.as_ref().map_or(1, |limits| limits.throttle_per_minute);
        match tenant.take_throttled(&self.meter, RatePolicy::per_minute(per_minute), clock::monotonic_ns()) {
            Decision::Allowed { .. } => Ok(self),
            Decision::Refused { retry_after } => {
                let detail = format!("the quota of {} is used up: {per_minute} calls a minute are left", self.meter);
                Err(self.problem(state, &kinds::QUOTA_THROTTLED, detail).retry_after(ceil_s(retry_after)))
            }
        }
    }

    /// Says in an answer where the tenant stands and, once that is not well, where more is to be had.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap, upgrade_url: &str) {
        if !self.is_shown {
            return;
        }
        let mut set = |name: &HeaderName, value: HeaderValue| drop(headers.insert(name.clone(), value));
        if let Ok(meter) = HeaderValue::from_str(self.meter.as_str()) {
            set(&X_QUOTA_METER, meter);
        }
        set(&X_QUOTA_USED, self.standing.used.into());
        set(&X_QUOTA_STATE, HeaderValue::from_static(name_of(self.standing.state)));
        set(&X_QUOTA_RESET, self.seconds_left().into());
        if let Some(limit) = self.limit() {
            set(&X_QUOTA_LIMIT, limit.into());
            set(&X_QUOTA_REMAINING, limit.saturating_sub(self.standing.used).max(0).into());
        }
        if self.standing.state == QuotaState::Ok {
            return;
        }
        let link = HeaderValue::from_str(&format!("<{upgrade_url}>; rel=\"payment\"; title=\"upgrade\""));
        if let (Ok(link), Ok(url)) = (link, HeaderValue::from_str(upgrade_url)) {
            set(&X_UPGRADE_URL, url);
            // The service may have links of its own.
            headers.append(LINK, link);
        }
    }
}

/// The state as headers and the API spell it.
fn name_of(state: QuotaState) -> &'static str {
    match state {
        QuotaState::Ok => "ok",
        QuotaState::Warn => "warn",
        QuotaState::Soft => "soft",
        QuotaState::Throttled => "throttled",
        QuotaState::Paused => "paused",
        QuotaState::Hard => "hard",
    }
}
