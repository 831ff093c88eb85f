//! The cron actor's protocol.

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::job::JobScope;
use super::run::LocalRun;
use crate::actors::ask::Request;

/// A job as this process sees it.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// Name.
    pub name: &'static str,
    /// What it is good for.
    pub purpose: &'static str,
    /// Where it runs.
    pub scope: JobScope,
    /// Length of its period, in seconds.
    pub every_s: f64,
    /// Its next slot.
    pub next_run_at: DateTime<Utc>,
    /// Whether this process is at it.
    pub is_running_here: bool,
    /// The latest run of this process.
    pub last_here: Option<LocalRun>,
}

/// Query: the jobs.
#[derive(Debug)]
pub struct ListJobs;

impl Request for ListJobs {
    const NAME: &'static str = "list_jobs";
    type Reply = Vec<JobStatus>;
    type Refusal = std::convert::Infallible;
}

/// Why a job was not started.
#[derive(Debug, thiserror::Error)]
pub enum RunJobError {
    /// There is none of that name.
    #[error("there is no such job")]
    Unknown,
    /// A run of it is alive, here or elsewhere.
    #[error("the job is running")]
    Running,
    /// The run could not be taken.
    #[error("the database did not answer")]
    Unavailable,
}

/// Command: run a job now; replied to when the run was taken, before it begins. Sent for operators. After a lost reply nothing is run,
/// unless `go` was sent all the same.
#[derive(Debug)]
pub struct RunJob {
    /// Its name.
    pub name: String,
    /// The run begins with this word. If its sender is dropped instead, the run has failed without doing anything.
    pub go: oneshot::Receiver<()>,
}

impl Request for RunJob {
    const NAME: &'static str = "run_job";
    type Reply = ();
    type Refusal = RunJobError;
}
