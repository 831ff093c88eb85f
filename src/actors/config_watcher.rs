//! Follows the log of configuration changes, so that a change made through any node reaches this one's views.
//!
//! Notifications make it quick (milliseconds), a poll each second makes it certain: a notification is lost with its connection.
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

/// What one step of watching came to.
enum Step {
    Notified(PgListener, ConfigChange),
    /// Time to poll, with or without a listener.
    Poll(Option<PgListener>, Result<Vec<ConfigChange>, DbError>),
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
        let changes = match step {
            Step::Notified(listener, change) => {
                self.listener = Some(listener);
                vec![change]
            }
            Step::Poll(listener, Ok(window)) => {
                self.listener = listener;
                self.report(None);
                self.seen.retain_window(&window);
                window
            }
            Step::Poll(listener, Err(error)) => {
                self.listener = listener;
                self.report(Some(&error));
                ctx.run_later(RETRY_AFTER, Self::step);
                return;
            }
        };
        let unseen: Vec<_> = changes.into_iter().filter(|change| !self.seen.seqs.contains(&change.seq)).collect();
        let registry = self.registry.clone();
        ctx.spawn(async move { apply(&registry, unseen).await }, |actor, applied, ctx| {
            actor.seen.seqs.extend(applied);
            // Armed, not called: a stop waits for work under way, and a timer does not fire any more then.
            ctx.run_later(Duration::ZERO, Self::step);
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

/// Waits for the next notification, at most until the next poll is due, and then polls.
async fn watch(db: &Db, listener: Option<PgListener>) -> Step {
    let mut listener = match listener {
        Some(listener) => Some(listener),
        // Listening begins before the poll that follows: nothing falls between the two.
        None => match db.listen().await {
            Ok(listener) => return Step::Poll(Some(listener), poll(db).await),
            Err(error) => return Step::Poll(None, Err(error)),
        },
    };
    if let Some(active) = &mut listener {
        match tokio::time::timeout(POLL_EVERY, active.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if let (Ok(change), Some(listener)) = (notification.payload().parse(), listener.take()) {
                    return Step::Notified(listener, change);
                }
            }
            // The connection was lost: listen anew.
            Ok(Ok(None) | Err(_)) => listener = None,
            Err(_elapsed) => {}
        }
    }
    Step::Poll(listener, poll(db).await)
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
