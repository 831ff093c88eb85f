//! Runs of jobs: one process has a run, and only while its lease lives.

use sqlx::PgConnection;

use crate::support::TestDatabase;

async fn claim(role: &mut PgConnection, slot: &str, node: &str) -> Option<i64> {
    sqlx::query_scalar("SELECT platform.claim_job('tidy', $1::timestamptz, false, $2, 30)")
        .bind(slot)
        .bind(node)
        .fetch_one(role)
        .await
        .unwrap()
}

async fn renew(role: &mut PgConnection, fence: i64) -> bool {
    sqlx::query_scalar("SELECT platform.renew_job('tidy', $1, 30)").bind(fence).fetch_one(role).await.unwrap()
}

async fn finish(role: &mut PgConnection, fence: i64, how: &str) -> bool {
    sqlx::query_scalar("SELECT platform.finish_job('tidy', $1, $2, 1, NULL)")
        .bind(fence)
        .bind(how)
        .fetch_one(role)
        .await
        .unwrap()
}

const FIRST: &str = "2026-11-22 01:00+00";
const SECOND: &str = "2026-11-22 02:00+00";

#[tokio::test]
async fn of_many_that_claim_a_slot_at_once_one_gets_it() {
    let database = TestDatabase::new().await;
    let mut claims = tokio::task::JoinSet::new();
    for n in 0..8 {
        let mut role = database.connect("app_auth").await;
        claims.spawn(async move { claim(&mut role, FIRST, &format!("node {n}")).await });
    }
    let won: Vec<i64> = claims.join_all().await.into_iter().flatten().collect();
    assert_eq!(won, [1]);
}

#[tokio::test]
async fn a_job_runs_once_at_a_time_and_each_slot_once() {
    let database = TestDatabase::new().await;
    let mut role = database.connect("app_auth").await;
    assert_eq!(claim(&mut role, FIRST, "a").await, Some(1));
    assert_eq!(claim(&mut role, SECOND, "b").await, None, "the first run is alive");
    assert!(finish(&mut role, 1, "failed").await);
    assert_eq!(claim(&mut role, FIRST, "b").await, None, "the period is the retry");
    assert_eq!(claim(&mut role, SECOND, "b").await, Some(2));
    assert!(finish(&mut role, 2, "done").await);
    assert!(!finish(&mut role, 2, "failed").await, "it has ended");
}

#[tokio::test]
async fn a_run_whose_process_died_is_taken_over_and_the_dead_have_no_say() {
    let database = TestDatabase::new().await;
    let mut role = database.connect("app_auth").await;
    assert_eq!(claim(&mut role, FIRST, "a").await, Some(1));
    assert!(renew(&mut role, 1).await);
    database.as_admin("UPDATE platform.job_runs SET lease_until = now() - interval '1 second'").await;
    assert_eq!(claim(&mut role, FIRST, "b").await, Some(2));
    assert!(!renew(&mut role, 1).await, "the lease went on");
    assert!(!finish(&mut role, 1, "done").await);
    assert!(finish(&mut role, 2, "done").await);
}

#[tokio::test]
async fn old_runs_are_forgotten_but_the_latest_and_the_latest_good_one() {
    let database = TestDatabase::new().await;
    let mut role = database.connect("app_auth").await;
    for (hour, how) in [(1, "done"), (2, "done"), (3, "failed"), (4, "failed")] {
        let fence = claim(&mut role, &format!("2026-11-22 0{hour}:00+00"), "a").await.unwrap();
        assert!(finish(&mut role, fence, how).await);
    }
    database.as_admin("UPDATE platform.job_runs SET finished_at = now() - interval '8 days'").await;
    let n: i64 =
        sqlx::query_scalar("SELECT platform.forget_job_runs(interval '7 days')").fetch_one(&mut role).await.unwrap();
    assert_eq!(n, 2);
    let (outcome, last_done): (String, bool) =
        sqlx::query_as("SELECT outcome, last_done_at IS NOT NULL FROM platform.list_job_runs()")
            .fetch_one(&mut role)
            .await
            .unwrap();
    assert_eq!((outcome.as_str(), last_done), ("failed", true));
    assert_eq!(claim(&mut role, SECOND, "a").await, None, "the latest good one still says that its slot is done");
}
