use businessos::db::bootstrap::{BootstrapError, bootstrap, migrate, pending_migrations};
use businessos::db::embedded::SUPERUSER;
use secrecy::SecretString;
use sqlx::Row as _;

use crate::support::{SERVICE_ROLE, TestDatabase, sqlstate};

fn services() -> Vec<String> {
    vec![SERVICE_ROLE.to_owned()]
}

#[tokio::test]
async fn bootstrap_and_migrate_can_be_repeated() {
    let db = TestDatabase::new().await;
    let admin = db.options(SUPERUSER);
    for _ in 0..2 {
        assert_eq!(bootstrap(&admin, db.name(), &services(), None).await.unwrap().warnings, Vec::<String>::new());
        assert_eq!(migrate(&admin).await.unwrap().applied, 0);
    }
    assert_eq!(pending_migrations(&admin).await.unwrap(), Vec::<i64>::new());
}

#[tokio::test]
async fn two_servers_at_once_make_one_database_and_one_schema() {
    let db = TestDatabase::new().await;
    let name = format!("{}_twin", db.name());
    let admin = db.options(SUPERUSER).database(&name);
    let services = services();
    let (one, two) = tokio::join!(bootstrap(&admin, &name, &services, None), bootstrap(&admin, &name, &services, None));
    one.unwrap();
    two.unwrap();
    assert!(!pending_migrations(&admin).await.unwrap().is_empty());
    let (one, two) = tokio::join!(migrate(&admin), migrate(&admin));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.applied + two.applied, one.known);
    assert_eq!(one.applied.min(two.applied), 0);
}

#[tokio::test]
async fn roles_have_their_attributes_and_wrong_ones_are_put_right() {
    // Roles belong to the whole cluster, which other tests use: the role spoilt here is this test's own.
    let db = TestDatabase::new().await;
    let own = format!("svc_{}", uuid::Uuid::new_v4().simple());
    let admin = db.options(SUPERUSER);
    bootstrap(&admin, db.name(), std::slice::from_ref(&own), None).await.unwrap();
    db.as_admin(&format!("ALTER ROLE {own} SUPERUSER BYPASSRLS CREATEDB CREATEROLE INHERIT REPLICATION NOLOGIN")).await;
    bootstrap(&admin, db.name(), std::slice::from_ref(&own), None).await.unwrap();

    let mut conn = db.connect(SUPERUSER).await;
    let expected = [
        ("app_owner", false, false),
        ("app_rw", true, false),
        ("app_auth", true, false),
        ("app_secrets", true, false),
        ("app_ops", false, true),
        (own.as_str(), true, false),
    ];
    for (role, login, bypass) in expected {
        let row = sqlx::query(
            "SELECT rolcanlogin, rolbypassrls, \
                    rolsuper OR rolcreatedb OR rolcreaterole OR rolinherit OR rolreplication AS too_much, \
                    coalesce(rolconfig, '{}') @> ARRAY['idle_in_transaction_session_timeout=10s'] AS limited \
             FROM pg_roles WHERE rolname = $1",
        )
        .bind(role)
        .fetch_one(&mut conn)
        .await
        .unwrap();
        assert_eq!(row.get::<bool, _>("rolcanlogin"), login, "{role}");
        assert_eq!(row.get::<bool, _>("rolbypassrls"), bypass, "{role}");
        assert!(!row.get::<bool, _>("too_much"), "{role}");
        assert_eq!(row.get::<bool, _>("limited"), login, "{role}");
    }
}

#[tokio::test]
async fn application_roles_may_not_call_set_config_nor_make_anything() {
    let db = TestDatabase::new().await;
    for role in ["app_rw", "app_auth", "app_secrets", SERVICE_ROLE] {
        let mut conn = db.connect(role).await;
        for refused in [
            "SELECT set_config('app.current_tenant_id', '', true)",
            "CREATE TEMPORARY TABLE t ()",
            "CREATE TABLE public.t ()",
            "CREATE TABLE platform.t ()",
            "CREATE SCHEMA s",
            "SELECT * FROM platform_meta._sqlx_migrations",
            "SET ROLE app_owner",
        ] {
            assert_eq!(sqlstate(&mut conn, refused).await, "42501", "{role}: {refused}");
        }
        assert_eq!(sqlstate(&mut conn, "BEGIN; SET LOCAL app.current_tenant_id = 'x'; COMMIT").await, "");
    }
}

#[tokio::test]
async fn a_database_that_is_not_ours_lets_nobody_else_in() {
    let db = TestDatabase::new().await;
    db.as_admin("DO $$ BEGIN CREATE ROLE stranger LOGIN; EXCEPTION WHEN duplicate_object THEN END $$").await;
    use sqlx::ConnectOptions as _;
    let refusal = db.options("stranger").connect().await.unwrap_err();
    assert_eq!(refusal.as_database_error().unwrap().code().unwrap(), "42501");
}

#[tokio::test]
async fn an_administrator_without_superuser_gets_as_far_as_postgresql_permits() {
    let db = TestDatabase::new().await;
    let admin_name = format!("admin_{}", uuid::Uuid::new_v4().simple());
    // As on a managed server: the roles exist already and belong to the administrator.
    db.as_admin(&format!(
        "CREATE ROLE {admin_name} LOGIN CREATEROLE CREATEDB; \
         GRANT app_owner, app_rw, app_auth, app_secrets, app_ops, {SERVICE_ROLE} TO {admin_name} WITH ADMIN OPTION"
    ))
    .await;
    let name = format!("{}_ext", db.name());
    let admin = db.options(&admin_name).database(&name);
    let done = bootstrap(&admin, &name, &services(), None).await.unwrap();
    assert_eq!(done.warnings.len(), 1, "{:?}", done.warnings);
    assert!(done.warnings.iter().any(|warning| warning.contains("set_config")));
    let migrated = migrate(&admin).await.unwrap();
    assert_eq!(migrated.applied, migrated.known);
}

#[tokio::test]
async fn passwords_are_stored_as_verifiers() {
    let db = TestDatabase::new().await;
    let own = format!("svc_{}", uuid::Uuid::new_v4().simple());
    let password = |role: &str| SecretString::from(format!("password of {role}"));
    bootstrap(&db.options(SUPERUSER), db.name(), std::slice::from_ref(&own), Some(&password)).await.unwrap();
    let mut conn = db.connect(SUPERUSER).await;
    let stored: String = sqlx::query_scalar("SELECT rolpassword FROM pg_authid WHERE rolname = $1")
        .bind(&own)
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(stored.starts_with("SCRAM-SHA-256$4096:"));
}

#[tokio::test]
async fn names_that_would_be_dangerous_are_refused() {
    let db = TestDatabase::new().await;
    let admin = db.options(SUPERUSER);
    let refused = bootstrap(&admin, "a\"b", &[], None).await.unwrap_err();
    assert!(matches!(refused, BootstrapError::DatabaseName(_)));
    let refused = bootstrap(&admin, db.name(), &["app_ops".to_owned()], None).await.unwrap_err();
    assert!(matches!(refused, BootstrapError::ServiceRole(_)));
}
