//! One run of a job: taken, held and written down.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;

use super::job::{Job, JobScope};
use crate::clock;
use crate::db::job_runs::{self, HeldRun, JobOutcome};
use crate::db::{Db, DbError, SystemReason, SystemTx};

/// For so long a run is nobody else's. A process that dies holds a job up for this long at most.
const LEASE: Duration = Duration::from_secs(30);
/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// A run that takes longer is given up; the next slot goes on where it was. Something that hangs must not keep a job from
/// everybody for ever: its lease would be renewed for as long as the process lives.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// A run of this process.
#[derive(Debug, Clone)]
pub struct LocalRun {
    /// The slot it was for.
    pub scheduled_for: DateTime<Utc>,
    /// Whether an operator asked for it.
    pub is_manual: bool,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// How.
    pub outcome: JobOutcome,
}

/// Runs the job for a slot. `None`: the slot has been taken, or another run is alive, or this one was lost.
pub(super) async fn run(db: &Db, job: &Job, slot: DateTime<Utc>, is_manual: bool, node: &str) -> Option<LocalRun> {
    let held = match job.scope {
        JobScope::Node => None,
        JobScope::Cluster => match claim(db, job, slot, is_manual, node).await {
            Ok(Some(run)) => Some(run),
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(job = job.name, error = &error as &dyn std::error::Error, "the job cannot be taken");
                return None;
            }
        },
    };
    run_held(db, job, slot, is_manual, held).await
}

/// Takes a slot of a job that one process does for all.
pub(super) async fn claim(
    db: &Db,
    job: &Job,
    slot: DateTime<Utc>,
    is_manual: bool,
    node: &str,
) -> Result<Option<HeldRun>, DbError> {
    let system = SystemTx::new(db, SystemReason::RunJobs);
    within(job_runs::claim(&system, job.name, slot, is_manual, node, LEASE)).await
}

/// Waits for the database as long as a lease is, because one whose machine has vanished never answers.
async fn within<T>(work: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    tokio::time::timeout(LEASE, work).await.unwrap_or(Err(DbError::Silent))
}

/// Runs what was taken.
pub(super) async fn run_held(
    db: &Db,
    job: &Job,
    slot: DateTime<Utc>,
    is_manual: bool,
    held: Option<HeldRun>,
) -> Option<LocalRun> {
    let started_at = clock::now();
    let outcome = tokio::select! {
        outcome = work(job) => outcome,
        () = until_lost(db, held.as_ref()) => {
            tracing::error!(job = job.name, "the run was lost to another process and is broken off");
            return None;
        }
    };
    if let Some(held) = &held {
        let system = SystemTx::new(db, SystemReason::RunJobs);
        match within(job_runs::finish(&system, held, &outcome)).await {
            Ok(true) => {}
            Ok(false) => tracing::error!(job = job.name, "the run had been lost to another process when it ended"),
            Err(error) => {
                // Its lease runs out, and the next slot is taken by whoever is first.
                tracing::warn!(
                    job = job.name,
                    error = &error as &dyn std::error::Error,
                    "the run's end was not written"
                );
            }
        }
    }
    Some(LocalRun { scheduled_for: slot, is_manual, started_at, finished_at: clock::now(), outcome })
}

/// The work itself. A panic ends this run alone.
async fn work(job: &Job) -> JobOutcome {
    let Ok(ended) = tokio::time::timeout(LONGEST, AssertUnwindSafe(job.run()).catch_unwind()).await else {
        tracing::error!(job = job.name, "the job took too long and is broken off");
        return JobOutcome::Failed { why: format!("it took longer than {} minutes", LONGEST.as_secs() / 60) };
    };
    match ended {
        Ok(Ok(n)) => {
            tracing::debug!(job = job.name, n_done = n, "the job ran");
            JobOutcome::Done { n_done: i64::try_from(n).unwrap_or(i64::MAX) }
        }
        Ok(Err(error)) => {
            tracing::error!(job = job.name, error = &*error as &dyn std::error::Error, "the job failed");
            JobOutcome::Failed { why: error.to_string() }
        }
        Err(_) => {
            tracing::error!(job = job.name, "the job panicked");
            JobOutcome::Failed { why: "it panicked; see the log".to_owned() }
        }
    }
}

/// Renews the lease; ends only when the run is lost. While the database does not answer nobody else can take it either, unless the
/// lease has run out by the time that it does: then the renewal says so.
async fn until_lost(db: &Db, held: Option<&HeldRun>) {
    let Some(held) = held else { return std::future::pending().await };
    let system = SystemTx::new(db, SystemReason::RunJobs);
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        if matches!(within(job_runs::renew(&system, held, LEASE)).await, Ok(false)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_run_that_does_not_end_is_broken_off_and_has_failed() {
        let job = Job::node("hangs", "never ends", Duration::from_secs(60), std::future::pending);
        let ended = tokio::time::timeout(2 * LONGEST, work(&job)).await.expect("it was broken off");
        assert!(matches!(&ended, JobOutcome::Failed { why } if why.contains("15 minutes")), "{ended:?}");
    }
}
