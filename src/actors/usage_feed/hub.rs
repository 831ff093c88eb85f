//! The streams that this process holds open, and how far each has come.
//!
//! The database is the log: each listener has the number of the last event that it was given, and the feed asks for what comes
//! after the lowest of them. So a listener misses nothing and gets nothing twice, however its registration and a poll under way fall
//! together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::pace::Pace;
use crate::clock;
use crate::db::stream_feed::{Counter, News, Question, StreamEvent};
use crate::domain::ids::TenantId;
use crate::domain::period::Period;

/// The last fifth of all streams is for tenants with fewer than this many open.
const RESERVED_PER_TENANT: usize = 3;

/// Events of one tenant that are asked for at once at most.
const MAX_PAGE: i64 = 200;

/// How many streams may be open, and how much may wait for one.
#[derive(Debug, Clone, Copy)]
pub struct HubLimits {
    /// Streams of one tenant.
    pub max_per_tenant: usize,
    /// Streams of all tenants. The last fifth of them is for tenants with fewer than three.
    pub max_total: usize,
    /// News that wait for a listener; one more and it is dropped.
    pub queue: usize,
}

/// Why a stream cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HubFull {
    /// The tenant has as many as it may.
    #[error("the tenant has as many streams as it may")]
    Tenant,
    /// There are as many as there may be.
    #[error("there are as many streams as there may be")]
    Total,
}

/// What a listener is told.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An event, as the text of its message.
    Event {
        /// Its number.
        id: i64,
        /// The message: JSON.
        text: Arc<str>,
    },
    /// A counter, as it is now; at most one a second for each meter.
    Usage(Arc<Counter>),
}

/// Shared by the feed and by the streams.
#[derive(Debug)]
pub struct Hub {
    limits: HubLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    tenants: HashMap<TenantId, Watched>,
    n_places: usize,
    last_listener: u64,
}

#[derive(Debug, Default)]
struct Watched {
    n_places: usize,
    listeners: HashMap<u64, Listener>,
    pace: Pace,
}

#[derive(Debug)]
struct Listener {
    /// Number of the last event that it was given.
    cursor: i64,
    queue: Sender<Notice>,
}

/// Room for one stream; given back when dropped, with whatever listens there.
#[derive(Debug)]
pub struct Place {
    hub: Arc<Hub>,
    tenant: TenantId,
    listener: Option<u64>,
}

impl Hub {
    /// An empty hub.
    #[must_use]
    pub fn new(limits: HubLimits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// Takes room for one stream.
    ///
    /// # Errors
    /// [`HubFull`].
    pub fn enter(self: &Arc<Self>, tenant: TenantId) -> Result<Place, HubFull> {
        let mut open = self.lock();
        let (n_open, n_own) = (open.n_places, open.tenants.get(&tenant).map_or(0, |watched| watched.n_places));
        if n_own >= self.limits.max_per_tenant {
            return Err(HubFull::Tenant);
        }
        // So that a few tenants with many streams cannot shut the others out.
        let is_reserve = n_open.saturating_mul(5) >= self.limits.max_total.saturating_mul(4);
        if n_open >= self.limits.max_total || (is_reserve && n_own >= RESERVED_PER_TENANT) {
            return Err(HubFull::Total);
        }
        open.tenants.entry(tenant).or_default().n_places += 1;
        open.n_places += 1;
        Ok(Place { hub: Arc::clone(self), tenant, listener: None })
    }

    /// Streams that are open.
    #[must_use]
    pub fn n_open(&self) -> usize {
        self.lock().n_places
    }

    /// Events of one tenant that may be handed out at once: so many that a listener which reads what it gets has room for them, and for
    /// as many again.
    pub(super) fn page(&self) -> i64 {
        i64::try_from(self.limits.queue / 2).unwrap_or(i64::MAX).clamp(1, MAX_PAGE)
    }

    /// What the feed asks for, one question for each tenant that somebody listens to.
    pub(super) fn questions(&self, present: Period) -> Vec<Question> {
        let open = self.lock();
        let ask = |(tenant, watched): (&TenantId, &Watched)| {
            let after = watched.listeners.values().map(|listener| listener.cursor).min()?;
            Some(Question { tenant: *tenant, after, known: watched.pace.known(present.start) })
        };
        open.tenants.iter().filter_map(ask).collect()
    }

    /// Hands out what was found, and whatever counters have waited long enough.
    pub(super) fn hand_out(&self, asked: &[Question], news: Vec<(TenantId, News)>) {
        let from: HashMap<TenantId, i64> = asked.iter().map(|question| (question.tenant, question.after)).collect();
        let mut open = self.lock();
        for (tenant, news) in news {
            // Whoever listened may be gone.
            let Some(watched) = open.tenants.get_mut(&tenant) else { continue };
            match news {
                News::Counter(counter) => watched.pace.note(counter),
                News::Event(event) => watched.tell(&event, from.get(&tenant).copied().unwrap_or(i64::MAX)),
            }
        }
        let now_ns = clock::monotonic_ns();
        for watched in open.tenants.values_mut().filter(|watched| !watched.listeners.is_empty()) {
            for counter in watched.pace.due(now_ns) {
                let usage = Notice::Usage(counter);
                watched.listeners.retain(|_, listener| listener.queue.try_send(usage.clone()).is_ok());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Gives an event to everybody who has not had it. `from` is where the answer that it is a part of begins: a listener that is not
    /// so far yet came after the question, and would miss what lies between. A listener whose queue is full is dropped.
    fn tell(&mut self, event: &StreamEvent, from: i64) {
        let mut text: Option<Arc<str>> = None;
        self.listeners.retain(|_, listener| {
            if listener.cursor < from || event.id <= listener.cursor {
                return true;
            }
            listener.cursor = event.id;
            let text = Arc::clone(text.get_or_insert_with(|| message(event).into()));
            listener.queue.try_send(Notice::Event { id: event.id, text }).is_ok()
        });
    }
}

/// An event's message: what it says, with its type, number and time.
#[must_use]
pub fn message(event: &StreamEvent) -> String {
    let mut fields = match &event.payload {
        Value::Object(fields) => fields.clone(),
        other => Map::from_iter([("detail".to_owned(), other.clone())]),
    };
    fields.insert("type".to_owned(), event.kind.as_str().into());
    fields.insert("id".to_owned(), event.id.into());
    fields.insert("at".to_owned(), event.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into());
    Value::Object(fields).to_string()
}

impl Place {
    /// Begins to listen to what comes after an event. The queue ends when the listener was dropped because it was full. It begins
    /// with the counters of the present period as they are known here: one that was changed after the caller had looked, and was handed out
    /// to the others meanwhile, is not asked for again.
    pub fn listen(&mut self, after: i64, present: Period) -> Receiver<Notice> {
        let mut open = self.hub.lock();
        open.last_listener += 1;
        let id = open.last_listener;
        let counters = open.tenants.get(&self.tenant).map(|watched| watched.pace.of_period(present.start));
        let counters = counters.unwrap_or_default();
        // They take nothing from what may wait for a listener.
        let (queue, notices) = mpsc::channel(self.hub.limits.queue.saturating_add(counters.len()));
        for counter in counters {
            // There is room, and the receiver is here.
            let _ = queue.try_send(Notice::Usage(counter));
        }
        if let Some(watched) = open.tenants.get_mut(&self.tenant) {
            if let Some(before) = self.listener.replace(id) {
                watched.listeners.remove(&before);
            }
            watched.listeners.insert(id, Listener { cursor: after, queue });
        }
        notices
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.hub.lock();
        open.n_places -= 1;
        let Some(watched) = open.tenants.get_mut(&self.tenant) else { return };
        if let Some(listener) = self.listener {
            watched.listeners.remove(&listener);
        }
        watched.n_places -= 1;
        if watched.n_places == 0 {
            open.tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
