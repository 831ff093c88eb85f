//! The behavioural part: rows are really tried for, and each kind of leak is seen.

use businessos::db::embedded::SUPERUSER;
use businessos::db::rls_check::{Options, Report, check};

use crate::rls_check::CLEAN;
use crate::support::{SERVICE_ROLE, TestDatabase};

async fn report_with(fault: &str) -> Report {
    let db = TestDatabase::new().await;
    db.as_owner(CLEAN).await;
    db.as_admin(fault).await;
    let options = Options::new(&[SERVICE_ROLE.to_owned()]).with_behaviour();
    let report = check(&mut db.connect(SUPERUSER).await, &options).await.unwrap();
    let mut conn = db.connect(SUPERUSER).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM shop.companies").fetch_one(&mut conn).await.unwrap();
    assert_eq!(left, 0, "the probes left rows behind");
    report
}

#[tokio::test]
async fn protected_tables_stand_every_probe_and_all_of_them_are_probed() {
    let report = report_with("SELECT 1").await;
    assert!(report.findings.is_empty(), "{report}");
    assert!(report.not_probed.is_empty(), "{report}");
    let db = TestDatabase::new().await;
    let options = Options::new(&[SERVICE_ROLE.to_owned()]).with_behaviour();
    let without = check(&mut db.connect(SUPERUSER).await, &options).await.unwrap();
    // Two tables: three reads, three changes, four inserts.
    assert_eq!(report.n_probes, without.n_probes + 2 * 10);
}

#[tokio::test]
async fn the_administrator_of_a_managed_server_can_probe_too() {
    let db = TestDatabase::new().await;
    db.as_owner(CLEAN).await;
    let admin = format!("admin_{}", uuid::Uuid::new_v4().simple());
    db.as_admin(&format!(
        "CREATE ROLE {admin} LOGIN; GRANT app_owner, app_rw, app_auth, app_secrets, {SERVICE_ROLE} TO {admin}; \
         GRANT CONNECT ON DATABASE {} TO {admin}",
        db.name()
    ))
    .await;
    let options = Options::new(&[SERVICE_ROLE.to_owned()]).with_behaviour();
    let report = check(&mut db.connect(&admin).await, &options).await.unwrap();
    assert!(report.findings.is_empty() && report.not_probed.is_empty(), "{report}");
}

/// Fault, and the behaviour that it must show at an object.
const LEAKS: &[(&str, &str, &str)] = &[
    ("ALTER TABLE shop.contacts DISABLE ROW LEVEL SECURITY", "B01_read_without_tenant", "shop.contacts"),
    // The policy of most tutorials: one permissive policy, which the next one opens.
    (
        "DROP POLICY tenant_guard ON shop.contacts; DROP POLICY tenant_open ON shop.contacts; \
         CREATE POLICY own ON shop.contacts USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid); \
         CREATE POLICY support ON shop.contacts FOR SELECT USING (true)",
        "B02_read_other_tenant",
        "shop.contacts",
    ),
    ("DROP POLICY tenant_open ON shop.contacts", "B03_own_row_hidden", "shop.contacts"),
    ("DROP POLICY tenant_guard ON shop.contacts", "B04_update_other_tenant", "shop.contacts"),
    ("DROP POLICY tenant_guard ON shop.contacts", "B05_delete_other_tenant", "shop.contacts"),
    ("ALTER POLICY tenant_guard ON shop.contacts WITH CHECK (true)", "B06_move_to_other_tenant", "shop.contacts"),
    ("ALTER POLICY tenant_guard ON shop.contacts WITH CHECK (true)", "B07_insert_for_other_tenant", "shop.contacts"),
    ("ALTER POLICY tenant_guard ON shop.contacts WITH CHECK (true)", "B08_insert_without_tenant", "shop.contacts"),
    ("ALTER TABLE shop.contacts ADD UNIQUE (email_norm)", "B09_conflict_with_other_tenant", "shop.contacts"),
    // Without FORCE the owner sees everything, and so does everybody through a view of its.
    (
        "ALTER TABLE shop.contacts NO FORCE ROW LEVEL SECURITY; SET ROLE app_owner; \
         CREATE VIEW shop.leak AS SELECT * FROM shop.contacts; GRANT SELECT ON shop.leak TO crm_rw",
        "B02_read_other_tenant",
        "shop.leak",
    ),
    // A view of the superuser's goes round policies even where they are forced.
    (
        "CREATE VIEW shop.leak AS SELECT * FROM shop.contacts; GRANT SELECT ON shop.leak TO crm_rw",
        "B01_read_without_tenant",
        "shop.leak",
    ),
    (
        "CREATE TABLE shop.p (tenant_id uuid NOT NULL PRIMARY KEY) PARTITION BY HASH (tenant_id); \
         SELECT platform.protect_table('shop.p'); \
         CREATE TABLE shop.p0 PARTITION OF shop.p FOR VALUES WITH (MODULUS 1, REMAINDER 0); \
         GRANT SELECT ON shop.p, shop.p0 TO crm_rw",
        "B02_read_other_tenant",
        "shop.p0",
    ),
];

#[tokio::test]
async fn every_kind_of_leak_is_seen() {
    for (fault, code, object) in LEAKS {
        let report = report_with(fault).await;
        assert!(report.has_errors() && report.found(code, Some(object)), "{fault}: {code} not seen:\n{report}");
    }
}

#[tokio::test]
async fn a_table_whose_rows_cannot_be_made_is_named_and_its_inserts_are_probed_all_the_same() {
    const HARD: &str = "CREATE TABLE shop.hard (tenant_id uuid NOT NULL PRIMARY KEY, code text NOT NULL CHECK (md5(code) ~ '^0{31}')); \
                        SELECT platform.protect_table('shop.hard'); GRANT SELECT, INSERT ON shop.hard TO crm_rw;";
    let report = report_with(HARD).await;
    assert!(report.findings.is_empty(), "{report}");
    assert!(report.not_probed.iter().any(|gap| gap.object == "shop.hard as crm_rw"), "{report}");

    let report = report_with(&format!("{HARD} ALTER POLICY tenant_guard ON shop.hard WITH CHECK (true)")).await;
    assert!(report.found("B07_insert_for_other_tenant", Some("shop.hard")), "{report}");
}
