//! Cron: runs every job when it is due, in one process for all or in each for itself.
//!
//! Every process arms every job for the same slots. Of a job for all, the process that inserts the slot's row has the run and
//! renews its lease while it works; the others find the row and leave it. After a crash the lease runs out and the job goes on
//! elsewhere. Nothing that a job does relies on being alone: the lease saves work, it does not keep the books right.

mod job;
mod messages;
mod run;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use job::{Job, JobError, JobResult, JobScope};
pub use messages::{JobStatus, ListJobs, RunJob, RunJobError};
pub use run::LocalRun;

use super::ask::{ChildActor, Ctx, Handle, Responder};
use crate::clock;
use crate::db::Db;

/// What this process knows of one job.
#[derive(Debug, Default)]
struct Local {
    is_running: bool,
    last: Option<LocalRun>,
}

/// Runs jobs until it is stopped.
#[derive(Debug)]
pub struct CronActor {
    db: Db,
    jobs: Arc<[Job]>,
    node: Arc<str>,
    local: HashMap<&'static str, Local>,
}

impl CronActor {
    /// An actor for these jobs; `node` names this process in the list of runs.
    #[must_use]
    pub fn new(db: Db, jobs: Arc<[Job]>, node: Arc<str>) -> Self {
        Self { db, jobs, node, local: HashMap::new() }
    }

    /// Waits for the next slot. Armed again when its work is done: an interval would fire in a burst after a stall.
    fn arm(job: Job, ctx: &mut Ctx<'_, Self>) {
        let now = clock::now();
        let next = job.schedule.next(now);
        let wait = (next - now).to_std().unwrap_or(Duration::ZERO);
        ctx.run_later(wait, move |actor, ctx| actor.fire(job, next, ctx));
    }

    /// The slot has come.
    fn fire(&mut self, job: Job, slot: DateTime<Utc>, ctx: &mut Ctx<'_, Self>) {
        if self.is_running(job.name) {
            // An operator's run is not done yet. It does what this one would do.
            Self::arm(job, ctx);
            return;
        }
        self.local.entry(job.name).or_default().is_running = true;
        let (db, node, due) = (self.db.clone(), Arc::clone(&self.node), job.clone());
        ctx.spawn(async move { run::run(&db, &due, slot, false, &node).await }, move |actor, ran, ctx| {
            actor.note(job.name, ran);
            Self::arm(job, ctx);
        });
    }

    fn note(&mut self, name: &'static str, ran: Option<LocalRun>) {
        let local = self.local.entry(name).or_default();
        local.is_running = false;
        if ran.is_some() {
            local.last = ran;
        }
    }

    fn is_running(&self, name: &str) -> bool {
        self.local.get(name).is_some_and(|local| local.is_running)
    }
}

impl ChildActor for CronActor {
    const KIND: &'static str = "cron";

    fn started(&mut self, ctx: &mut Ctx<'_, Self>) {
        let now = clock::now();
        let jobs = Arc::clone(&self.jobs);
        for job in jobs.iter().cloned() {
            match job.scope {
                // The slot that the start falls into may have been missed by everybody.
                JobScope::Cluster => {
                    let slot = job.schedule.slot(now);
                    self.fire(job, slot, ctx);
                }
                JobScope::Node => Self::arm(job, ctx),
            }
        }
    }
}

impl Handle<ListJobs> for CronActor {
    fn handle(&mut self, _message: ListJobs, responder: Responder<ListJobs>, _ctx: &mut Ctx<'_, Self>) {
        let now = clock::now();
        let status = |job: &Job| {
            let local = self.local.get(job.name);
            JobStatus {
                name: job.name,
                purpose: job.purpose,
                scope: job.scope,
                every_s: job.schedule.period().as_secs_f64(),
                next_run_at: job.schedule.next(now),
                is_running_here: self.is_running(job.name),
                last_here: local.and_then(|local| local.last.clone()),
            }
        };
        responder.reply(self.jobs.iter().map(status).collect());
    }
}

impl Handle<RunJob> for CronActor {
    fn handle(&mut self, message: RunJob, responder: Responder<RunJob>, ctx: &mut Ctx<'_, Self>) {
        let Some(job) = self.jobs.iter().find(|job| job.name == message.name).cloned() else {
            return responder.refuse(RunJobError::Unknown);
        };
        if self.is_running(job.name) {
            return responder.refuse(RunJobError::Running);
        }
        self.local.entry(job.name).or_default().is_running = true;
        let (db, node, slot) = (self.db.clone(), Arc::clone(&self.node), clock::now());
        let name = job.name;
        let work = async move {
            let held = match job.scope {
                JobScope::Node => None,
                JobScope::Cluster => match run::claim(&db, &job, slot, true, &node).await {
                    Ok(Some(held)) => Some(held),
                    Ok(None) => {
                        responder.refuse(RunJobError::Running);
                        return None;
                    }
                    Err(error) => {
                        tracing::warn!(
                            job = job.name,
                            error = &error as &dyn std::error::Error,
                            "the job cannot be taken"
                        );
                        responder.refuse(RunJobError::Unavailable);
                        return None;
                    }
                },
            };
            responder.reply(());
            // Longer, and its lease might be over before it begins.
            if !matches!(tokio::time::timeout(run::LONGEST_WORD, message.go).await, Ok(Ok(()))) {
                return Some(run::call_off(&db, slot, held).await);
            }
            run::run_held(&db, &job, slot, true, held).await
        };
        ctx.spawn(work, move |actor, ran, _ctx| actor.note(name, ran));
    }
}
