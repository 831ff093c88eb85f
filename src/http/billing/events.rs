//! Usage events that are posted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::actors::billing_meter::RecordUsage;
use crate::clock;
use crate::domain::meter::MeterName;
use crate::domain::rate_limit::{Decision, RatePolicy};
use crate::domain::usage::{UsageAnswer, UsageEvent};
use crate::domain::usage_intake::is_name;
use crate::http::extract::{LargeJson, TenantScope, Then, UsageReporter, UserOrKey, parse_part};
use crate::http::middleware::edge::ceil_s;
use crate::http::openapi;
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;

/// Most events of one call.
const MAX_EVENTS: usize = 1_000;
/// What a body of so many events may have, in bytes.
const MAX_BODY: usize = 1 << 20;
/// How long a handler waits for the commit: longer than a transaction can take.
const RECORD_DEADLINE: Duration = Duration::from_secs(15);
/// Source of events that name none.
const SOURCE: &str = "api";

/// Events to be counted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PostEventsRequest {
    /// 1 to 1,000 events.
    #[schema(min_items = 1, max_items = 1000, value_type = Vec<EventRequest>)]
    events: RawEvents,
}

/// Events as they came: what is wrong with one is no reason to refuse the others.
#[derive(Debug)]
pub(in crate::http) struct RawEvents {
    /// The first [`MAX_EVENTS`].
    events: Vec<Box<RawValue>>,
    /// How many there are.
    n: usize,
}

impl<'de> Deserialize<'de> for RawEvents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = RawEvents;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawEvents, A::Error> {
                let mut events = Vec::new();
                while events.len() < MAX_EVENTS
                    && let Some(event) = list.next_element()?
                {
                    events.push(event);
                }
                let mut n = events.len();
                while n >= MAX_EVENTS && list.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(RawEvents { events, n })
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// One use of something that a meter counts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EventRequest {
    /// The reporter's own name for it, up to 255 bytes, such as a UUID: the same id again is the same event again, and is
    /// counted once.
    id: String,
    /// A meter of the configuration, such as `workflow_runs`.
    meter: String,
    /// How much, in the meter's unit: 0 to 1,000,000,000,000.
    quantity: i64,
    /// When it happened; left out: when it is taken in.
    occurred_at: Option<DateTime<Utc>>,
    /// What else is known: up to 16 texts.
    #[serde(default)]
    dims: BTreeMap<String, String>,
}

/// A CloudEvent (version 1.0, JSON format). What is not named here is passed over.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct CloudEvent {
    /// `1.0`.
    specversion: String,
    /// With `source` it says which event this is.
    id: String,
    /// Who reports it.
    source: String,
    /// The meter, unless `data` names one.
    r#type: String,
    /// When it happened; left out: when it is taken in.
    time: Option<DateTime<Utc>>,
    /// How much of what.
    data: CloudEventData,
}

/// What a CloudEvent says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CloudEventData {
    /// The meter, if `type` does not name it.
    meter: Option<String>,
    /// How much, in the meter's unit: 0 to 1,000,000,000,000.
    quantity: i64,
    /// What else is known: up to 16 texts.
    #[serde(default)]
    dims: BTreeMap<String, String>,
}

/// Either form of a body: an object, or a list of CloudEvents.
#[derive(Debug)]
pub(in crate::http) enum Body {
    Native(PostEventsRequest),
    CloudEvents(RawEvents),
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Body;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with events, or a list of CloudEvents")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Body, A::Error> {
                PostEventsRequest::deserialize(MapAccessDeserializer::new(map)).map(Body::Native)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Body, A::Error> {
                RawEvents::deserialize(SeqAccessDeserializer::new(list)).map(Body::CloudEvents)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// An event whose names are good; the rest of it may be wrong.
struct Posted {
    id: String,
    source: String,
    said: Result<Said, String>,
}

/// What an event says, though its meter may be none.
struct Said {
    meter: String,
    quantity: i64,
    occurred_at: Option<DateTime<Utc>>,
    dims: BTreeMap<String, String>,
}

/// The name of an event, by which it is answered.
#[derive(Deserialize)]
struct Name {
    id: String,
}

/// The names of a CloudEvent.
#[derive(Deserialize)]
struct CloudNames {
    id: String,
    #[serde(default)]
    source: String,
}

impl Body {
    /// The events, or every mistake in their names: without those nobody can be told what became of which.
    fn into_events(self) -> Result<Vec<Posted>, Problem> {
        let (pointer, RawEvents { events, n }, read): (_, _, fn(&RawValue) -> _) = match self {
            Self::Native(body) => ("/events", body.events, native),
            Self::CloudEvents(events) => ("", events, cloud),
        };
        if !(1..=MAX_EVENTS).contains(&n) {
            return Err(Problem::invalid_field(pointer.to_owned(), "must have 1 to 1000 entries".to_owned()));
        }
        let mut errors = Vec::new();
        let mut wrong = |place, error: FieldError| {
            errors.push(FieldError { pointer: format!("{pointer}/{place}{}", error.pointer), ..error });
        };
        let mut posted = Vec::with_capacity(events.len());
        for (place, event) in events.iter().enumerate() {
            let event = match read(event) {
                Ok(event) => event,
                Err(error) => {
                    wrong(place, error);
                    continue;
                }
            };
            for (field, name) in [("/id", &event.id), ("/source", &event.source)] {
                if !is_name(name) {
                    let detail = "must have 1 to 255 bytes and no control characters".to_owned();
                    wrong(place, FieldError { pointer: field.to_owned(), detail });
                }
            }
            posted.push(event);
        }
        if errors.is_empty() { Ok(posted) } else { Err(Problem::invalid_fields(errors)) }
    }
}

fn native(event: &RawValue) -> Result<Posted, FieldError> {
    let source = SOURCE.to_owned();
    Ok(match parse_part(event) {
        Ok(EventRequest { id, meter, quantity, occurred_at, dims }) => {
            Posted { id, source, said: Ok(Said { meter, quantity, occurred_at, dims }) }
        }
        Err(error) => Posted { id: parse_part::<Name>(event)?.id, source, said: Err(in_words(error)) },
    })
}

fn cloud(event: &RawValue) -> Result<Posted, FieldError> {
    let (id, source, said) = match parse_part(event) {
        Ok(CloudEvent { specversion, id, source, r#type, time, data }) => {
            let CloudEventData { meter, quantity, dims } = data;
            let said = Said { meter: meter.unwrap_or(r#type), quantity, occurred_at: time, dims };
            (id, source, if specversion == "1.0" { Ok(said) } else { Err("specversion: must be 1.0".to_owned()) })
        }
        Err(error) => {
            let CloudNames { id, source } = parse_part(event)?;
            (id, source, Err(in_words(error)))
        }
    };
    // Nobody can report in the name of the gateway or of a service.
    let source = if source.is_empty() { source } else { format!("{SOURCE}:{source}") };
    Ok(Posted { id, source, said })
}

/// What is wrong with an event, as answers say it.
fn in_words(FieldError { pointer, detail }: FieldError) -> String {
    let field = pointer.trim_start_matches('/').replace('/', ".");
    if field.is_empty() { detail } else { format!("{field}: {detail}") }
}

/// What became of the events, in the order in which they were sent.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PostEventsResponse {
    /// One for each event.
    results: Vec<EventResult>,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EventResult {
    /// Its id.
    id: String,
    /// What became of it.
    status: EventStatus,
    /// Why it was not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum EventStatus {
    /// It is counted, durably.
    Accepted,
    /// It had been counted before.
    Duplicate,
    /// Another event has its id; nothing was counted.
    Conflict,
    /// It cannot be counted.
    Rejected,
}

impl EventResult {
    fn new(id: String, answer: UsageAnswer) -> Self {
        let (status, detail) = match answer {
            UsageAnswer::Accepted => (EventStatus::Accepted, None),
            UsageAnswer::Duplicate => (EventStatus::Duplicate, None),
            UsageAnswer::Conflict => {
                (EventStatus::Conflict, Some("id: an event with other content was counted under it".to_owned()))
            }
            UsageAnswer::Rejected(why) => (EventStatus::Rejected, Some(why)),
        };
        Self { id, status, detail }
    }
}

/// Report usage: 1 to 1,000 events, or a batch of CloudEvents. For admins, and for API keys with `usage:write`. Each event is
/// answered for itself, after all that is counted is durable; one that cannot be read is `rejected`, and holds up no other. An event may be sent again, for instance after a 503 or a lost
/// answer: it is counted once, and answered `duplicate` if it had been counted. An event may be 62 days old (as configured); one
/// that comes more than three days after its month is counted with that month's late usage.
/// How many events a minute a tenant may send is a matter of its plan; what goes beyond is answered 429 `rate-limited`, and none of
/// the call's events is counted.
#[utoipa::path(post, path = "/billing/usage/events", tag = "billing", operation_id = "usage.post_events", security(("bearer" = [])),
    request_body(content((PostEventsRequest = "application/json"),
                         (Vec<CloudEvent> = "application/cloudevents-batch+json"))),
    responses((status = 200, description = "What became of each event", body = PostEventsResponse),
              openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn post_events(
    Then(reporter, LargeJson(body)): Then<UserOrKey<UsageReporter>, LargeJson<Body, MAX_BODY>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let posted = body.into_events()?;
    charge(&reporter.scope, posted.len())?;
    let mut ids = Vec::with_capacity(posted.len());
    let mut events = Vec::with_capacity(posted.len());
    for Posted { id, source, said } in posted {
        // What cannot be read is answered here; the others go on.
        let answer = said.and_then(|Said { meter, quantity, occurred_at, dims }| {
            let meter = MeterName::parse(&meter).map_err(|error| format!("meter: {error}"))?;
            events.push(UsageEvent { source, key: id.clone(), meter, quantity, occurred_at, dims, reservation: None });
            Ok(())
        });
        ids.push((id, answer));
    }
    let answers = if events.is_empty() {
        Vec::new()
    } else {
        let message = RecordUsage { tenant: reporter.scope.tenant.id(), events };
        state.meter.ask(message, RECORD_DEADLINE).await?
    };
    let mut answers = answers.into_iter();
    let results = ids.into_iter().map(|(id, sent)| match sent {
        Ok(()) => answers.next().map(|answer| EventResult::new(id, answer)),
        Err(why) => Some(EventResult::new(id, UsageAnswer::Rejected(why))),
    });
    let response = PostEventsResponse { results: results.flatten().collect() };
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(response))
}

/// Counts the call's events against what the plan allows in a minute, whatever becomes of them.
fn charge(scope: &TenantScope, n_events: usize) -> Result<(), Problem> {
    let per_minute = scope.view.plan.events_per_minute;
    let n_events = u32::try_from(n_events).unwrap_or(u32::MAX);
    match scope.tenant.take_events(n_events, RatePolicy::per_minute(per_minute), clock::monotonic_ns()) {
        Decision::Allowed { .. } => Ok(()),
        Decision::Refused { retry_after } => {
            let detail = format!("the tenant may report {per_minute} usage events a minute");
            Err(Problem::new(&kinds::RATE_LIMITED, detail).retry_after(ceil_s(retry_after)))
        }
    }
}
