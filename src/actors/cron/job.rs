//! What a job is.
//!
//! A job is a reconciler: it looks for what is to be done, does it, and has no input. Run twice it does nothing the second time,
//! killed half-way it is made good by the next run; so the period is the retry, and who runs it decides nothing but who does
//! the work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::domain::schedule::Schedule;

/// Why a run stopped early; its text is shown to operators.
pub type JobError = Box<dyn std::error::Error + Send + Sync>;

/// How many things a run did.
pub type JobResult = Result<u64, JobError>;

/// Where a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobScope {
    /// In one process, for all that share the database.
    Cluster,
    /// In every process, for itself.
    Node,
}

/// Something that is done regularly.
#[derive(Clone)]
pub struct Job {
    /// Name in the API and in the log.
    pub name: &'static str,
    /// What it is good for, for operators.
    pub purpose: &'static str,
    /// Where it runs.
    pub scope: JobScope,
    /// When it runs.
    pub schedule: Schedule,
    run: Arc<dyn Fn() -> LocalBoxFuture<'static, JobResult> + Send + Sync>,
}

impl Job {
    /// A job that one process does for all.
    pub fn cluster<F, W>(name: &'static str, purpose: &'static str, every: Duration, run: F) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = JobResult> + 'static,
    {
        Self::new(name, purpose, JobScope::Cluster, every, run)
    }

    /// A job that every process does for itself.
    pub fn node<F, W>(name: &'static str, purpose: &'static str, every: Duration, run: F) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = JobResult> + 'static,
    {
        Self::new(name, purpose, JobScope::Node, every, run)
    }

    fn new<F, W>(name: &'static str, purpose: &'static str, scope: JobScope, every: Duration, run: F) -> Self
    where
        F: Fn() -> W + Send + Sync + 'static,
        W: Future<Output = JobResult> + 'static,
    {
        let schedule = Schedule::every(every);
        Self { name, purpose, scope, schedule, run: Arc::new(move || Box::pin(run())) }
    }

    /// Does it once.
    pub(super) fn run(&self) -> LocalBoxFuture<'static, JobResult> {
        (self.run)()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).field("scope", &self.scope).finish_non_exhaustive()
    }
}
