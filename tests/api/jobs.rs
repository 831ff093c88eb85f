//! What runs regularly, as operators see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use businessos::actors::ask::ActorMetrics;
use businessos::actors::cron::{CronActor, Job};
use businessos::actors::supervisor::{ArbiterHandle, ChildSpec, RestartPolicy, Supervisor};
use businessos::db::Db;
use businessos::db::embedded::SUPERUSER;
use businessos::db::pool::PoolSettings;
use serde_json::Value;

use crate::helpers::{App, PATIENCE, Session, spawn_app, spawn_app_on, until};
use crate::support::TestDatabase;

async fn job(app: &App, operator: &Session, name: &str) -> Value {
    let list = app.get("platform", "/operator/jobs").token(operator).await.json();
    let items = list["items"].as_array().unwrap();
    items.iter().find(|job| job["name"] == name).unwrap_or_else(|| panic!("{name} is not in {list}")).clone()
}

async fn run(app: &App, operator: &Session, name: &str) {
    let path = format!("/operator/jobs/{name}/run");
    // Its slot may be running just now.
    until("the job is run", async || app.post("platform", &path).token(operator).await.status == 202).await;
    until("it is done", async || job(app, operator, name).await["last_run"]["outcome"] != "running").await;
}

#[tokio::test]
async fn operators_see_when_jobs_ran_and_when_they_will() {
    let app = spawn_app(|_| {}).await;
    let operator = app.operator().await;
    until("the start's slot is done", async || {
        job(&app, &operator, "seal_audit_log").await["last_run"]["outcome"] == "done"
    })
    .await;
    let sealing = job(&app, &operator, "seal_audit_log").await;
    assert_eq!(sealing["scope"], "cluster");
    assert!(sealing["last_done_at"].is_string() && sealing["last_run"]["duration_ms"].is_number(), "{sealing}");
    let (last, next) =
        (sealing["last_run"]["scheduled_for"].as_str().unwrap(), sealing["next_run_at"].as_str().unwrap());
    assert!(last < next, "{sealing}");
    assert_eq!(job(&app, &operator, "passivate_idle_tenants").await["scope"], "node");
}

#[tokio::test]
async fn a_job_run_by_hand_runs_now_and_is_in_the_trail() {
    let app = spawn_app(|settings| settings.audit.seal_every_s = 86_400).await;
    let operator = app.operator().await;
    run(&app, &operator, "seal_audit_log").await;
    let sealing = job(&app, &operator, "seal_audit_log").await;
    assert_eq!((&sealing["last_run"]["manual"], &sealing["last_run"]["outcome"]), (&true.into(), &"done".into()));
    assert!(sealing["last_run"]["n_done"].as_i64() > Some(0), "{sealing}");
    assert!(app.count("SELECT count(*) FROM platform.audit_checkpoints").await > 0, "nothing was sealed");
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'job.run' AND target_id = 'seal_audit_log'";
    assert_eq!(app.count(audited).await, 1);
    let unknown = app.post("platform", "/operator/jobs/make_coffee/run").token(&operator).await;
    unknown.problem(404, "not-found");
}

#[tokio::test]
async fn without_a_trail_nothing_is_run_by_hand() {
    let app = spawn_app(|settings| settings.audit.seal_every_s = 86_400).await;
    let operator = app.operator().await;
    let is_done = async || job(&app, &operator, "seal_audit_log").await["last_run"]["outcome"] == "done";
    until("the start's slot is done", is_done).await;
    // What the database says at the commit, and not before.
    app.db
        .as_admin(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON platform.audit_log DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW WHEN (new.action = 'job.run') EXECUTE FUNCTION refuse()",
        )
        .await;
    let refused = app.post("platform", "/operator/jobs/seal_audit_log/run").token(&operator).await;
    assert!(refused.status >= 500, "{refused:?}");
    until("the run is over", async || job(&app, &operator, "seal_audit_log").await["last_run"]["outcome"] != "running")
        .await;
    let sealing = job(&app, &operator, "seal_audit_log").await;
    assert_eq!((&sealing["last_run"]["manual"], &sealing["last_run"]["outcome"]), (&true.into(), &"failed".into()));
    assert!(sealing["last_run"]["detail"].as_str().unwrap().contains("before it began"), "{sealing}");
    app.db.as_admin("DROP TRIGGER refuse ON platform.audit_log").await;
    run(&app, &operator, "seal_audit_log").await;
    assert!(is_done().await, "the next one may begin");
}

#[tokio::test]
async fn two_processes_share_the_slots() {
    let a = spawn_app(|settings| settings.audit.seal_every_s = 1).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.gateway.public_port = a.port;
        settings.audit.seal_every_s = 1;
    })
    .await;
    let runs = "SELECT count(*) FROM platform.job_runs WHERE job = 'seal_audit_log' AND outcome = 'done'";
    until("some slots are done", async || a.count(runs).await >= 3).await;
    assert_eq!(b.count("SELECT count(*) FROM platform.job_runs WHERE outcome IN ('failed', 'lost')").await, 0);
}

#[actix_web::test]
async fn each_slot_is_worked_on_once_however_many_processes_there_are() {
    let database = TestDatabase::new().await;
    let tree = Supervisor::new(RestartPolicy::CHILD, ActorMetrics::default());
    let n_worked = Arc::<AtomicI64>::default();
    for node in ["a", "b", "c"] {
        let pools = PoolSettings { max_connections: 2, acquire_timeout: PATIENCE, statement_timeout: PATIENCE };
        let db = Db::new(pools, |role| database.options(role));
        let counter = Arc::clone(&n_worked);
        let job = Job::cluster("work", "counts", Duration::from_millis(50), move || {
            counter.fetch_add(1, SeqCst);
            std::future::ready(Ok(1))
        });
        let jobs: Arc<[Job]> = [job].into();
        let make = move || std::future::ready(Ok(CronActor::new(db.clone(), Arc::clone(&jobs), node.into())));
        tree.start(&ArbiterHandle::current().unwrap(), ChildSpec::permanent(node), make).await.unwrap();
    }
    let mut admin = database.connect(SUPERUSER).await;
    let mut n_runs = async |how: &'static str| -> i64 {
        let sql = format!("SELECT count(*) FROM platform.job_runs WHERE job = 'work' AND outcome {how}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut admin).await.unwrap()
    };
    until("some slots are done", async || n_runs("= 'done'").await >= 10).await;
    tree.stop().await;
    let (n_done, n_taken, n_worked) = (n_runs("= 'done'").await, n_runs("<> ''").await, n_worked.load(SeqCst));
    assert!((n_done..=n_taken).contains(&n_worked), "{n_taken} slots taken, {n_done} done, {n_worked} worked on");
}

#[tokio::test]
async fn sessions_that_ended_long_ago_are_forgotten_and_no_others() {
    let app = spawn_app(|_| {}).await;
    let operator = app.operator().await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for _ in 0..2 {
        app.sign_in("acme", "owner@acme.test").await;
    }
    let of_acme = "FROM auth.sessions JOIN platform.tenants USING (tenant_id) WHERE slug = 'acme'";
    // Of three sessions one ended eight days ago, and one six.
    app.db
        .as_admin(
            "WITH numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS n FROM auth.sessions
                               WHERE tenant_id = (SELECT tenant_id FROM platform.tenants WHERE slug = 'acme'))
             UPDATE auth.sessions s SET idle_expires_at = now() - CASE n WHEN 2 THEN interval '8 days' ELSE interval '6 days' END
             FROM numbered WHERE numbered.id = s.id AND n > 1",
        )
        .await;
    assert_eq!(app.count(&format!("SELECT count(*) {of_acme}")).await, 3);
    run(&app, &operator, "forget_ended_sessions").await;
    assert_eq!(app.count(&format!("SELECT count(*) {of_acme}")).await, 2);
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.status, 200);
}
