//! Usage that a process wrote down before it died is counted by the next one, once.

use businessos::clock;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use businessos::actors::billing_meter::spool::Spool;
use businessos::domain::meter::MeterName;
use businessos::domain::usage::UsageRecord;
use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::helpers::{App, Session, spawn_app_on, until};
use crate::metered::{app_with, counted};
use crate::provider::{Provider, reply};
use crate::support::TestDatabase;
use crate::usage::used;

/// What the gateway saw of a tenant.
fn record(tenant: &str, meter: &str, quantity: i64) -> UsageRecord {
    UsageRecord {
        tenant: tenant.parse().unwrap(),
        meter: MeterName::parse(meter).unwrap(),
        quantity,
        occurred_at: clock::now(),
        key: None,
        source: "gateway".to_owned(),
        dims: BTreeMap::new(),
        reservation: None,
    }
}

/// The same under a name of its own.
fn keyed(tenant: &str, key: &str, quantity: i64) -> UsageRecord {
    let key = Some(key.to_owned());
    UsageRecord { key, source: "service:/ai".to_owned(), ..record(tenant, "ai_tokens", quantity) }
}

/// Writes into a spool below a data directory, as a process that is killed then.
fn leave(data_dir: &Path, records: &[UsageRecord]) {
    let spool = Spool::open(&data_dir.join("spool")).unwrap();
    for record in records {
        spool.append(record).unwrap();
    }
}

/// An application that has made acme, and one that finds what `leave` wrote before it started, with acme's owner there.
async fn two_lives(what: impl FnOnce(&str) -> Vec<UsageRecord>) -> (App, App, Session, String) {
    let db = Arc::new(TestDatabase::new().await);
    let first = spawn_app_on(Arc::clone(&db), None, |_| {}).await;
    let tenant = first.onboard("acme").await;
    let records = what(&tenant.id);
    let second = spawn_app_on(db, None, |settings| {
        settings.metering.flush_ms = 20;
        // Twice the same segments: as if the first attempt had died after its commit.
        leave(&settings.data_dir, &records);
        let spool = settings.data_dir.join("spool");
        let left = std::fs::read_dir(&spool).unwrap().next().unwrap().unwrap().path();
        let copy = spool.join(Uuid::now_v7().to_string());
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(&left).unwrap() {
            let path = file.unwrap().path();
            std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
    })
    .await;
    let owner = second.sign_in("acme", &tenant.owner).await;
    (first, second, owner, tenant.id)
}

/// Files and directories of the spool, without the process's own directory.
fn left_in(app: &App) -> Vec<String> {
    let spool = app.data_dir().join("spool");
    let names = std::fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.parse::<Uuid>().is_err()).collect()
}

fn n_directories(app: &App) -> usize {
    let spool = app.data_dir().join("spool");
    std::fs::read_dir(spool).unwrap().filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count()
}

#[tokio::test]
async fn what_a_dead_process_left_is_counted_once_though_it_is_found_twice() {
    let (_first, app, owner, _) = two_lives(|tenant| {
        let mut records: Vec<_> = (0..100).map(|_| record(tenant, "ai_tokens", 3)).collect();
        records.extend([keyed(tenant, "op-1", 50), keyed(tenant, "op-2", 60), record(tenant, "workflow_runs", 1)]);
        // The service names the same operation again, later.
        let again = UsageRecord { occurred_at: clock::now() + TimeDelta::seconds(2), ..keyed(tenant, "op-1", 50) };
        records.push(again);
        records
    })
    .await;
    until("the leftovers are gone", async || n_directories(&app) == 1).await;
    assert_eq!(used(&app, &owner, "ai_tokens", "").await["used"], 410);
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 1);
    assert_eq!(left_in(&app), Vec::<String>::new(), "nothing was rejected");
    let events = "SELECT count(*) FROM billing.usage_events WHERE source = 'gateway'";
    assert_eq!(app.count(events).await, 2, "calls without names are added up");
}

/// Has the database fail, as with a broken page, wherever a counter is written of a tenant that `condition` is true of.
async fn break_counters(app: &App, condition: &str) {
    let function = format!(
        "CREATE FUNCTION public.break_counters() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN IF {condition} THEN RAISE EXCEPTION 'broken' USING ERRCODE = 'XX001'; END IF; RETURN NEW; END $$"
    );
    app.db.as_admin(&function).await;
    let trigger = "CREATE TRIGGER break_counters BEFORE INSERT OR UPDATE ON billing.usage_counters
                   FOR EACH ROW EXECUTE FUNCTION public.break_counters()";
    app.db.as_admin(trigger).await;
}

/// An application with one route that counts its calls.
async fn with_route() -> (Provider, App) {
    let service = Provider::start(|_, stream| reply(stream, 200, "", "fine"));
    let app = app_with(service.route("/run", "meter = \"workflow_runs\""), |_| {}).await;
    (service, app)
}

#[tokio::test]
async fn while_the_database_is_broken_usage_waits_and_nothing_is_set_aside() {
    let (_service, app) = with_route().await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    break_counters(&app, "true").await;
    assert_eq!(app.get("acme", "/run/x").token(&owner).await.status, 200);
    let has_failed = async || {
        let metrics = app.admin("/metrics").await.body;
        let failed = metrics.lines().find_map(|line| line.strip_prefix("usage_spool_failed_rounds_total "));
        failed.unwrap().parse::<u64>().unwrap() >= 2
    };
    until("it was tried twice", has_failed).await;
    assert_eq!(left_in(&app), Vec::<String>::new());
    app.db.as_admin("DROP TRIGGER break_counters ON billing.usage_counters").await;
    counted(&app, &owner, "workflow_runs", 1).await;
}

#[tokio::test]
async fn a_tenant_whose_rows_are_broken_holds_up_nobody_elses_usage() {
    let (_service, app) = with_route().await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (other, others) = app.tenant_with_owner("globex").await;
    break_counters(&app, &format!("NEW.tenant_id = '{}'", other.id)).await;
    assert_eq!(app.get("globex", "/run/x").token(&others).await.status, 200);
    let mut n_calls = 0;
    until("what is broken is set aside", async || {
        // It waits for a round in which somebody else's usage is counted.
        assert_eq!(app.get("acme", "/run/x").token(&owner).await.status, 200);
        n_calls += 1;
        left_in(&app) == ["rejected"]
    })
    .await;
    counted(&app, &owner, "workflow_runs", n_calls).await;
    let text = std::fs::read_to_string(app.data_dir().join("spool/rejected")).unwrap();
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!((&line["tenant"], &line["quantity"]), (&json!(other.id), &json!(1)), "{line}");
}

#[tokio::test]
async fn what_cannot_be_counted_is_set_aside_and_holds_up_nothing() {
    let nobody = Uuid::now_v7().to_string();
    let stranger = nobody.clone();
    let (_first, app, owner, tenant) = two_lives(move |tenant| {
        vec![
            record(tenant, "ai_tokens", 1),
            record(tenant, "nothing", 2),
            record(&stranger, "ai_tokens", 4),
            record(tenant, "nothing", 8),
            keyed(tenant, "op", 16),
            keyed(tenant, "op", 32),
            record(tenant, "ai_tokens", 64),
        ]
    })
    .await;
    until("the leftovers are gone", async || n_directories(&app) == 1).await;
    assert_eq!(used(&app, &owner, "ai_tokens", "").await["used"], 81);
    assert_eq!(left_in(&app), ["rejected"]);
    let text = std::fs::read_to_string(app.data_dir().join("spool/rejected")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut set_aside: Vec<_> =
        lines.iter().map(|line| (line["tenant"].as_str().unwrap(), line["quantity"].as_i64().unwrap())).collect();
    set_aside.sort_unstable();
    set_aside.dedup();
    let mut expected = vec![(&*tenant, 2), (&*nobody, 4), (&*tenant, 8), (&*tenant, 32)];
    expected.sort_unstable();
    assert_eq!(set_aside, expected);
    assert!(lines.iter().all(|line| line["reason"] != json!("")), "{text}");
}

#[tokio::test]
async fn a_damaged_segment_is_kept_and_its_whole_lines_are_counted() {
    let db = Arc::new(TestDatabase::new().await);
    let first = spawn_app_on(Arc::clone(&db), None, |_| {}).await;
    let tenant = first.onboard("acme").await;
    let app = spawn_app_on(db, None, |settings| {
        leave(&settings.data_dir, &[1, 2, 4].map(|quantity| record(&tenant.id, "ai_tokens", quantity)));
        let left = std::fs::read_dir(settings.data_dir.join("spool")).unwrap().next().unwrap().unwrap().path();
        let is_segment = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "log");
        let segment = std::fs::read_dir(left).unwrap().map(|entry| entry.unwrap().path()).find(is_segment).unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[30] ^= 1;
        bytes.extend_from_slice(b"00000000 {\"torn");
        std::fs::write(&segment, bytes).unwrap();
    })
    .await;
    until("the leftovers are gone", async || n_directories(&app) == 1).await;
    let owner = app.sign_in("acme", &tenant.owner).await;
    assert_eq!(used(&app, &owner, "ai_tokens", "").await["used"], 6);
    let left = left_in(&app);
    assert!(left.len() == 1 && left[0].ends_with(".damaged"), "{left:?}");
    let metrics = app.admin("/metrics").await.body;
    assert!(metrics.contains("usage_spool_damaged_lines_total 1"), "{metrics}");
}

#[tokio::test]
async fn what_was_written_under_a_wrong_clock_or_long_ago_is_counted_all_the_same() {
    let (_first, app, owner, _) = two_lives(|tenant| {
        let at = |occurred_at, quantity| UsageRecord { occurred_at, ..record(tenant, "ai_tokens", quantity) };
        vec![
            at(clock::now(), 1),
            at(clock::now() + TimeDelta::days(400), 2),
            at(clock::now() - TimeDelta::days(99), 8),
            at(chrono::DateTime::UNIX_EPOCH, 16),
        ]
    })
    .await;
    until("the leftovers are gone", async || n_directories(&app) == 1).await;
    let used = used(&app, &owner, "ai_tokens", "").await;
    assert_eq!((&used["used"], &used["late"]), (&json!(3), &json!(24)), "{used}");
    assert_eq!(left_in(&app), Vec::<String>::new(), "nothing was rejected");
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_holds_up_no_other() {
    let db = Arc::new(TestDatabase::new().await);
    let first = spawn_app_on(Arc::clone(&db), None, |_| {}).await;
    let tenant = first.onboard("acme").await;
    let app = spawn_app_on(db, None, |settings| {
        let spool = settings.data_dir.join("spool");
        leave(&settings.data_dir, &[record(&tenant.id, "ai_tokens", 1)]);
        let left = std::fs::read_dir(&spool).unwrap().next().unwrap().unwrap().path();
        // A directory cannot be read as a file. It is the first of its directory, which is the first of all.
        std::fs::create_dir(left.join("0.log")).unwrap();
        leave(&settings.data_dir, &[record(&tenant.id, "ai_tokens", 2)]);
    })
    .await;
    let owner = app.sign_in("acme", &tenant.owner).await;
    until("what can be read is counted", async || used(&app, &owner, "ai_tokens", "").await["used"] == 3).await;
    until("the other directory is gone", async || n_directories(&app) == 2).await;
}
