//! The transaction that counts: keys → events → hours → counters → thresholds, all or nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::ingest::MeterContext;
use super::limits;
use super::metrics::Via;
use crate::actors::tenant::TenantHandle;
use crate::clock;
use crate::db::usage_counters::CounterChange;
use crate::db::usage_ingest::{self, CounterSum, HourSum, NewEvent, SeenValue};
use crate::db::{DbError, TenantTx, reservations};
use crate::domain::ids::ReservationId;
use crate::domain::meter::MeterName;
use crate::domain::period::Period;
use crate::domain::quota::Quotas;
use crate::domain::usage::{UsageAnswer, UsageEvent};
use crate::domain::usage_intake::{Placed, is_name, payload_hash};
use crate::domain::usage_tally::{Counted as Tallied, Figure, HourFigure};

/// What became of a batch.
pub(super) struct Counted {
    /// One answer for each event, in their order.
    pub(super) answers: Vec<UsageAnswer>,
    /// The present period's figures that changed.
    pub(super) quotas: Quotas,
}

/// An event on its way through the transaction.
struct Item<'e> {
    event: &'e UsageEvent,
    id: Uuid,
    hash: [u8; 32],
    fate: Fate,
}

enum Fate {
    /// It can be counted, if nobody has counted it before.
    Placed(Placed),
    /// It cannot, and why.
    Refused(String),
}

/// Counts a batch of one tenant's events that came in at `now`. What comes by the spool says when a call was answered, which
/// its reporter did not say.
pub(super) async fn count(
    context: &MeterContext,
    via: Via,
    handle: &TenantHandle,
    events: &[&UsageEvent],
    now: DateTime<Utc>,
) -> Result<Counted, DbError> {
    let mut items: Vec<Item<'_>> = events
        .iter()
        .map(|event| {
            let placed = match via {
                Via::Post => context.rules.place(event, now),
                Via::Spool => context.rules.place_seen(event, now),
            };
            let fate = placed.map_or_else(Fate::Refused, Fate::Placed);
            let said_at = event.occurred_at.filter(|_| via == Via::Post);
            Item { event, id: clock::new_id(), hash: payload_hash(event, said_at), fate }
        })
        .collect();
    let view = handle.view_full();
    let mut tx = TenantTx::begin(&context.db, handle.id()).await?;
    let locked = lock(&mut tx, &items).await?;
    refuse_overflow(&mut items, &locked);
    let fresh = insert(&mut tx, &items).await?;
    let known = list_known(&mut tx, &items, &fresh).await?;
    let given_back: Vec<ReservationId> = items.iter().filter_map(|item| item.event.reservation).collect();
    if !given_back.is_empty() {
        reservations::give_back(&mut tx, &given_back).await?;
    }
    let changes = add_up(&mut tx, &items, &fresh, &locked).await?;
    if !changes.is_empty() {
        limits::announce(&mut tx, &view, &changes).await?;
    }
    let answers = items.iter().map(|item| answer(item, &fresh, &known)).collect::<Result<_, _>>()?;
    tx.commit().await?;
    let quotas = changes.into_iter().filter(|change| change.now.period.contains(now));
    Ok(Counted { answers, quotas: quotas.map(|change| (change.meter, change.now)).collect() })
}

type Locked = BTreeMap<(MeterName, DateTime<Utc>), Figure>;

async fn lock(tx: &mut TenantTx, items: &[Item<'_>]) -> Result<Locked, DbError> {
    let wanted: BTreeMap<(MeterName, DateTime<Utc>), Period> = items
        .iter()
        .filter_map(|item| match &item.fate {
            Fate::Placed(placed) => Some(((item.event.meter.clone(), placed.period.start), placed.period)),
            Fate::Refused(_) => None,
        })
        .collect();
    if wanted.is_empty() {
        return Ok(Locked::new());
    }
    let wanted: Vec<(MeterName, Period)> = wanted.into_iter().map(|((meter, _), period)| (meter, period)).collect();
    let rows = usage_ingest::lock_counters(tx, &wanted).await?;
    Ok(rows.into_iter().map(|row| ((row.meter, row.period_start), row.figure)).collect())
}

/// No figure may grow beyond what can be added up. Whether an event was counted before is not known yet, so near the end a
/// batch is taken for all new.
fn refuse_overflow(items: &mut [Item<'_>], locked: &Locked) {
    let mut added: HashMap<(&MeterName, DateTime<Utc>), i128> = HashMap::new();
    for item in items {
        let Fate::Placed(placed) = &item.fate else { continue };
        let start = placed.period.start;
        let figure = locked.get(&(item.event.meter.clone(), start)).copied().unwrap_or_default();
        let sum = added.entry((&item.event.meter, start)).or_default();
        let with_it = *sum + i128::from(placed.counted.largest_addend());
        if figure.has_room_for(with_it) {
            *sum = with_it;
        } else {
            item.fate = Fate::Refused("quantity: the period's figure would be too large to be counted".to_owned());
        }
    }
}

/// Takes in what can be counted; of several with one key the first. Returns the ids of those that are new, by key.
async fn insert<'e>(
    tx: &mut TenantTx,
    items: &[Item<'e>],
) -> Result<HashMap<(&'e str, &'e str), (Uuid, [u8; 32])>, DbError> {
    let mut leaders: BTreeMap<(&'e str, &'e str), (&Item<'e>, &Placed)> = BTreeMap::new();
    for item in items {
        if let Fate::Placed(placed) = &item.fate {
            leaders.entry((&item.event.source, &item.event.key)).or_insert((item, placed));
        }
    }
    if leaders.is_empty() {
        return Ok(HashMap::new());
    }
    let new: Vec<NewEvent<'_>> = leaders
        .iter()
        .map(|((source, key), (item, placed))| NewEvent {
            id: item.id,
            source,
            key,
            payload_hash: item.hash,
            meter: &item.event.meter,
            quantity: item.event.quantity,
            occurred_at: placed.counted.occurred_at,
            is_late: placed.counted.is_late,
            dims: dims_json(&item.event.dims),
        })
        .collect();
    let fresh: HashSet<Uuid> = usage_ingest::insert(tx, &new).await?;
    let of_leaders = leaders.into_iter().filter(|(_, (item, _))| fresh.contains(&item.id));
    Ok(of_leaders.map(|(key, (item, _))| (key, (item.id, item.hash))).collect())
}

fn dims_json(dims: &BTreeMap<String, String>) -> String {
    // A map of texts always serialises.
    if dims.is_empty() { String::new() } else { serde_json::to_string(dims).unwrap_or_default() }
}

type Fresh<'e> = HashMap<(&'e str, &'e str), (Uuid, [u8; 32])>;
type Known = HashMap<(String, String), [u8; 32]>;

/// What was said before of the events that are not new. A refused one may have been counted when it was not yet too old.
async fn list_known(tx: &mut TenantTx, items: &[Item<'_>], fresh: &Fresh<'_>) -> Result<Known, DbError> {
    let keys: HashSet<(&str, &str)> = items
        .iter()
        .map(|item| (item.event.source.as_str(), item.event.key.as_str()))
        .filter(|key| !fresh.contains_key(key) && is_name(key.0) && is_name(key.1))
        .collect();
    if keys.is_empty() {
        return Ok(Known::new());
    }
    usage_ingest::list_known(tx, &keys.into_iter().collect::<Vec<_>>()).await
}

fn answer(item: &Item<'_>, fresh: &Fresh<'_>, known: &Known) -> Result<UsageAnswer, DbError> {
    let key = (item.event.source.as_str(), item.event.key.as_str());
    let said_before = match fresh.get(&key) {
        Some((id, _)) if *id == item.id => return Ok(UsageAnswer::Accepted),
        Some((_, hash)) => Some(hash),
        None => known.get(&(item.event.source.clone(), item.event.key.clone())),
    };
    match (said_before, &item.fate) {
        (Some(hash), _) if *hash == item.hash => Ok(UsageAnswer::Duplicate),
        (_, Fate::Refused(why)) => Ok(UsageAnswer::Rejected(why.clone())),
        (Some(_), Fate::Placed(_)) => Ok(UsageAnswer::Conflict),
        // Its key was forgotten between two statements: the next attempt finds it gone.
        (None, Fate::Placed(_)) => Err(DbError::Busy),
    }
}

/// Adds the new events to hours and counters; returns the counters that changed.
async fn add_up(
    tx: &mut TenantTx,
    items: &[Item<'_>],
    fresh: &Fresh<'_>,
    locked: &Locked,
) -> Result<Vec<CounterChange>, DbError> {
    let ids: HashSet<Uuid> = fresh.values().map(|(id, _)| *id).collect();
    let new: Vec<(&Item<'_>, &Placed)> = items
        .iter()
        .filter(|item| ids.contains(&item.id))
        .filter_map(|item| match &item.fate {
            Fate::Placed(placed) => Some((item, placed)),
            Fate::Refused(_) => None,
        })
        .collect();
    let mut new_values = note_values(tx, &new).await?;
    let mut figures: BTreeMap<(MeterName, DateTime<Utc>), Figure> = BTreeMap::new();
    let mut hours: BTreeMap<(MeterName, DateTime<Utc>), HourFigure> = BTreeMap::new();
    for (item, placed) in new {
        let meter = &item.event.meter;
        let is_new_value = seen_value(item, placed).is_some_and(|value| new_values.remove(&value));
        let counted = Tallied { is_new_value, ..placed.counted };
        let key = (meter.clone(), placed.period.start);
        let before = locked.get(&key).copied().unwrap_or_default();
        figures.entry(key).or_insert(before).count(&counted);
        let hour = hours.entry((meter.clone(), placed.hour()));
        hour.or_insert_with(|| HourFigure::new(counted.aggregation)).count(&counted);
    }
    if figures.is_empty() {
        return Ok(Vec::new());
    }
    let hours: Vec<HourSum> =
        hours.into_iter().map(|((meter, hour), figure)| HourSum { meter, hour, figure }).collect();
    usage_ingest::add_hours(tx, &hours).await?;
    let sums: Vec<CounterSum> =
        figures.into_iter().map(|((meter, period_start), figure)| CounterSum { meter, period_start, figure }).collect();
    let written = usage_ingest::write_counters(tx, &sums).await?;
    Ok(written
        .into_iter()
        .map(|(meter, now)| {
            let before = locked.get(&(meter.clone(), now.period.start)).map_or(0, |figure| figure.used);
            CounterChange { meter, before, now }
        })
        .collect())
}

async fn note_values(tx: &mut TenantTx, new: &[(&Item<'_>, &Placed)]) -> Result<HashSet<SeenValue>, DbError> {
    let values: HashSet<SeenValue> = new.iter().filter_map(|(item, placed)| seen_value(item, placed)).collect();
    if values.is_empty() {
        return Ok(values);
    }
    let mut values: Vec<SeenValue> = values.into_iter().collect();
    values.sort_unstable();
    usage_ingest::note_values(tx, &values).await
}

fn seen_value(item: &Item<'_>, placed: &Placed) -> Option<SeenValue> {
    let value_hash = placed.value_hash?;
    Some(SeenValue { meter: item.event.meter.clone(), period_start: placed.period.start, value_hash })
}
