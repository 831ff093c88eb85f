//! What a store does for many callers at once.

use std::time::{Duration, Instant};

use businessos::domain::ids::SessionId;
use businessos::domain::refresh_token::{RefreshDecision, decide};
use futures_util::future::{join, join_all};

use crate::world::{ANN, World};

/// Races of one rotation with one revocation that are wanted, and how long they may take on a busy machine.
const ROUNDS: usize = 10_000;
const ROUNDS_BUDGET: Duration = Duration::from_secs(45);
/// Fewer than these would show nothing.
const LEAST_ROUNDS: usize = 500;
/// Sessions that are raced over at once.
const BATCH: usize = 50;

pub async fn a_hundred_rotations_of_one_counter_have_one_winner(world: &World) {
    let id = world.session(ANN).await;
    for counter in 1..=3 {
        let rotations = join_all((0..100).map(|_| world.rotate(id, counter))).await;
        let n_won = rotations.iter().filter(|rotation| rotation.rotated).count();
        assert_eq!(n_won, 1, "counter {counter}");
        for rotation in rotations {
            // The losers see the winner's work, and get its answer.
            let session = rotation.session.unwrap();
            assert_eq!(session.refresh_ctr, counter + 1);
            let decision = decide(counter, session.refresh_ctr, session.since_rotation_ms, 60_000);
            assert_eq!(decision, RefreshDecision::Repeat);
        }
    }
}

async fn batch(world: &World) -> Vec<SessionId> {
    let mut tx = world.begin().await;
    let mut ids = Vec::new();
    for _ in 0..BATCH {
        ids.push(world.insert(&mut tx, ANN, |_| {}).await);
    }
    tx.commit().await.unwrap();
    ids
}

/// Whether all of them are dead: by what is stored, and by what a rotation makes of it.
async fn assert_dead(world: &World, ids: &[SessionId]) {
    let mut tx = world.begin().await;
    for id in ids {
        let session = world.store.find(&mut tx, *id).await.unwrap().unwrap();
        assert!(session.revoked_at.is_some(), "{session:?}");
        let idle = businessos::clock::now() + chrono::TimeDelta::hours(1);
        let rotation = world.store.rotate(&mut tx, *id, session.refresh_ctr, idle).await.unwrap();
        assert!(!rotation.rotated, "{rotation:?}");
    }
    tx.commit().await.unwrap();
}

pub async fn no_session_survives_a_revocation_beside_a_rotation(world: &World) {
    let started = Instant::now();
    let (mut n_rounds, mut n_rotated) = (0, 0);
    while n_rounds < ROUNDS && started.elapsed() < ROUNDS_BUDGET {
        let ids = batch(world).await;
        let races = ids.iter().enumerate().map(|(n, id)| async move {
            // Each goes first as often as the other.
            let (rotation, ended) = if n % 2 == 0 {
                join(world.rotate(*id, 1), world.revoke(*id)).await
            } else {
                let (ended, rotation) = join(world.revoke(*id), world.rotate(*id, 1)).await;
                (rotation, ended)
            };
            assert!(ended);
            rotation.rotated
        });
        n_rotated += join_all(races).await.into_iter().filter(|rotated| *rotated).count();
        n_rounds += ids.len();
        assert_dead(world, &ids).await;
        assert_eq!(world.list(ANN).await, []);
        if n_rounds % 1_000 == 0 {
            // Dead records of other rounds would only make the list slow.
            world.database.as_admin("DELETE FROM auth.sessions; DELETE FROM platform.config_log").await;
        }
    }
    assert!(n_rounds >= LEAST_ROUNDS, "only {n_rounds} rounds in {ROUNDS_BUDGET:?}");
    assert!(n_rotated > 0 && n_rotated < n_rounds, "there was no race: {n_rotated} of {n_rounds} rotated first");
}

pub async fn a_revocation_of_all_beside_rotations_leaves_none(world: &World) {
    for _ in 0..10 {
        let ids = batch(world).await;
        let (ended, _) = join(world.revoke_all(ANN, None), join_all(ids.iter().map(|id| world.rotate(*id, 1)))).await;
        assert_eq!(ended.len(), ids.len());
        assert_dead(world, &ids).await;
    }
}
