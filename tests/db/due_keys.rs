//! What it costs to ask which tenants' keys are due, where there are many tenants. Pages that are touched are counted, no time.

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::TestDatabase;

const TENANTS: u32 = 10_000;

/// Ten thousand tenants whose keys are due in an hour.
async fn database() -> (TestDatabase, PgConnection) {
    let database = TestDatabase::new().await;
    let insert = format!(
        "INSERT INTO platform.directory (tenant_id, slug, region, state, epoch, config_version, created_at, keys_due_at)
         SELECT gen_random_uuid(), 'tenant-' || n, 'local', 'active', 1, 1, now(), now() + interval '1 hour'
         FROM generate_series(1, {TENANTS}) n;
         ANALYZE platform.directory"
    );
    database.as_admin(&insert).await;
    let role = database.connect("app_auth").await;
    (database, role)
}

/// Tenants claimed, and pages that PostgreSQL touched for it.
async fn claim(role: &mut PgConnection, n: u32) -> (u64, u64) {
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT platform.claim_due_keys({n})");
    let explained: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(role).await.unwrap();
    let plan = explained.pointer("/0/Plan").unwrap();
    let number = |key: &str| plan.get(key).unwrap().as_u64().unwrap();
    (number("Actual Rows"), number("Shared Hit Blocks") + number("Shared Read Blocks"))
}

#[tokio::test]
async fn looking_for_due_keys_among_ten_thousand_tenants_touches_a_few_pages() {
    let (database, mut role) = database().await;
    // The first call of a session reads the catalogue, too.
    claim(&mut role, 20).await;
    let (n_claimed, n_pages) = claim(&mut role, 20).await;
    assert_eq!(n_claimed, 0);
    assert!(n_pages <= 10, "{n_pages} pages for nothing");

    database
        .as_admin(
            "UPDATE platform.directory SET keys_due_at = now() - interval '1 second'
             WHERE slug IN (SELECT 'tenant-' || n * 100 FROM generate_series(1, 30) n)",
        )
        .await;
    let (n_claimed, n_pages) = claim(&mut role, 20).await;
    assert_eq!(n_claimed, 20);
    // Each row is found, locked, written and put into three indexes.
    assert!(n_pages <= 20 * 30, "{n_pages} pages for 20 tenants");
    assert_eq!(claim(&mut role, 20).await.0, 10, "each is claimed once");
    assert_eq!(claim(&mut role, 20).await.0, 0);

    // The measure can tell: without the index every tenant is looked at.
    database.as_admin("DROP INDEX platform.directory_keys_due_idx").await;
    claim(&mut role, 20).await;
    let (_, n_pages) = claim(&mut role, 20).await;
    assert!(n_pages > 50, "{n_pages} pages without the index");
}
