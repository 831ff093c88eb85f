//! Usage that is set aside: hard limits hold, and whatever is set aside is given back once.

use std::time::Duration;

use businessos::actors::billing_meter::reservations::{ReserveError, release, reserve, sweep};
use businessos::actors::tenants_in_turn::{self, ChoreError};
use businessos::db::{Db, DbError, TenantTx, reservations};
use businessos::domain::ids::ReservationId;
use futures_util::future::join_all;

use crate::metered::{Metered, ai_tokens, present};

const TTL: Duration = Duration::from_secs(900);
const RESERVED: &str = "SELECT coalesce(sum(reserved), 0)::bigint FROM billing.usage_counters";
const ROWS: &str = "SELECT count(*) FROM billing.quota_reservations";
const QUEUED: &str = "SELECT count(*) FROM billing.reservation_queue";

/// What ingest does with the reservations of the events that it counts.
async fn give_back(metered: &Metered, db: &Db, ids: &[ReservationId]) -> Result<(), DbError> {
    let mut tx = TenantTx::begin(db, metered.tenant).await?;
    reservations::give_back(&mut tx, ids).await?;
    tx.commit().await
}

#[tokio::test]
async fn a_hundred_calls_at_once_never_pass_the_hard_limit_and_leave_nothing_set_aside() {
    let metered = Metered::new(Some(150)).await;
    let (one, other, view) = (metered.pool(), metered.pool(), metered.view("free").await);
    let pool = |n: usize| if n.is_multiple_of(2) { &one } else { &other };
    metered.add(present(), 50).await;
    let asked = (0..100).map(|n| reserve(pool(n), &view, &AI, 7, TTL));
    let asked = join_all(asked).await;
    let mut ids = Vec::new();
    for answer in asked {
        match answer {
            Ok(reserved) => {
                let quota = reserved.quota.unwrap();
                assert!(quota.used + quota.reserved <= 150, "{quota:?}");
                ids.push(reserved.id.unwrap());
            }
            Err(ReserveError::Exceeded { limit, used, reserved, period }) => {
                assert_eq!((limit, used, period), (150, 50, present()));
                assert!(150 - used - reserved < 7, "there was room: {reserved}");
            }
            Err(ReserveError::Db(error)) => panic!("{error:?}"),
        }
    }
    assert_eq!(ids.len(), 14, "as many as fit into 100");
    assert_eq!(metered.number(RESERVED).await, 98);
    assert_eq!((metered.number(ROWS).await, metered.number(QUEUED).await), (14, 14));
    // Counted and given up at once, and twice, and in any order: nobody waits for one who waits for them.
    let reversed: Vec<_> = ids.iter().rev().copied().collect();
    let backs = (0..20).map(|n| give_back(&metered, pool(n), if n % 3 == 0 { &ids } else { &reversed }));
    let releases = ids.iter().enumerate().map(|(n, id)| release(pool(n), metered.tenant, *id));
    let (backs, releases) = futures_util::join!(join_all(backs), join_all(releases));
    for result in backs.into_iter().chain(releases) {
        result.unwrap();
    }
    assert_eq!((metered.number(RESERVED).await, metered.number(ROWS).await), (0, 0));
    assert_eq!(metered.number(QUEUED).await, 0);
    assert_eq!(metered.number("SELECT used FROM billing.usage_counters").await, 50);
}

static AI: std::sync::LazyLock<businessos::domain::meter::MeterName> = std::sync::LazyLock::new(ai_tokens);

#[tokio::test]
async fn the_first_call_of_a_month_is_held_to_the_limit_too() {
    let metered = Metered::new(Some(150)).await;
    let (db, view) = (metered.pool(), metered.view("free").await);
    let refused = reserve(&db, &view, &AI, 151, TTL).await;
    assert!(matches!(refused, Err(ReserveError::Exceeded { limit: 150, used: 0, reserved: 0, .. })), "{refused:?}");
    assert!(reserve(&db, &view, &AI, i64::MAX, TTL).await.is_err());
    let reserved = reserve(&db, &view, &AI, 150, TTL).await.unwrap();
    assert_eq!(reserved.quota.map(|quota| (quota.used, quota.reserved)), Some((0, 150)));
    assert!(matches!(reserve(&db, &view, &AI, 1, TTL).await, Err(ReserveError::Exceeded { reserved: 150, .. })));
    assert!(matches!(reserve(&db, &view, &AI, -1, TTL).await, Err(ReserveError::Db(_))), "less than nothing");
}

#[tokio::test]
async fn without_a_hard_limit_nothing_is_asked_of_the_database() {
    let metered = Metered::new(None).await;
    let (db, view) = (metered.pool(), metered.view("free").await);
    db.close().await;
    let reserved = reserve(&db, &view, &AI, 1_000_000, TTL).await.unwrap();
    assert_eq!((reserved.id, reserved.quota), (None, None));
}

#[tokio::test]
async fn what_a_killed_process_has_set_aside_is_given_back_when_its_time_is_over() {
    let metered = Metered::new(Some(150)).await;
    let (one, other, view) = (metered.pool(), metered.pool(), metered.view("free").await);
    let kept = reserve(&one, &view, &AI, 5, TTL).await.unwrap().id.unwrap();
    let mut lost = Vec::new();
    for _ in 0..20 {
        lost.push(reserve(&one, &view, &AI, 3, Duration::ZERO).await.unwrap().id.unwrap());
    }
    one.close().await;
    let next = metered.pool();
    let (a, b) = futures_util::join!(sweep(&other), sweep(&next));
    assert_eq!(a.unwrap() + b.unwrap(), 20, "each is swept once, also by two at once");
    assert_eq!((metered.number(RESERVED).await, metered.number(ROWS).await), (5, 1));
    // Its call is counted after all: it was given back, and is not given back again.
    give_back(&metered, &other, &lost).await.unwrap();
    assert_eq!(metered.number(RESERVED).await, 5);
    assert_eq!(sweep(&other).await.unwrap(), 0);
    release(&other, metered.tenant, kept).await.unwrap();
    assert_eq!((metered.number(RESERVED).await, metered.number(QUEUED).await), (0, 0));
}

#[tokio::test]
async fn what_was_set_aside_last_month_is_given_back_to_last_month() {
    let metered = Metered::new(Some(150)).await;
    let (db, view) = (metered.pool(), metered.view("free").await);
    let id = reserve(&db, &view, &AI, 40, TTL).await.unwrap().id.unwrap();
    let past = present().previous();
    metered.add(past, 10).await;
    // As if the month had turned since then.
    let turned = format!(
        "UPDATE billing.usage_counters SET reserved = 40 WHERE period_start = '{0}';
         UPDATE billing.usage_counters SET reserved = 60 WHERE period_start <> '{0}';
         UPDATE billing.quota_reservations SET period_start = '{0}'",
        past.start
    );
    metered.database.as_admin(&turned).await;
    give_back(&metered, &db, &[id]).await.unwrap();
    let of =
        |when: &str| format!("SELECT reserved FROM billing.usage_counters WHERE period_start {when} '{}'", past.start);
    assert_eq!((metered.number(&of("=")).await, metered.number(&of("<>")).await), (0, 60));
}

#[tokio::test]
async fn another_tenants_reservation_cannot_be_given_back() {
    let metered = Metered::new(Some(150)).await;
    let (db, view) = (metered.pool(), metered.view("free").await);
    let id = reserve(&db, &view, &AI, 40, TTL).await.unwrap().id.unwrap();
    release(&db, businessos::clock::new_id(), id).await.unwrap();
    assert_eq!(metered.number(RESERVED).await, 40);
}

/// Lets the tenant's reservations be given back no more.
async fn break_tenant(metered: &Metered) {
    let sql = format!(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
         CREATE TRIGGER refuse BEFORE DELETE ON billing.quota_reservations
         FOR EACH ROW WHEN (OLD.tenant_id = '{}') EXECUTE FUNCTION public.refuse()",
        metered.tenant
    );
    metered.database.as_admin(&sql).await;
}

#[tokio::test]
async fn a_tenant_that_fails_keeps_no_other_from_getting_back_what_was_set_aside() {
    let mut metered = Metered::new(Some(150)).await;
    let db = metered.pool();
    let view = metered.view("free").await;
    reserve(&db, &view, &AI, 5, Duration::ZERO).await.unwrap();
    break_tenant(&metered).await;
    let broken = std::mem::replace(&mut metered.tenant, businessos::clock::new_id());
    let insert = format!(
        "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan)
         VALUES ('{}', 'globex', 'Globex', 'global', 'free')",
        metered.tenant
    );
    metered.database.as_admin(&insert).await;
    let view = metered.view("free").await;
    reserve(&db, &view, &AI, 7, Duration::ZERO).await.unwrap();
    let swept = sweep(&db).await;
    assert!(matches!(swept, Err(ChoreError::Some(1))), "{swept:?}");
    assert_eq!(metered.number(RESERVED).await, 5, "the other one's is given back");
    let visited = std::sync::Mutex::new(Vec::new());
    let worked = tenants_in_turn::each(&db, async |tenant| {
        visited.lock().unwrap().push(tenant);
        if tenant == broken { Err(DbError::Busy) } else { Ok(1) }
    });
    let worked = worked.await;
    assert!(matches!(worked, Err(ChoreError::Some(1))), "{worked:?}");
    assert_eq!(visited.into_inner().unwrap(), [broken, metered.tenant], "each has its turn, by their names");
}

#[tokio::test]
async fn statements_for_all_tenants_end_in_time() {
    let metered = Metered::new(None).await;
    let sql = "CREATE OR REPLACE FUNCTION billing.list_tenants_with_expired_reservations(n bigint)
               RETURNS TABLE (tenant_id uuid) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
               AS $$ BEGIN RAISE 'limit: %', current_setting('statement_timeout'); END $$";
    metered.database.as_admin(sql).await;
    let said = format!("{:?}", sweep(&metered.pool()).await);
    assert!(said.contains("limit: 1min"), "{said}");
}
