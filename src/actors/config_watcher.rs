//! Follows the log of configuration changes, so that a change made through any node reaches this one's views.
//!
//! A notification is a wake-up and nothing more: anybody who may connect can send one, so what it says is not read. The log is
//! polled after each, and at least every second, because a notification is lost with its connection.
//! Numbers of the log are taken before their transactions commit, so the poll looks back over a window and applies what it has
//! not seen yet; applying twice does no harm.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgListener;

use super::ask::{ActorRef, ChildActor, Ctx};
use super::tenant::registry::{ApplyChange, RegistryActor};
use crate::clock;
use crate::db::config_log::{self, ConfigChange};
use crate::db::{Db, DbError, SystemReason, SystemTx};

/// The longest a lost notification can go unnoticed.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Rest between two polls, so that a flood of notifications is no flood of queries.
const REST: Duration = Duration::from_millis(5);
/// How far back a poll looks: longer than any transaction that writes to the log may last.
const WINDOW: chrono::TimeDelta = chrono::TimeDelta::seconds(60);
/// Rows older than this are of no use to anybody.
const KEEP: chrono::TimeDelta = chrono::TimeDelta::hours(24);
/// How often old rows are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// Patience with the registry's actor.
const APPLY_DEADLINE: Duration = Duration::from_secs(1);
/// Wait before the database is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Turns rows of the config log into messages to the registry.
pub struct ConfigWatcher {
    db: Db,
    registry: ActorRef<RegistryActor>,
    listener: Option<PgListener>,
    seen: Seen,
    is_failing: bool,
}

/// Numbers of the log that were applied, as far back as a poll looks.
#[derive(Debug, Default)]
struct Seen {
    seqs: HashSet<i64>,
}

impl Seen {
    /// Keeps only what the last poll's window shows, so that the set stays small.
    fn retain_window(&mut self, window: &[ConfigChange]) {
        let in_window: HashSet<i64> = window.iter().map(|change| change.seq).collect();
        self.seqs.retain(|seq| in_window.contains(seq));
    }
}

/// What one step of watching came to: the listener, if there still is one, and the log's window.
struct Step {
    listener: Option<PgListener>,
    window: Result<Vec<ConfigChange>, DbError>,
}

impl ConfigWatcher {
    /// A watcher that tells `registry`.
    #[must_use]
    pub fn new(db: Db, registry: ActorRef<RegistryActor>) -> Self {
        Self { db, registry, listener: None, seen: Seen::default(), is_failing: false }
    }

    fn step(&mut self, ctx: &mut Ctx<'_, Self>) {
        let (db, listener) = (self.db.clone(), self.listener.take());
        ctx.spawn(async move { watch(&db, listener).await }, Self::finish_step);
    }

    fn finish_step(&mut self, step: Step, ctx: &mut Ctx<'_, Self>) {
        self.listener = step.listener;
        let window = match step.window {
            Ok(window) => window,
            Err(error) => {
                self.report(Some(&error));
                ctx.run_later(RETRY_AFTER, Self::step);
                return;
            }
        };
        self.report(None);
        self.seen.retain_window(&window);
        let unseen: Vec<_> = window.into_iter().filter(|change| !self.seen.seqs.contains(&change.seq)).collect();
        let registry = self.registry.clone();
        ctx.spawn(async move { apply(&registry, unseen).await }, |actor, applied, ctx| {
            actor.seen.seqs.extend(applied);
            // Armed, not called: a stop waits for work under way, and a timer does not fire any more then.
            ctx.run_later(REST, Self::step);
        });
    }

    /// Says once that the database went away, and once that it is back.
    fn report(&mut self, error: Option<&DbError>) {
        match (error, self.is_failing) {
            (Some(error), false) => {
                tracing::warn!(error = error as &dyn std::error::Error, "configuration changes cannot be followed");
            }
            (None, true) => tracing::info!("configuration changes are followed again"),
            (Some(_), true) | (None, false) => {}
        }
        self.is_failing = error.is_some();
    }

    fn prune(&mut self, ctx: &mut Ctx<'_, Self>) {
        let db = self.db.clone();
        let work = async move {
            let system = SystemTx::new(&db, SystemReason::WatchConfig);
            config_log::prune(&system, clock::now() - KEEP).await
        };
        ctx.spawn(work, |_actor, pruned, ctx| {
            match pruned {
                Ok(n) => tracing::debug!(n, "old configuration changes were deleted"),
                Err(error) => tracing::warn!(%error, "old configuration changes were not deleted"),
            }
            ctx.run_later(PRUNE_EVERY, Self::prune);
        });
    }
}

/// Waits for the next notification, at most until the next poll is due, and polls.
async fn watch(db: &Db, listener: Option<PgListener>) -> Step {
    let listener = match listener {
        Some(mut active) => match tokio::time::timeout(POLL_EVERY, active.try_recv()).await {
            Ok(Ok(Some(_wake_up))) => {
                // One poll answers all that have arrived.
                while active.next_buffered().is_some() {}
                Some(active)
            }
            // The connection was lost: listen anew.
            Ok(Ok(None) | Err(_)) => None,
            Err(_elapsed) => Some(active),
        },
        None => None,
    };
    // Listening begins before the poll that follows: nothing falls between the two.
    let listener = match listener {
        Some(listener) => listener,
        None => match db.listen().await {
            Ok(listener) => listener,
            Err(error) => return Step { listener: None, window: Err(error) },
        },
    };
    Step { listener: Some(listener), window: poll(db).await }
}

async fn poll(db: &Db) -> Result<Vec<ConfigChange>, DbError> {
    let system = SystemTx::new(db, SystemReason::WatchConfig);
    config_log::list_since(&system, clock::now() - WINDOW).await
}

/// Returns the numbers that the registry took; the others come again with the next poll.
async fn apply(registry: &ActorRef<RegistryActor>, changes: Vec<ConfigChange>) -> Vec<i64> {
    let mut applied = Vec::with_capacity(changes.len());
    for change in changes {
        match registry.ask(ApplyChange { change }, APPLY_DEADLINE).await {
            Ok(()) => applied.push(change.seq),
            Err(error) => tracing::warn!(%error, "a configuration change waits for the registry"),
        }
    }
    applied
}

impl ChildActor for ConfigWatcher {
    const KIND: &'static str = "config_watcher";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.step(ctx);
        ctx.run_later(PRUNE_EVERY, Self::prune);
    }
}
