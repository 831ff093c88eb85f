//! Hundreds of tenants' months are closed while the server is killed again and again, and by two servers at once: each tenant has one
//! invoice for each month, and all of them are right.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use businessos::clock;
use businessos::db::embedded::{Endpoint, SUPERUSER};
use businessos::domain::period::Period;
use businessos::domain::rating::MeterPrice;
use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _};
use tokio::runtime::{Builder, Runtime};

use super::wire::Call;
use super::world::{PASSWORD, PATIENT_WITH_THE_DISK, Server, World, free_address, wait_until};

/// Kills of the one server that closes.
const KILLS: usize = 20;
/// Rounds with two servers that close at once, of which one or both are killed.
const ROUNDS_OF_TWO: i64 = 5;
/// Tenants whose months are closed while one server is killed: enough for something to be left to the last kill.
const TENANTS: i64 = 300;
/// Tenants whose months are closed in a round with two servers.
const TENANTS_OF_ROUND: i64 = 60;
/// All tenants.
const ALL: i64 = TENANTS + TENANTS_OF_ROUND * ROUNDS_OF_TWO;
/// Of a tenant's usage beyond what its plan includes, what came after the month before had been closed.
const LATE: i64 = 1_000_000;

/// The administrator's connection. It is used from one thread.
pub struct Books {
    runtime: Runtime,
    connection: PgConnection,
}

impl Books {
    pub fn open(world: &World) -> Self {
        let options = Endpoint::find(&world.data_dir()).unwrap().connect_options(SUPERUSER, "businessos");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(options.connect()).unwrap();
        Self { runtime, connection }
    }

    pub fn rows(&mut self, sql: &str) -> Vec<PgRow> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.connection);
        self.runtime.block_on(query).unwrap()
    }

    pub fn run(&mut self, sql: &str) {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection);
        self.runtime.block_on(query).unwrap();
    }

    pub fn number(&mut self, sql: &str) -> i64 {
        self.rows(sql)[0].get(0)
    }

    fn n_closed(&mut self) -> i64 {
        self.number("SELECT count(*) FROM billing.billing_periods")
    }

    /// As if the time had passed for which a run is nobody else's, and the hour in which one was done.
    fn let_others_run(&mut self) {
        self.run(
            "UPDATE platform.job_runs SET lease_until = now() WHERE job = 'close_billing_periods' AND outcome = 'running';
             DELETE FROM platform.job_runs WHERE job = 'close_billing_periods' AND outcome <> 'running'",
        );
    }
}

/// Tenants on `pro`, each with usage of its own in the two months that are to be closed, and with a third month, closed before, of which
/// usage came later.
fn insert_tenants(books: &mut Books, range: std::ops::Range<i64>, months: &[Period; 3]) {
    let [closed, first, last] = months;
    let (from, to) = (range.start, range.end - 1);
    let price = price();
    let unit_price = price.overage.unwrap().to_string();
    let included = price.included;
    books.run(&format!(
        "BEGIN;
         CREATE TEMPORARY TABLE made ON COMMIT DROP AS
         SELECT n, gen_random_uuid() AS id FROM generate_series({from}, {to}) AS n;
         INSERT INTO platform.tenants (tenant_id, slug, name, region, plan, created_at)
         SELECT id, 'paying-' || n, 'Paying ' || n, 'global', 'pro', '{closed_start}' FROM made;
         INSERT INTO auth.users (tenant_id, id, email, email_norm, role, state, email_verified_at)
         SELECT id, gen_random_uuid(), mail, mail, 'owner', 'active', now()
         FROM made, LATERAL (SELECT 'owner@paying-' || n || '.test' AS mail) AS m;
         INSERT INTO billing.subscriptions (tenant_id, plan, plan_version, started_at)
         SELECT id, 'pro', 1, '{closed_start}' FROM made;
         INSERT INTO billing.subscription_changes (tenant_id, revision, kind, plan, plan_version, add_ons, is_billed, effective_at)
         SELECT id, 1, 'begin', 'pro', 1, '[]', true, '{closed_start}' FROM made;
         INSERT INTO billing.billing_periods (tenant_id, period_start, period_end, plan, plan_version)
         SELECT id, '{closed_start}', '{closed_end}', 'pro', 1 FROM made;
         INSERT INTO billing.period_usage (tenant_id, period_start, meter, billed, included, unit_price)
         SELECT id, '{closed_start}', 'ai_tokens', {included} + n * 1000, {included}, '{unit_price}' FROM made;
         INSERT INTO billing.usage_counters (tenant_id, meter, period_start, period_end, used, late)
         SELECT id, 'ai_tokens', '{closed_start}'::timestamptz, '{closed_end}'::timestamptz, {included} + n * 1000, {LATE} FROM made
         UNION ALL SELECT id, 'ai_tokens', '{first_start}', '{first_end}', {included} + n * 777, 0 FROM made
         UNION ALL SELECT id, 'ai_tokens', '{last_start}', '{last_end}', n * 100000, 0 FROM made;
         COMMIT",
        closed_start = closed.start,
        closed_end = closed.end,
        first_start = first.start,
        first_end = first.end,
        last_start = last.start,
        last_end = last.end,
    ));
}

fn price() -> MeterPrice {
    let settings = businessos::config::load(None).unwrap();
    let figures = settings.plans["pro"].figures(&settings.billing.currency);
    figures.meters.iter().find(|(name, _)| name.as_str() == "ai_tokens").unwrap().1.price()
}

/// Sends an operator's wish that the months be closed now.
fn ask_to_close(server: &Server, operator: &str) {
    let call = Call::post("platform.localhost", "/operator/jobs/close_billing_periods/run", &json!({}));
    let answer = server.call(&call.bearer(operator));
    // 409: this very server is at it already.
    assert!([202, 409].contains(&answer.status), "{}", answer.text());
}

fn operator(world: &World, server: &Server) -> String {
    let mut command = world.command(&server.config, &["operator", "create", "--email", "root@platform.test"]);
    let made = command.env("BUSINESSOS_OPERATOR_PASSWORD", PASSWORD).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let body = json!({ "email": "root@platform.test", "password": PASSWORD });
    let answer = server.call(&Call::post("platform.localhost", "/auth/login", &body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// Random enough: wherever the server happens to be, up to some tenants further on.
fn nap() {
    thread::sleep(Duration::from_micros(600 * u64::from(uuid::Uuid::new_v4().as_bytes()[0])));
}

/// Waits until a month more is closed than `before`.
fn wait_for_progress(books: &mut Books, before: i64) {
    wait_until("a month is closed", || (books.n_closed() > before).then_some(()));
}

fn wait_for_all(books: &mut Books, n_wanted: i64) {
    // As long as it takes, if it does not stand still.
    loop {
        let before = books.n_closed();
        if before >= n_wanted {
            return;
        }
        wait_for_progress(books, before);
    }
}

#[test]
fn months_are_closed_once_whoever_closes_at_once_and_whenever_it_is_killed() {
    let world = World::with("[metering]\nlate_grace_h = 0\n");
    let address = free_address();
    let start = || {
        let mut server = world.spawn_at(address, "", &PATIENT_WITH_THE_DISK);
        server.wait_ready();
        server
    };
    let mut server = start();
    let operator = operator(&world, &server);
    let mut books = Books::open(&world);
    // Nothing is sent, so that what was to be sent can be counted.
    books.run("ALTER TABLE platform.mail_outbox ALTER COLUMN next_attempt_at SET DEFAULT now() + interval '1 year'");
    let last = Period::containing(clock::now() - chrono::TimeDelta::minutes(10)).previous();
    let months = [last.previous().previous(), last.previous(), last];

    // One server, killed wherever it is; the next one goes on by itself.
    server.signal(Signal::SIGKILL);
    server.kill();
    insert_tenants(&mut books, 0..TENANTS, &months);
    let mut n_in_the_middle = 0;
    for _ in 0..KILLS {
        let before = books.n_closed();
        books.let_others_run();
        let mut one = world.spawn_at(address, "", &PATIENT_WITH_THE_DISK);
        wait_for_progress(&mut books, before);
        nap();
        one.signal(Signal::SIGKILL);
        one.kill();
        n_in_the_middle += usize::from(books.n_closed() < 3 * TENANTS);
    }
    assert_eq!(n_in_the_middle, KILLS, "all was done before the last kill");
    eprintln!("{} of {} months closed by {KILLS} servers that were killed", books.n_closed() - TENANTS, 2 * TENANTS);

    // Two at once, neither of which knows of the other: their leases run out while they work.
    let other_address = free_address();
    let mut n_both = 0;
    for round in 0..ROUNDS_OF_TWO {
        books.let_others_run();
        let mut one = start();
        wait_for_all(&mut books, 3 * (TENANTS + TENANTS_OF_ROUND * round));
        let mut two = world.spawn_beside(other_address);
        two.wait_ready();
        let first = TENANTS + TENANTS_OF_ROUND * round;
        insert_tenants(&mut books, first..first + TENANTS_OF_ROUND, &months);
        let before = books.n_closed();
        for server in [&one, &two] {
            books.let_others_run();
            ask_to_close(server, &operator);
        }
        wait_for_progress(&mut books, before);
        // Taken over from one that had not ended.
        let lost = "SELECT count(*) FROM platform.job_runs WHERE job = 'close_billing_periods' AND outcome = 'lost'";
        n_both += books.number(lost);
        nap();
        one.signal(Signal::SIGKILL);
        one.kill();
        if round % 2 == 0 {
            // The other one does what this one left.
            wait_for_all(&mut books, 3 * (first + TENANTS_OF_ROUND));
        }
        two.signal(Signal::SIGKILL);
        two.kill();
    }
    assert!(n_both > 0, "one was done before the other began");

    // Whatever is left, and once more when nothing is.
    books.let_others_run();
    let server = start();
    wait_for_all(&mut books, 3 * ALL);
    books.let_others_run();
    ask_to_close(&server, &operator);
    let done = "SELECT count(*) FROM platform.job_runs WHERE job = 'close_billing_periods' AND outcome = 'done'";
    wait_until("the last run is over", || (books.number(done) > 0).then_some(()));
    check(&mut books, &months);
}

/// What must hold whatever happened before.
fn check(books: &mut Books, months: &[Period; 3]) {
    let [closed, first, last] = months;
    assert_eq!(books.n_closed(), 3 * ALL, "no other months than these");
    let n_invoices = books.number("SELECT count(*) FROM billing.invoices");
    assert_eq!(n_invoices, 2 * ALL, "one for each month that these servers closed");
    // Numbers have no gaps, in each year's series.
    let gaps = "SELECT s.series FROM billing.invoice_series s
                LEFT JOIN billing.invoices i ON starts_with(i.number, s.series || '-')
                GROUP BY s.series, s.last_number
                HAVING count(i.number) <> s.last_number OR count(DISTINCT i.number) <> s.last_number
                    OR max(right(i.number, 6)::bigint) <> s.last_number";
    assert_eq!(books.rows(gaps).len(), 0);
    // What is announced is announced once: by mail, on the stream, in the audit trail.
    for (what, sql) in [
        ("mail", "SELECT tenant_id, detail ->> 'invoice' AS id FROM platform.mail_outbox WHERE kind = 'invoice'"),
        (
            "stream",
            "SELECT tenant_id, payload ->> 'invoice' AS id FROM billing.stream_events WHERE kind = 'invoice.created'",
        ),
        ("audit", "SELECT tenant_id, target_id AS id FROM platform.audit_log WHERE action = 'invoice.issued'"),
    ] {
        assert_eq!(books.number(&format!("SELECT count(*) FROM ({sql}) AS told")), n_invoices, "{what}");
        let told_of = format!(
            "SELECT count(DISTINCT i.id) FROM billing.invoices i JOIN ({sql}) AS told ON told.tenant_id = i.tenant_id AND told.id = i.id::text"
        );
        assert_eq!(books.number(&told_of), n_invoices, "{what}");
    }
    // Each invoice says what the prices say of what was used, and late usage is on the one after.
    let lines = books.rows(
        "SELECT substr(t.slug, 8)::bigint, i.period_start, i.total_minor, jsonb_object_agg(l.key, l.amount_minor)
         FROM billing.invoices i JOIN platform.tenants t USING (tenant_id)
         JOIN billing.invoice_lines l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.id
         GROUP BY t.slug, i.period_start, i.total_minor",
    );
    let price = price();
    let cost_of_more = |before, used| price.cost_of_more(before, used).unwrap();
    for row in &lines {
        let (n, start, total): (i64, chrono::DateTime<chrono::Utc>, i64) = (row.get(0), row.get(1), row.get(2));
        let sqlx::types::Json(found): sqlx::types::Json<BTreeMap<String, i64>> = row.get(3);
        let mut expected = BTreeMap::from([("plan:pro".to_owned(), 19_900)]);
        let mut expect = |key: &str, amount| {
            if amount != 0 {
                expected.insert(key.to_owned(), amount);
            }
        };
        if start == first.start {
            let billed = price.included + n * 1_000;
            expect("usage:ai_tokens", cost_of_more(0, price.included + n * 777));
            expect(&format!("late_usage:ai_tokens:{}", closed.name()), cost_of_more(billed, billed + LATE));
        } else {
            assert_eq!(start, last.start);
            expect("usage:ai_tokens", cost_of_more(0, n * 100_000));
        }
        assert_eq!(found, expected, "tenant {n}, {start}");
        assert_eq!(total, expected.values().sum::<i64>(), "tenant {n}, {start}");
    }
    let unbilled = "SELECT count(*) FROM billing.usage_counters c LEFT JOIN billing.period_usage u USING (tenant_id, meter, period_start)
                    WHERE c.used + c.late <> coalesce(u.billed, 0)";
    assert_eq!(books.number(unbilled), 0, "all that was used is billed");
}
