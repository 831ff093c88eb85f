//! What a store does for one caller after the other.

use businessos::actors::sessions::Elevation;
use businessos::clock;
use businessos::db::TenantTx;
use businessos::domain::assurance::Acr;
use businessos::domain::ids::SessionId;
use businessos::domain::refresh_token::{RefreshDecision, decide};
use chrono::{DateTime, TimeDelta, Utc};

use crate::world::{ANN, BOB, World};

fn ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

pub async fn what_is_inserted_is_found(world: &World) {
    let (auth_time, mfa_time) = (clock::now() - TimeDelta::hours(3), clock::now() - TimeDelta::hours(2));
    let amr = ["pwd".to_owned(), "otp".to_owned()];
    let id = world
        .session_with(ANN, |new| {
            new.auth_time = auth_time;
            new.mfa_time = Some(mfa_time);
            new.acr = "aal2";
            new.epoch = 7;
        })
        .await;
    let mut tx = world.begin().await;
    let other: SessionId = clock::new_id();
    let now = clock::now();
    let new = businessos::db::sessions::NewSession {
        id: other,
        user: BOB.into(),
        idle_expires_at: now + TimeDelta::hours(1),
        absolute_expires_at: now + TimeDelta::hours(2),
        acr: "aal1",
        amr: &amr,
        auth_time: now,
        mfa_time: None,
        epoch: 1,
        ip: None,
        user_agent: None,
    };
    world.store.insert(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();

    let found = world.find(id).await.unwrap();
    assert_eq!((found.id, found.user_id, found.refresh_ctr, found.epoch), (id.uuid(), ANN, 1, 7));
    assert_eq!((&*found.acr, &*found.amr), ("aal2", &["pwd".to_owned()][..]));
    assert_eq!((ms(found.auth_time), found.mfa_time.map(ms)), (ms(auth_time), Some(ms(mfa_time))));
    assert_eq!((found.ip.as_deref(), found.user_agent.as_deref()), (Some("192.0.2.7"), Some("Firefox \"7\"\n")));
    assert_eq!((&*found.role, &*found.user_state), ("member", "active"));
    assert_eq!((found.revoked_at, found.is_expired), (None, false));
    assert!((0..60_000).contains(&found.since_rotation_ms), "{found:?}");
    assert!((ms(found.created_at) - ms(clock::now())).abs() < 60_000, "{found:?}");
    let found = world.find(other).await.unwrap();
    assert_eq!((found.amr, found.ip, found.user_agent, found.mfa_time), (amr.to_vec(), None, None, None));
    assert_eq!(ms(found.absolute_expires_at), ms(new.absolute_expires_at));
}

pub async fn a_rotation_counts_up_and_moves_the_idle_end_but_not_beyond_the_absolute_one(world: &World) {
    let id = world.session(ANN).await;
    let before = world.find(id).await.unwrap();
    let wanted = clock::now() + TimeDelta::hours(5);
    let rotation = world.rotate_until(id, 1, wanted).await;
    let after = rotation.session.unwrap();
    assert!(rotation.rotated);
    assert_eq!((after.refresh_ctr, ms(after.idle_expires_at)), (2, ms(wanted)));
    assert!(after.rotated_at >= before.rotated_at && after.created_at == before.created_at);
    assert_eq!((&*after.role, &*after.user_state, after.is_expired), ("member", "active", false));
    let rotation = world.rotate_until(id, 2, clock::now() + TimeDelta::days(30)).await;
    let after = rotation.session.unwrap();
    assert!(rotation.rotated);
    assert_eq!((after.refresh_ctr, ms(after.idle_expires_at)), (3, ms(before.absolute_expires_at)));
    assert_eq!(world.find(id).await.unwrap().refresh_ctr, 3);
}

pub async fn an_older_counter_never_rotates(world: &World) {
    let id = world.session(ANN).await;
    let other = world.session(ANN).await;
    for counter in [1, 2] {
        assert!(world.rotate(id, counter).await.rotated);
    }
    let decided = async |counter: i64, grace_ms: i64| {
        let rotation = world.rotate(id, counter).await;
        assert!(!rotation.rotated);
        let session = rotation.session.unwrap();
        decide(counter, session.refresh_ctr, session.since_rotation_ms, grace_ms)
    };
    assert_eq!(decided(2, 60_000).await, RefreshDecision::Repeat);
    assert_eq!(decided(2, -1).await, RefreshDecision::Reuse);
    assert_eq!(decided(1, 60_000).await, RefreshDecision::Reuse);
    assert_eq!(decided(4, 60_000).await, RefreshDecision::Unknown);
    assert_eq!(world.find(id).await.unwrap().refresh_ctr, 3);
    assert_eq!(world.find(other).await.unwrap().refresh_ctr, 1, "another session is another family");
}

pub async fn a_session_that_ran_out_is_dead_by_either_end(world: &World) {
    let past = clock::now() - TimeDelta::seconds(1);
    let idle = world.session_with(ANN, |new| new.idle_expires_at = past).await;
    let absolute = world.session_with(ANN, |new| new.absolute_expires_at = past).await;
    let alive = world.session(ANN).await;
    for id in [idle, absolute] {
        let rotation = world.rotate(id, 1).await;
        assert!(!rotation.rotated);
        let session = rotation.session.unwrap();
        assert!(session.is_expired && session.refresh_ctr == 1, "{session:?}");
        let mut tx = world.begin().await;
        let elevation = Elevation { acr: Acr::Aal2, method: "otp", at: clock::now() };
        assert!(!world.store.elevate(&mut tx, id, elevation).await.unwrap());
        tx.commit().await.unwrap();
    }
    assert_eq!(world.list(ANN).await, [alive]);
}

pub async fn a_factor_raises_the_class_and_adds_its_method_once(world: &World) {
    let id = world.session(ANN).await;
    let at = clock::now();
    for (acr, method, at) in [(Acr::Aal2, "otp", at - TimeDelta::hours(1)), (Acr::Aal2, "otp", at)] {
        let mut tx = world.begin().await;
        assert!(world.store.elevate(&mut tx, id, Elevation { acr, method, at }).await.unwrap());
        tx.commit().await.unwrap();
    }
    let mut tx = world.begin().await;
    let weaker = Elevation { acr: Acr::Aal1, method: "ot", at };
    assert!(world.store.elevate(&mut tx, id, weaker).await.unwrap());
    tx.commit().await.unwrap();
    let session = world.find(id).await.unwrap();
    assert_eq!((&*session.acr, session.mfa_time.map(ms)), ("aal2", Some(ms(at))));
    assert_eq!(session.amr, ["pwd", "otp", "ot"]);
    assert!(session.auth_time < at);
}

pub async fn a_factor_leaves_no_refresh_token_of_before_with_a_grace(world: &World) {
    let id = world.session(ANN).await;
    assert!(world.rotate(id, 1).await.rotated);
    let mut tx = world.begin().await;
    let elevation = Elevation { acr: Acr::Aal2, method: "otp", at: clock::now() };
    assert!(world.store.elevate(&mut tx, id, elevation).await.unwrap());
    tx.commit().await.unwrap();
    for counter in [1, 2] {
        let rotation = world.rotate(id, counter).await;
        assert!(!rotation.rotated);
        let session = rotation.session.unwrap();
        let decision = decide(counter, session.refresh_ctr, session.since_rotation_ms, 3_600_000);
        assert_eq!(decision, RefreshDecision::Reuse, "{counter}: {session:?}");
    }
    let current = world.find(id).await.unwrap().refresh_ctr;
    assert!(world.rotate(id, current).await.rotated);
}

pub async fn an_ended_session_stays_ended_and_is_told_once(world: &World) {
    let (id, other) = (world.session(ANN).await, world.session(ANN).await);
    assert!(world.revoke(id).await);
    assert!(!world.revoke(id).await);
    let session = world.find(id).await.unwrap();
    assert!(session.revoked_at.is_some());
    let rotation = world.rotate(id, 1).await;
    assert!(!rotation.rotated && rotation.session.unwrap().revoked_at.is_some());
    let mut tx = world.begin().await;
    let elevation = Elevation { acr: Acr::Aal2, method: "otp", at: clock::now() };
    assert!(!world.store.elevate(&mut tx, id, elevation).await.unwrap());
    assert_eq!(world.store.list_revoked_within(&mut tx, 600).await.unwrap(), [id]);
    assert_eq!(world.store.list_revoked_within(&mut tx, 0).await.unwrap(), []);
    tx.commit().await.unwrap();
    assert_eq!(world.list(ANN).await, [other]);
    assert!(world.rotate(other, 1).await.rotated);
}

pub async fn all_but_one_of_a_users_sessions_end(world: &World) {
    let mut anns = Vec::new();
    for _ in 0..3 {
        anns.push(world.session(ANN).await);
    }
    let bobs = world.session(BOB).await;
    assert!(world.revoke(anns[0]).await);
    assert_eq!(world.revoke_all(ANN, Some(anns[1])).await, [anns[2]]);
    assert_eq!(world.list(ANN).await, [anns[1]]);
    assert_eq!(world.revoke_all(ANN, None).await, [anns[1]]);
    assert_eq!(world.revoke_all(ANN, None).await, []);
    assert_eq!(world.list(ANN).await, []);
    assert_eq!(world.list(BOB).await, [bobs]);
}

pub async fn the_list_shows_what_is_alive_the_latest_used_first(world: &World) {
    let (first, second, ended) = (world.session(ANN).await, world.session(ANN).await, world.session(ANN).await);
    world.revoke(ended).await;
    // Redis' times are whole milliseconds: the next one is waited for.
    let before = clock::now();
    while clock::now() - before < TimeDelta::milliseconds(5) {
        tokio::task::yield_now().await;
    }
    assert!(world.rotate(first, 1).await.rotated);
    assert_eq!(world.list(ANN).await, [first, second]);
    assert_eq!(world.list(BOB).await, []);
}

pub async fn an_unknown_session_is_nothing(world: &World) {
    let id: SessionId = clock::new_id();
    assert!(world.find(id).await.is_none());
    let rotation = world.rotate(id, 1).await;
    assert!(!rotation.rotated && rotation.session.is_none());
    assert!(!world.revoke(id).await);
    let mut tx = world.begin().await;
    let elevation = Elevation { acr: Acr::Aal2, method: "otp", at: clock::now() };
    assert!(!world.store.elevate(&mut tx, id, elevation).await.unwrap());
    assert_eq!(world.store.list_revoked_within(&mut tx, 600).await.unwrap(), []);
    tx.commit().await.unwrap();
    assert!(world.find(id).await.is_none(), "looking made nothing");
    world.store.ping().await.unwrap();
}

pub async fn the_user_is_read_anew_each_time(world: &World) {
    let id = world.session(ANN).await;
    let change = format!("UPDATE auth.users SET role = 'admin', state = 'suspended' WHERE id = '{ANN}'");
    world.database.as_admin(&change).await;
    let session = world.rotate(id, 1).await.session.unwrap();
    assert_eq!((&*session.role, &*session.user_state), ("admin", "suspended"));
    world.database.as_admin(&format!("DELETE FROM auth.users WHERE id = '{ANN}'")).await;
    assert!(world.find(id).await.is_none());
    assert!(world.rotate(id, 2).await.session.is_none());
    assert_eq!(world.list(ANN).await, []);
}

pub async fn sessions_of_an_earlier_epoch_are_not_listed(world: &World) {
    world.session(ANN).await;
    let later = world.session_with(ANN, |new| new.epoch = 2).await;
    world.database.as_admin("UPDATE platform.tenants SET epoch = 2").await;
    assert_eq!(world.list(ANN).await, [later]);
}

pub async fn tenants_do_not_see_each_others_sessions(world: &World) {
    let id = world.session(ANN).await;
    let mut tx = TenantTx::begin(&world.db, world.tenants[1]).await.unwrap();
    assert!(world.store.find(&mut tx, id).await.unwrap().is_none());
    let idle = clock::now() + TimeDelta::hours(1);
    assert!(world.store.rotate(&mut tx, id, 1, idle).await.unwrap().session.is_none());
    assert!(!world.store.revoke(&mut tx, id, "test").await.unwrap());
    let elevation = Elevation { acr: Acr::Aal2, method: "otp", at: clock::now() };
    assert!(!world.store.elevate(&mut tx, id, elevation).await.unwrap());
    // A user with the same id.
    assert!(world.store.list(&mut tx, ANN.into()).await.unwrap().is_empty());
    assert_eq!(world.store.revoke_all(&mut tx, ANN.into(), None, "test").await.unwrap(), []);
    tx.commit().await.unwrap();
    assert_eq!(world.list(ANN).await, [id]);
    assert!(world.revoke(id).await);
    let mut tx = TenantTx::begin(&world.db, world.tenants[1]).await.unwrap();
    assert_eq!(world.store.list_revoked_within(&mut tx, 600).await.unwrap(), []);
    tx.commit().await.unwrap();
}

pub async fn every_end_is_announced_at_the_commit_and_none_without_it(world: &World) {
    let (one, two, three) = (world.session(ANN).await, world.session(ANN).await, world.session(ANN).await);
    let mut tx = world.begin().await;
    assert!(world.store.revoke(&mut tx, one, "test").await.unwrap());
    drop(tx);
    assert!(world.announced().await.is_empty());
    // The caller tries again, whatever the first try left behind.
    world.revoke(one).await;
    assert_eq!(world.announced().await, [one.uuid()]);
    assert!(world.rotate(two, 1).await.rotated);
    world.revoke_all(ANN, Some(three)).await;
    let mut announced = world.announced().await;
    announced.sort_unstable();
    assert_eq!(announced, [one.uuid(), two.uuid()]);
}

pub async fn an_expired_sessions_tokens_can_still_be_revoked(world: &World) {
    let past = clock::now() - TimeDelta::seconds(1);
    let id = world.session_with(ANN, |new| new.idle_expires_at = past).await;
    assert!(world.revoke(id).await);
    assert_eq!(world.announced().await, [id.uuid()]);
    let mut tx = world.begin().await;
    assert_eq!(world.store.list_revoked_within(&mut tx, 600).await.unwrap(), [id]);
    tx.commit().await.unwrap();
}
