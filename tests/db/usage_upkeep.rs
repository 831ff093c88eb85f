//! The upkeep of usage events: months made ahead and dropped, keys forgotten.

use businessos::clock;
use std::time::Duration;

use businessos::db::pool::PoolSettings;
use businessos::db::{Db, DbError, SystemReason, SystemTx, usage_upkeep};
use chrono::{Months, NaiveDate, TimeDelta};
use sqlx::AssertSqlSafe;

use crate::support::{SERVICE_ROLE, TestDatabase, sqlstate};

fn open(database: &TestDatabase) -> Db {
    let settings = PoolSettings {
        max_connections: 2,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(60),
    };
    Db::new(settings, |role| database.options(role))
}

async fn partitions(database: &TestDatabase) -> Vec<String> {
    let query = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'billing.usage_events'::regclass ORDER BY 1";
    sqlx::query_scalar(query).fetch_all(&mut database.connect("postgres").await).await.unwrap()
}

fn partition(months_ahead: i32) -> String {
    let this_month = clock::now().date_naive();
    let n = Months::new(months_ahead.unsigned_abs());
    let month: NaiveDate = if months_ahead < 0 { this_month - n } else { this_month + n };
    format!("usage_events_p{}", month.format("%Y%m"))
}

#[tokio::test]
async fn months_are_made_ahead_once_and_pass_the_check() {
    let database = TestDatabase::new().await;
    let db = open(&database);
    let system = SystemTx::new(&db, SystemReason::KeepUsage);
    assert_eq!(partitions(&database).await, (0..=3).map(partition).collect::<Vec<_>>(), "the migration made them");
    let (one, two) = tokio::join!(usage_upkeep::make_partitions(&system, 6), usage_upkeep::make_partitions(&system, 6));
    assert_eq!(one.unwrap() + two.unwrap(), 3, "each once, by whomever");
    assert_eq!(usage_upkeep::make_partitions(&system, 6).await.unwrap(), 0);
    assert_eq!(partitions(&database).await.len(), 7);
    let report = db.check_catalogue(&[SERVICE_ROLE.to_owned()]).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let mut role = database.connect("app_rw").await;
    let direct = format!("SELECT FROM billing.{}", partition(5));
    assert_eq!(sqlstate(&mut role, &direct).await, "42501", "nobody reads a month by its name");
    assert_eq!(sqlstate(&mut role, "SELECT billing.make_usage_partitions(1)").await, "42501");
    assert!(matches!(usage_upkeep::make_partitions(&system, 25).await, Err(DbError::BadValue(_))));
}

#[tokio::test]
async fn months_that_are_old_enough_are_dropped_and_no_others() {
    let database = TestDatabase::new().await;
    let db = open(&database);
    let system = SystemTx::new(&db, SystemReason::KeepUsage);
    for ago in [3, 4, 20] {
        let name = partition(-ago);
        let start = (clock::now().date_naive() - Months::new(ago.unsigned_abs())).format("%Y-%m-01");
        let sql = format!(
            "CREATE TABLE billing.{name} PARTITION OF billing.usage_events
             FOR VALUES FROM ('{start}+00') TO (timestamptz '{start}+00' + interval '1 month')"
        );
        database.as_owner(&sql).await;
    }
    assert!(matches!(usage_upkeep::drop_partitions(&system, 2).await, Err(DbError::BadValue(_))));
    assert_eq!(usage_upkeep::drop_partitions(&system, 18).await.unwrap(), 1);
    assert_eq!(usage_upkeep::drop_partitions(&system, 3).await.unwrap(), 1);
    assert_eq!(partitions(&database).await, [-3, 0, 1, 2, 3].map(partition));
    assert_eq!(usage_upkeep::drop_partitions(&system, 3).await.unwrap(), 0);
}

#[tokio::test]
async fn old_keys_of_every_tenant_are_forgotten_in_bounded_steps() {
    let database = TestDatabase::new().await;
    let db = open(&database);
    let system = SystemTx::new(&db, SystemReason::KeepUsage);
    database
        .as_admin(
            "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan)
             SELECT gen_random_uuid(), 'tenant-' || n, 'T', 'global', 'free' FROM generate_series(1, 3) n;
             INSERT INTO billing.usage_dedup (tenant_id, source, key, payload_hash, event_id, received_at)
             SELECT tenant_id, 'api', n::text, sha256('x'), gen_random_uuid(), now() - n * interval '1 day'
             FROM platform.tenants CROSS JOIN generate_series(1, 10) n WHERE slug LIKE 'tenant-%'",
        )
        .await;
    let before = clock::now() - TimeDelta::days(5) - TimeDelta::hours(12);
    for expected in [7, 7, 1, 0] {
        assert_eq!(usage_upkeep::forget_keys(&system, before, 7).await.unwrap(), expected);
    }
    let mut admin = database.connect("postgres").await;
    let left = "SELECT array_agg(DISTINCT key ORDER BY key) FROM billing.usage_dedup";
    let left: Vec<String> = sqlx::query_scalar(AssertSqlSafe(left.to_owned())).fetch_one(&mut admin).await.unwrap();
    assert_eq!(left, ["1", "2", "3", "4", "5"]);
    let mut auth = database.connect("app_auth").await;
    let tenant: String = sqlx::query_scalar(
        "SELECT current_setting('app.current_tenant_id', true) FROM (SELECT billing.forget_usage_keys(now(), 1)) f",
    )
    .fetch_one(&mut auth)
    .await
    .unwrap();
    assert_eq!(tenant, "", "nobody is left in a tenant's place");
}
