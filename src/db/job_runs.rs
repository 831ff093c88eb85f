//! Runs of jobs: who has which, and how they ended.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::DbError;
use super::tx::SystemTx;

/// A run that this process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRun {
    /// The job.
    pub job: &'static str,
    /// Larger than that of every earlier run of the job.
    pub fence: i64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It did what there was to do.
    Done {
        /// How many things that were.
        n_done: i64,
    },
    /// It stopped early.
    Failed {
        /// Why, for operators.
        why: String,
    },
}

/// A job's latest run.
#[derive(Debug, Clone)]
pub struct LastRun {
    /// The job.
    pub job: String,
    /// The slot it was for.
    pub scheduled_for: DateTime<Utc>,
    /// Whether an operator asked for it.
    pub is_manual: bool,
    /// The process that has or had it.
    pub node: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// `running`, `done`, `failed` or `lost`.
    pub outcome: String,
    /// How many things it did.
    pub n_done: Option<i64>,
    /// Why it failed.
    pub detail: Option<String>,
    /// When a run of the job last succeeded.
    pub last_done_at: Option<DateTime<Utc>>,
}

/// Takes the slot of a job for `lease`; `None` if it has been taken, or another run of the job is alive.
///
/// # Errors
/// [`DbError`].
pub async fn claim(
    tx: &SystemTx<'_>,
    job: &'static str,
    slot: DateTime<Utc>,
    is_manual: bool,
    node: &str,
    lease: Duration,
) -> Result<Option<HeldRun>, DbError> {
    let fence = sqlx::query_scalar!(
        "SELECT platform.claim_job($1, $2, $3, $4, $5)",
        job,
        slot,
        is_manual,
        node,
        lease.as_secs_f64()
    )
    .fetch_one(tx.pool)
    .await?;
    Ok(fence.map(|fence| HeldRun { job, fence }))
}

/// Holds a run for another `lease`; false if it was lost.
///
/// # Errors
/// [`DbError`].
pub async fn renew(tx: &SystemTx<'_>, run: &HeldRun, lease: Duration) -> Result<bool, DbError> {
    let is_held = sqlx::query_scalar!("SELECT platform.renew_job($1, $2, $3)", run.job, run.fence, lease.as_secs_f64())
        .fetch_one(tx.pool)
        .await?;
    Ok(is_held.unwrap_or(false))
}

/// Writes down how a run ended; false if it had been lost.
///
/// # Errors
/// [`DbError`].
pub async fn finish(tx: &SystemTx<'_>, run: &HeldRun, outcome: &JobOutcome) -> Result<bool, DbError> {
    let (how, n_done, why) = match outcome {
        JobOutcome::Done { n_done } => ("done", Some(*n_done), None),
        JobOutcome::Failed { why } => ("failed", None, Some(why.as_str())),
    };
    let was_held =
        sqlx::query_scalar!("SELECT platform.finish_job($1, $2, $3, $4, $5)", run.job, run.fence, how, n_done, why)
            .fetch_one(tx.pool)
            .await?;
    Ok(was_held.unwrap_or(false))
}

/// The latest run of each job that ever ran.
///
/// # Errors
/// [`DbError`].
pub async fn list(tx: &SystemTx<'_>) -> Result<Vec<LastRun>, DbError> {
    let rows = sqlx::query_as!(
        LastRun,
        r#"SELECT job AS "job!", scheduled_for AS "scheduled_for!", is_manual AS "is_manual!", node AS "node!",
                  started_at AS "started_at!", finished_at, outcome AS "outcome!", n_done, detail, last_done_at
           FROM platform.list_job_runs()"#
    )
    .fetch_all(tx.pool)
    .await?;
    Ok(rows)
}

/// Deletes runs that ended over a week ago, but each job's latest and latest successful one; returns how many.
///
/// # Errors
/// [`DbError`].
pub async fn forget_old(tx: &SystemTx<'_>) -> Result<i64, DbError> {
    let n = sqlx::query_scalar!("SELECT platform.forget_job_runs(interval '7 days')").fetch_one(tx.pool).await?;
    Ok(n.unwrap_or(0))
}
