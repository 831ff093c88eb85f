//! The catalogue part: each rule is seen to fire on a seeded fault, and nothing else fires.

use businessos::db::embedded::SUPERUSER;
use businessos::db::rls_check::{EXEMPTIONS, Exemption, Options, Report, check};

use crate::support::{SERVICE_ROLE, TestDatabase};

/// Two protected tables as the documentation shows them.
pub const CLEAN: &str = "
    CREATE SCHEMA shop;
    GRANT USAGE ON SCHEMA shop TO crm_rw;
    CREATE TABLE shop.companies (
        tenant_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), name text NOT NULL,
        kind text NOT NULL CHECK (kind IN ('customer', 'partner')), size bigint NOT NULL CHECK (size BETWEEN 10 AND 90),
        PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name));
    CREATE TABLE shop.contacts (
        tenant_id uuid NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), company_id uuid NOT NULL,
        email_norm text NOT NULL CHECK (email_norm ~ '@'), details jsonb NOT NULL DEFAULT '{}', note text,
        CHECK (note IS NOT NULL OR details <> '{}'),
        PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email_norm),
        FOREIGN KEY (tenant_id, company_id) REFERENCES shop.companies (tenant_id, id));
    SELECT platform.protect_table('shop.companies');
    SELECT platform.protect_table('shop.contacts');
    GRANT SELECT, INSERT, UPDATE, DELETE ON shop.companies, shop.contacts TO crm_rw;
";

fn options() -> Options {
    Options::new(&[SERVICE_ROLE.to_owned()])
}

/// The report on a database with the clean tables and one fault, seeded by the superuser.
async fn report_with(fault: &str) -> Report {
    let db = TestDatabase::new().await;
    db.as_owner(CLEAN).await;
    db.as_admin(fault).await;
    check(&mut db.connect(SUPERUSER).await, &options()).await.unwrap()
}

/// The fault is found under its code at its object; every other finding is one of `besides`.
async fn fires(fault: &str, code: &str, object: &str, besides: &[&str]) {
    let report = report_with(fault).await;
    assert!(report.found(code, Some(object)), "{code} did not fire at {object}:\n{report}");
    let other =
        report.findings.iter().find(|finding| finding.code != code && !besides.contains(&finding.code.as_str()));
    assert!(other.is_none(), "{code}: more than was seeded:\n{report}");
}

#[tokio::test]
async fn the_platforms_schema_and_protected_tables_are_clean_even_as_the_request_paths_role() {
    let db = TestDatabase::new().await;
    for role in ["app_rw", SUPERUSER] {
        let report = check(&mut db.connect(role).await, &options()).await.unwrap();
        assert!(report.findings.is_empty(), "{role}:\n{report}");
    }
    db.as_owner(CLEAN).await;
    let report = check(&mut db.connect("app_rw").await, &options()).await.unwrap();
    assert!(report.findings.is_empty(), "{report}");
    assert_eq!(report.n_exempted, EXEMPTIONS.iter().filter(|exemption| !exemption.code.starts_with('B')).count());
}

/// Fault, rule, object, rules that the same fault breaks as well.
const TABLE_FAULTS: &[(&str, &str, &str, &[&str])] = &[
    ("CREATE TABLE shop.t (id int)", "R01_no_tenant_id", "shop.t", &[]),
    (
        "CREATE TABLE shop.t (tenant_id text NOT NULL PRIMARY KEY)",
        "R01_no_tenant_id",
        "shop.t",
        &["R03_rls_off", "R04_no_force"],
    ),
    (
        "ALTER TABLE shop.companies ADD c int; ALTER TABLE shop.contacts DROP CONSTRAINT contacts_pkey; \
      ALTER TABLE shop.contacts ALTER tenant_id DROP NOT NULL",
        "R02_tenant_id_nullable",
        "shop.contacts",
        &[],
    ),
    ("ALTER TABLE shop.contacts DISABLE ROW LEVEL SECURITY", "R03_rls_off", "shop.contacts", &[]),
    ("ALTER TABLE shop.contacts NO FORCE ROW LEVEL SECURITY", "R04_no_force", "shop.contacts", &[]),
    (
        "CREATE TABLE shop.p (tenant_id uuid NOT NULL PRIMARY KEY) PARTITION BY HASH (tenant_id); \
      SELECT platform.protect_table('shop.p'); \
      CREATE TABLE shop.p0 PARTITION OF shop.p FOR VALUES WITH (MODULUS 1, REMAINDER 0); GRANT SELECT ON shop.p0 TO crm_rw",
        "R05_partition_open",
        "shop.p0",
        &[],
    ),
    (
        "DROP POLICY tenant_guard ON shop.contacts; DROP POLICY tenant_open ON shop.contacts",
        "R06_no_policy",
        "shop.contacts",
        &["R07_no_guard"],
    ),
    ("DROP POLICY tenant_guard ON shop.contacts", "R07_no_guard", "shop.contacts", &[]),
    ("ALTER POLICY tenant_guard ON shop.contacts TO crm_rw", "R07_no_guard", "shop.contacts", &[]),
    ("ALTER POLICY tenant_guard ON shop.contacts WITH CHECK (true)", "R07_no_guard", "shop.contacts", &[]),
    (
        "ALTER POLICY tenant_guard ON shop.contacts USING (true OR tenant_id IS NULL) WITH CHECK (true OR tenant_id IS NULL)",
        "R07_no_guard",
        "shop.contacts",
        &[],
    ),
    ("DROP POLICY tenant_open ON shop.contacts", "R08_nothing_permitted", "shop.contacts", &[]),
    (
        "CREATE UNIQUE INDEX oracle ON shop.contacts (email_norm)",
        "R09_unique_without_tenant",
        "shop.contacts.oracle",
        &[],
    ),
    (
        "CREATE UNIQUE INDEX oracle ON shop.contacts (email_norm) INCLUDE (tenant_id)",
        "R09_unique_without_tenant",
        "shop.contacts.oracle",
        &[],
    ),
    (
        "CREATE TABLE shop.t (tenant_id uuid NOT NULL); SELECT platform.protect_table('shop.t')",
        "R10_no_leading_index",
        "shop.t",
        &[],
    ),
    (
        "CREATE UNIQUE INDEX ids ON shop.companies (id); \
      ALTER TABLE shop.contacts ADD CONSTRAINT crossing FOREIGN KEY (company_id) REFERENCES shop.companies (id)",
        "R11_fk_without_tenant",
        "shop.contacts.crossing",
        &["R09_unique_without_tenant"],
    ),
    ("CREATE VIEW shop.v AS SELECT * FROM shop.contacts", "R12_view_as_owner", "shop.v", &[]),
    (
        "CREATE VIEW shop.v WITH (security_invoker = off) AS SELECT * FROM shop.contacts",
        "R12_view_as_owner",
        "shop.v",
        &[],
    ),
    (
        "CREATE MATERIALIZED VIEW shop.m AS SELECT * FROM shop.contacts; GRANT SELECT ON shop.m TO crm_rw",
        "R13_no_rls_possible",
        "shop.m",
        &[],
    ),
    (
        "CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT 1'",
        "R14_security_definer",
        "shop.f()",
        &[],
    ),
    ("GRANT TRUNCATE ON shop.contacts TO crm_rw", "R18_rights_round_policies", "shop.contacts", &[]),
    ("GRANT TRIGGER ON shop.contacts TO crm_rw", "R18_rights_round_policies", "shop.contacts", &[]),
    ("GRANT REFERENCES (id) ON shop.contacts TO crm_rw", "R18_rights_round_policies", "shop.contacts", &[]),
    ("GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO PUBLIC", "R19_set_config", "app_rw", &[]),
    ("GRANT CREATE ON SCHEMA shop TO crm_rw", "R20_create", "shop", &[]),
    (
        "CREATE INDEX leaky ON shop.contacts (tenant_id, lower(email_norm))",
        "R21_leaky_index",
        "shop.contacts.leaky",
        &[],
    ),
    ("CREATE INDEX leaky ON shop.contacts USING gin (details)", "R21_leaky_index", "shop.contacts.leaky", &[]),
    (
        "CREATE TYPE shop.e AS ENUM ('a'); ALTER TABLE shop.contacts ADD e shop.e; CREATE INDEX leaky ON shop.contacts (tenant_id, e)",
        "R21_leaky_index",
        "shop.contacts.leaky",
        &[],
    ),
    ("GRANT SELECT ON shop.contacts TO PUBLIC", "R22_public_rights", "shop.contacts", &[]),
    ("CREATE UNIQUE INDEX late ON shop.contacts (id, tenant_id)", "R23_tenant_not_leading", "shop.contacts.late", &[]),
    (
        "CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; \
      REVOKE ALL ON FUNCTION shop.f() FROM PUBLIC",
        "R24_unpinned_function",
        "shop.f()",
        &[],
    ),
    ("CREATE RULE r AS ON INSERT TO shop.contacts DO ALSO NOTHING", "R26_rewrite_rule", "shop.contacts.r", &[]),
    (
        "CREATE FUNCTION shop.f() RETURNS bool LANGUAGE sql STABLE AS 'SELECT true'; \
      CREATE POLICY slow ON shop.contacts USING (shop.f())",
        "R27_policy_function",
        "shop.contacts.slow",
        &[],
    ),
];

#[tokio::test]
async fn every_rule_about_tables_views_and_functions_fires() {
    for (fault, code, object, besides) in TABLE_FAULTS {
        fires(fault, code, object, besides).await;
    }
}

/// Roles belong to the whole cluster, so these faults get a role of their own: `{role}`.
const ROLE_FAULTS: &[(&str, &str, &str, &[&str])] = &[
    ("ALTER ROLE {role} BYPASSRLS", "R15_role_attributes", "{role}", &[]),
    ("ALTER ROLE {role} CREATEROLE", "R15_role_attributes", "{role}", &[]),
    ("GRANT app_owner TO {role}", "R16_role_member", "{role}", &["R20_create", "R25_database_rights"]),
    ("GRANT app_rw TO {role}", "R16_role_member", "{role}", &[]),
    ("GRANT pg_read_all_data TO {role}", "R16_role_member", "{role}", &[]),
    ("ALTER TABLE shop.contacts OWNER TO {role}", "R17_owner", "shop.contacts", &["R18_rights_round_policies"]),
    ("ALTER SCHEMA shop OWNER TO {role}", "R17_owner", "shop", &["R20_create"]),
    ("GRANT CREATE ON DATABASE {database} TO {role}", "R25_database_rights", "{database}", &[]),
    ("GRANT TEMPORARY ON DATABASE {database} TO {role}", "R25_database_rights", "{database}", &[]),
];

#[tokio::test]
async fn every_rule_about_roles_fires() {
    for (fault, code, object, besides) in ROLE_FAULTS {
        let db = TestDatabase::new().await;
        let role = format!("svc_{}", uuid::Uuid::new_v4().simple());
        let fill = |text: &str| text.replace("{role}", &role).replace("{database}", db.name());
        db.as_owner(CLEAN).await;
        db.as_admin(&format!("CREATE ROLE {role} LOGIN NOINHERIT; {}", fill(fault))).await;
        let options = options();
        let app_roles = options.app_roles.iter().cloned().chain([role.clone()]).collect();
        let options = Options { app_roles, ..options };
        let report = check(&mut db.connect(SUPERUSER).await, &options).await.unwrap();
        assert!(report.found(code, Some(&fill(object))), "{fault}: {code} did not fire:\n{report}");
        let other = report.findings.iter().find(|found| found.code != *code && !besides.contains(&found.code.as_str()));
        assert!(other.is_none(), "{fault}: more than was seeded:\n{report}");
    }
}

#[tokio::test]
async fn a_role_that_does_not_exist_is_reported_rather_than_passed_over() {
    let db = TestDatabase::new().await;
    let options = Options { app_roles: vec!["nobody_here".to_owned()], ..options() };
    let report = check(&mut db.connect(SUPERUSER).await, &options).await.unwrap();
    assert!(report.has_errors() && report.found("R00_role_missing", Some("nobody_here")), "{report}");
}

#[tokio::test]
async fn an_exemption_covers_its_object_and_is_reported_when_the_object_is_gone() {
    let ours = Exemption { code: "R01_no_tenant_id", object: "shop.plans", reason: "the same for everybody" };
    let list: &'static [Exemption] = Vec::leak(EXEMPTIONS.iter().copied().chain([ours]).collect());
    let db = TestDatabase::new().await;
    let options = Options { exemptions: list, ..options() };
    let report = check(&mut db.connect(SUPERUSER).await, &options).await.unwrap();
    assert!(report.found("X01_unused_exemption", Some("shop.plans")), "{report}");
    db.as_owner("CREATE SCHEMA shop; CREATE TABLE shop.plans (name text)").await;
    let report = check(&mut db.connect(SUPERUSER).await, &options).await.unwrap();
    assert!(report.findings.is_empty(), "{report}");
}

#[tokio::test]
async fn protect_table_can_be_repeated_covers_partitions_and_refuses_what_it_cannot_protect() {
    let db = TestDatabase::new().await;
    db.as_owner(
        "CREATE SCHEMA shop; CREATE TABLE shop.p (tenant_id uuid NOT NULL PRIMARY KEY) PARTITION BY HASH (tenant_id);
         CREATE TABLE shop.\"P 0\" PARTITION OF shop.p FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         GRANT ALL ON shop.p, shop.\"P 0\" TO crm_rw;
         SELECT platform.protect_table('shop.p'); SELECT platform.protect_table('shop.p');
         SELECT platform.protect_table('shop.\"P 0\"')",
    )
    .await;
    let report = check(&mut db.connect(SUPERUSER).await, &options()).await.unwrap();
    assert!(report.findings.is_empty(), "{report}");

    let mut conn = db.connect(SUPERUSER).await;
    for (made, state) in [
        ("CREATE TABLE shop.t (id int); SELECT platform.protect_table('shop.t')", "42P16"),
        ("CREATE TABLE shop.t (tenant_id uuid); SELECT platform.protect_table('shop.t')", "42P16"),
        ("CREATE TABLE shop.t (tenant_id text NOT NULL); SELECT platform.protect_table('shop.t')", "42P16"),
        ("CREATE VIEW shop.t AS SELECT 1; SELECT platform.protect_table('shop.t')", "42809"),
        ("SELECT platform.protect_table(0)", "42P01"),
    ] {
        assert_eq!(crate::support::sqlstate(&mut conn, made).await, state, "{made}");
    }
    // Somebody else's table is not for others to change, the guard included.
    let mut service = db.connect(SERVICE_ROLE).await;
    db.as_owner("GRANT USAGE ON SCHEMA shop TO crm_rw").await;
    assert_eq!(crate::support::sqlstate(&mut service, "SELECT platform.protect_table('shop.p')").await, "42501");
}
