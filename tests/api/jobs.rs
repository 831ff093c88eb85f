//! What runs regularly, as operators see it.

use std::sync::Arc;

use serde_json::Value;

use crate::helpers::{App, Session, spawn_app, spawn_app_on, until};

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
async fn two_processes_share_the_slots() {
    let a = spawn_app(|settings| settings.audit.seal_every_s = 1).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.gateway.public_port = a.port;
        settings.audit.seal_every_s = 1;
    })
    .await;
    let runs = "SELECT count(*) FROM platform.job_runs WHERE job = 'seal_audit_log' AND outcome = 'done'";
    until("some slots are done", async || a.count(runs).await >= 3).await;
    let doubled = "SELECT count(*) FROM (SELECT FROM platform.job_runs WHERE job = 'seal_audit_log' AND NOT is_manual
                   GROUP BY date_trunc('second', scheduled_for) HAVING count(*) > 1) twice";
    assert_eq!(b.count(doubled).await, 0);
    assert_eq!(b.count("SELECT count(*) FROM platform.job_runs WHERE outcome IN ('failed', 'lost')").await, 0);
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
