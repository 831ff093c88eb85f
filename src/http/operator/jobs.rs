//! What runs regularly: when it last did, how it went, and a way to run it now.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::upkeep::event;
use crate::actors::cron::{JobScope, JobStatus, ListJobs, LocalRun, RunJob};
use crate::clock;
use crate::db::job_runs::{self, JobOutcome, LastRun};
use crate::db::{SystemReason, SystemTx, TenantTx, audit};
use crate::http::extract::Operator;
use crate::http::openapi;
use crate::http::problem::Problem;
use crate::http::state::AppState;

/// Longest wait for the cron actor, which only looks at its list, or takes a run.
const DEADLINE: Duration = Duration::from_secs(5);

/// One job.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct JobEntry {
    /// Name.
    name: &'static str,
    /// What it is good for.
    purpose: &'static str,
    /// `cluster`: one process does it for all; `node`: every process does it for itself, and what is shown is this one's.
    #[schema(example = "cluster")]
    scope: &'static str,
    /// Length of its period, in seconds.
    every_s: f64,
    /// When it is due next.
    next_run_at: DateTime<Utc>,
    /// Its latest run; null before the first.
    last_run: Option<RunEntry>,
    /// When a run last succeeded. For jobs of scope `cluster`.
    last_done_at: Option<DateTime<Utc>>,
}

/// All jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct JobList {
    /// In no particular order.
    items: Vec<JobEntry>,
}

/// A run of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RunEntry {
    /// The slot it was for.
    scheduled_for: DateTime<Utc>,
    /// Whether an operator asked for it.
    manual: bool,
    /// The process that has or had it; null for this one.
    node: Option<String>,
    /// When it began.
    started_at: DateTime<Utc>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
    /// How long it took or has taken, in milliseconds.
    duration_ms: i64,
    /// `running`, `done`, `failed`, or `lost`: its process died.
    #[schema(example = "done")]
    outcome: String,
    /// How many things it did.
    n_done: Option<i64>,
    /// Why it failed.
    detail: Option<String>,
}

impl RunEntry {
    fn of_cluster(run: LastRun) -> Self {
        let until = run.finished_at.unwrap_or_else(clock::now);
        Self {
            scheduled_for: run.scheduled_for,
            manual: run.is_manual,
            node: Some(run.node),
            started_at: run.started_at,
            finished_at: run.finished_at,
            duration_ms: (until - run.started_at).num_milliseconds(),
            outcome: run.outcome,
            n_done: run.n_done,
            detail: run.detail,
        }
    }

    fn of_node(run: LocalRun) -> Self {
        let (outcome, n_done, detail) = match run.outcome {
            JobOutcome::Done { n_done } => ("done", Some(n_done), None),
            JobOutcome::Failed { why } => ("failed", None, Some(why)),
        };
        Self {
            scheduled_for: run.scheduled_for,
            manual: run.is_manual,
            node: None,
            started_at: run.started_at,
            finished_at: Some(run.finished_at),
            duration_ms: (run.finished_at - run.started_at).num_milliseconds(),
            outcome: outcome.to_owned(),
            n_done,
            detail,
        }
    }
}

fn entry(job: JobStatus, runs: &mut HashMap<String, LastRun>) -> JobEntry {
    let JobStatus { name, purpose, scope, every_s, next_run_at, is_running_here: _, last_here } = job;
    let (scope, last_run, last_done_at) = match scope {
        JobScope::Node => ("node", last_here.map(RunEntry::of_node), None),
        JobScope::Cluster => {
            let run = runs.remove(name);
            let last_done_at = run.as_ref().and_then(|run| run.last_done_at);
            ("cluster", run.map(RunEntry::of_cluster), last_done_at)
        }
    };
    JobEntry { name, purpose, scope, every_s, next_run_at, last_run, last_done_at }
}

/// What runs regularly, and how it last went.
#[utoipa::path(get, path = "/operator/jobs", tag = "operator", operation_id = "operator.jobs.list", security(("bearer" = [])),
    responses((status = 200, description = "All jobs", body = JobList), openapi::SignedInProblems))]
pub(in crate::http) async fn list_jobs(
    _operator: Operator,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let jobs = state.cron.ask(ListJobs, DEADLINE).await?;
    let system = SystemTx::new(&state.db, SystemReason::RunJobs);
    let runs = job_runs::list(&system).await?;
    let mut runs = runs.into_iter().map(|run| (run.job.clone(), run)).collect();
    let items = jobs.into_iter().map(|job| entry(job, &mut runs)).collect();
    Ok(HttpResponse::Ok().json(JobList { items }))
}

/// Run a job now, in this process. Jobs do nothing twice, so a run too many does no harm.
#[utoipa::path(post, path = "/operator/jobs/{name}/run", tag = "operator", operation_id = "operator.jobs.run",
    security(("bearer" = [])), params(("name" = String, Path, description = "The job's name")),
    responses((status = 202, description = "It runs; `GET /operator/jobs` tells how it went"),
              (status = 409, description = "`conflict`: a run of it is alive", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::ThingProblems))]
pub(in crate::http) async fn run_job(
    operator: Operator,
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin(&state.db, operator.scope.view.tenant.id).await?;
    // Without a trail nothing is run by hand: whatever fails before the word is given calls the run off.
    let (go, gone) = oneshot::channel();
    state.cron.ask(RunJob { name: name.clone(), go: gone }, DEADLINE).await?;
    audit::insert(&mut tx, &event(&operator, "job.run", ("job", Some(name.into_inner())), json!({}))).await?;
    tx.commit().await?;
    // An actor that is gone meanwhile runs nothing, which its list of runs tells.
    let _ = go.send(());
    Ok(HttpResponse::Accepted().finish())
}
