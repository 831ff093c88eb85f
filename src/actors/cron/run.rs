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
/// Longest wait for the word that a run by hand may begin.
pub(super) const LONGEST_WORD: Duration = Duration::from_secs(10);
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
    let Some(outcome) = unless_lost(work(job), async || renew(db, held.as_ref()).await).await else {
        tracing::error!(job = job.name, "the run was lost to another process and is broken off");
        return None;
    };
    finish(db, held.as_ref(), &outcome).await;
    Some(LocalRun { scheduled_for: slot, is_manual, started_at, finished_at: clock::now(), outcome })
}

/// Ends what an operator's run took without doing anything, because whoever asked for it has not been written down.
pub(super) async fn call_off(db: &Db, slot: DateTime<Utc>, held: Option<HeldRun>) -> LocalRun {
    let outcome = JobOutcome::Failed {
        why: "it was called off before it began: the audit trail could not be written".to_owned(),
    };
    finish(db, held.as_ref(), &outcome).await;
    let now = clock::now();
    LocalRun { scheduled_for: slot, is_manual: true, started_at: now, finished_at: now, outcome }
}

/// Writes down how a run ended.
async fn finish(db: &Db, held: Option<&HeldRun>, outcome: &JobOutcome) {
    let Some(held) = held else { return };
    let system = SystemTx::new(db, SystemReason::RunJobs);
    match within(job_runs::finish(&system, held, outcome)).await {
        Ok(true) => {}
        Ok(false) => tracing::error!(job = held.job, "the run had been lost to another process when it ended"),
        Err(error) => {
            // Its lease runs out, and the next slot is taken by whoever is first.
            tracing::warn!(job = held.job, error = &error as &dyn std::error::Error, "the run's end was not written");
        }
    }
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

/// Does the work while the lease is renewed; `None` if the run was lost meanwhile, and with it whatever the work was at. While the
/// database does not answer nobody else can take the run either, unless the lease has run out by the time that it does: then the renewal
/// says so.
async fn unless_lost<T>(
    work: impl Future<Output = T>,
    mut renew: impl AsyncFnMut() -> Result<bool, DbError>,
) -> Option<T> {
    let until_lost = async {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            if matches!(renew().await, Ok(false)) {
                return;
            }
        }
    };
    tokio::select! {
        done = work => Some(done),
        () = until_lost => None,
    }
}

/// Renews the lease of a run; false if it was lost. What a process does for itself nobody else can take.
async fn renew(db: &Db, held: Option<&HeldRun>) -> Result<bool, DbError> {
    let Some(held) = held else { return Ok(true) };
    within(job_runs::renew(&SystemTx::new(db, SystemReason::RunJobs), held, LEASE)).await
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

    #[tokio::test(start_paused = true)]
    async fn a_run_whose_lease_was_lost_is_broken_off_and_one_that_cannot_ask_is_not() {
        let mut answers = vec![Ok(true), Err(DbError::Busy), Ok(true), Ok(false)].into_iter();
        let (mut n_asked, mut has_ended) = (0, false);
        let work = async {
            tokio::time::sleep(LONGEST).await;
            has_ended = true;
        };
        let renew = async || {
            n_asked += 1;
            answers.next().expect("nobody asks after the run was lost")
        };
        assert_eq!(unless_lost(work, renew).await, None);
        assert_eq!((n_asked, has_ended), (4, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_ends_while_its_lease_lives_is_not_broken_off() {
        let work = async {
            tokio::time::sleep(5 * RENEW_EVERY / 2).await;
            7
        };
        let mut n_asked = 0;
        let renew = async || {
            n_asked += 1;
            Ok(true)
        };
        assert_eq!(unless_lost(work, renew).await, Some(7));
        assert_eq!(n_asked, 2);
    }
}
