//! Metering: what was used is taken in, counted once and compared with the limits.
//!
//! Two ways lead in. Events that are posted come as messages, and are answered after the commit. What the gateway counts
//! comes through files (the [`spool`]), a few times a second. Both end in the same transaction, which knows by
//! source and key what was counted before. So whoever does not know whether an event was counted sends it again.

mod count;
mod ingest;
mod lanes;
pub mod limits;
mod messages;
mod metrics;
mod news;
pub mod plan_change;
pub mod reservations;
pub mod resume;
mod settle;
mod spare;
pub mod spool;
pub mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use ingest::{MeterContext, rules_of};
pub use messages::{RecordUsage, RecordUsageError};
pub use metrics::MeterMetrics;

use self::lanes::{Bounds, Lanes};
use self::metrics::Via;
use self::settle::Round;
use self::spare::Cores;
use self::spool::leftovers;
use super::ask::{ChildActor, Ctx, Handle, Responder};
use crate::domain::ids::TenantId;
use crate::domain::usage::{UsageAnswer, UsageEvent};

/// What waits and what is under way. At a few hundred bytes an event, all that waits is some tens of megabytes.
const BOUNDS: Bounds = Bounds { n_running: 3, per_batch: 5_000, per_tenant: 20_000, in_total: 100_000 };
/// What a tenant's transaction takes of the processor at most, here and in the database, about. By the clock it takes less where cores
/// are free, and several times that where all are busy.
const TENANT_COST: Duration = Duration::from_millis(2);
/// Where cores are short, a round is followed by so many times what it takes, so that rounds take a twentieth of a core,
const REST_FACTOR: u32 = 19;
/// but by no more than this: so late are figures at worst.
const MAX_REST: Duration = Duration::from_secs(10);
/// Longest wait after a round that failed.
const MAX_BACK_OFF: Duration = Duration::from_secs(5);
/// Time between two looks for what dead processes left.
const LEFTOVERS_EVERY: Duration = Duration::from_secs(30);
/// Time between two looks for lines of the spool that no disk has yet.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Longest last round; what is left then waits for the next start. Below the child's shutdown timeout.
const LAST_ROUND: Duration = Duration::from_secs(4);

/// A message that waits for its transaction.
struct Waiting {
    events: Vec<UsageEvent>,
    responder: Responder<RecordUsage>,
}

/// Counts usage.
pub struct BillingMeter {
    context: Arc<MeterContext>,
    lanes: Lanes<Waiting>,
    back_off: Duration,
    cores: Cores,
}

impl BillingMeter {
    /// A meter with what it takes to count.
    #[must_use]
    pub fn new(context: Arc<MeterContext>) -> Self {
        Self { context, lanes: Lanes::new(BOUNDS), back_off: Duration::ZERO, cores: Cores::default() }
    }

    /// Starts as many transactions as may run.
    fn pump(&mut self, ctx: &mut Ctx<'_, Self>) {
        while let Some((tenant, batch)) = self.lanes.next() {
            let context = Arc::clone(&self.context);
            ctx.spawn(async move { count_batch(&context, tenant, batch).await }, move |actor, (), ctx| {
                actor.lanes.done(tenant);
                actor.pump(ctx);
            });
        }
    }

    fn settle_own(&mut self, ctx: &mut Ctx<'_, Self>) {
        let context = Arc::clone(&self.context);
        let began = Instant::now();
        ctx.spawn(async move { settle::own(&context).await }, move |actor, (round, n_tenants), ctx| {
            let wait = actor.wait_after(round, began.elapsed(), n_tenants);
            ctx.run_later(wait, Self::settle_own);
        });
    }

    /// Each tenant costs a transaction, so where many tenants are busy at once and cores are short, rounds come less often, and a round
    /// adds up more: counting calls must not cost what answering them needs.
    fn wait_after(&mut self, round: Round, length: Duration, n_tenants: u32) -> Duration {
        let every = Duration::from_millis(self.context.settings.metering.flush_ms);
        if round == Round::Failed {
            self.context.metrics.failed_rounds.inc();
            self.back_off = (self.back_off * 2).clamp(every, MAX_BACK_OFF.max(every));
            return self.back_off;
        }
        self.back_off = Duration::ZERO;
        if round == Round::More {
            Duration::from_millis(1)
        } else {
            // Looked at after each round, so that the next one knows what was done since.
            every.max(rest(self.cores.are_spare(), length, n_tenants))
        }
    }

    fn settle_leftovers(&mut self, ctx: &mut Ctx<'_, Self>) {
        let context = Arc::clone(&self.context);
        ctx.spawn(async move { settle::leftover(&context).await }, |_actor, round, ctx| {
            let wait = match round {
                Round::Whole => LEFTOVERS_EVERY,
                Round::More | Round::Failed => MAX_BACK_OFF,
            };
            ctx.run_later(wait, Self::settle_leftovers);
        });
    }

    /// Hands to the disk what rounds have not taken yet: they may be far apart.
    fn sync_spool(&mut self, ctx: &mut Ctx<'_, Self>) {
        let spool = Arc::clone(&self.context.spool);
        ctx.spawn(async move { settle::blocking(move || spool.sync_open()).await }, |_actor, synced, ctx| {
            if let Some(Err(error)) = synced {
                tracing::warn!(%error, "the spool was not synced");
            }
            ctx.run_later(SYNC_EVERY, Self::sync_spool);
        });
    }

    /// Before the first event, which may be the first of a month that nobody has made. From then on cron makes them ahead.
    fn make_months(&mut self, ctx: &mut Ctx<'_, Self>) {
        let context = Arc::clone(&self.context);
        ctx.spawn(async move { upkeep::make_months(&context.db).await }, |_actor, made, ctx| {
            if let Err(error) = made {
                tracing::warn!(error = &error as &dyn std::error::Error, "months of usage events were not made ahead");
                ctx.run_later(MAX_BACK_OFF, Self::make_months);
            }
        });
    }
}

/// What a round of this length is followed by at least. Cores that have nothing else to do may count half of the time, by the clock: the
/// database may be on another machine, which has less to spare.
fn rest(cores_are_spare: bool, length: Duration, n_tenants: u32) -> Duration {
    if cores_are_spare {
        return length.min(MAX_REST);
    }
    length.min(TENANT_COST * n_tenants).saturating_mul(REST_FACTOR).min(MAX_REST)
}

impl ChildActor for BillingMeter {
    const KIND: &'static str = "billing_meter";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.make_months(ctx);
        self.settle_leftovers(ctx);
        self.settle_own(ctx);
        self.sync_spool(ctx);
    }

    async fn stopping(self) {
        let rounds = async { while settle::own(&self.context).await.0 == Round::More {} };
        if tokio::time::timeout(LAST_ROUND, rounds).await.is_err() {
            tracing::warn!("usage is left in the spool; the next start counts it");
        }
        leftovers::close(&self.context.spool);
    }
}

impl Handle<RecordUsage> for BillingMeter {
    fn handle(&mut self, message: RecordUsage, responder: Responder<RecordUsage>, ctx: &mut Ctx<'_, Self>) {
        let RecordUsage { tenant, events } = message;
        let n_events = events.len();
        match self.lanes.push(tenant, n_events, Waiting { events, responder }) {
            Ok(()) => self.pump(ctx),
            Err(Waiting { responder, .. }) => responder.refuse(RecordUsageError::Overloaded),
        }
    }
}

/// Counts what waited together, and answers each. A failure that is not of the database's absence may be one message's own, so
/// then each is counted alone.
async fn count_batch(context: &MeterContext, tenant: TenantId, batch: Vec<Waiting>) {
    let events: Vec<&UsageEvent> = batch.iter().flat_map(|waiting| &waiting.events).collect();
    match context.take_in(Via::Post, tenant, &events).await {
        Ok(answers) => {
            let mut answers = answers.into_iter();
            for Waiting { events, responder } in batch {
                responder.reply(answers.by_ref().take(events.len()).collect());
            }
        }
        Err(RecordUsageError::Failed) if batch.len() > 1 => {
            for Waiting { events, responder } in batch {
                let events: Vec<&UsageEvent> = events.iter().collect();
                let answer: Result<Vec<UsageAnswer>, _> = context.take_in(Via::Post, tenant, &events).await;
                responder.answer(answer);
            }
        }
        Err(error) => {
            for Waiting { responder, .. } in batch {
                responder.refuse(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_many_tenants_is_followed_soon_where_cores_are_spare_and_late_where_they_are_not() {
        let second = Duration::from_secs(1);
        assert_eq!(rest(true, second, 100), second);
        assert_eq!(rest(false, second, 100), Duration::from_millis(3_800));
        assert_eq!(rest(false, second / 10, 100), Duration::from_millis(1_900));
        assert_eq!(rest(false, 60 * second, 10_000), MAX_REST);
    }
}
