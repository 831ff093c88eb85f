//! The connections to Redis: what they cost while all is well, and what becomes of them when the server dies.

use std::time::{Duration, Instant};

use businessos::clients::redis::{NewSessionRecord, Redis, RedisError};
use businessos::clock;
use businessos::domain::ids::{SessionId, TenantId};
use chrono::TimeDelta;
use futures_util::future::join_all;
use uuid::Uuid;

use crate::test_redis::TestRedis;
use crate::world::ANN;

const CONNECTIONS: usize = 4;

fn client(server: &TestRedis) -> Redis {
    Redis::new(&server.url().into(), CONNECTIONS, Duration::from_secs(5)).unwrap()
}

fn tenant() -> TenantId {
    Uuid::from_u128(7).into()
}

async fn insert(redis: &Redis, id: SessionId) -> Result<(), RedisError> {
    let now = clock::now();
    let later = now + TimeDelta::hours(1);
    let record = NewSessionRecord {
        id,
        user: ANN.into(),
        idle_expires_at: later,
        absolute_expires_at: later,
        acr: "aal1",
        amr: &[],
        auth_time: now,
        mfa_time: None,
        epoch: 1,
        ip: None,
        user_agent: None,
    };
    redis.insert_session(tenant(), &record).await
}

/// How often the server was sent this command.
async fn n_calls(server: &TestRedis, command: &str) -> u64 {
    let mut connection = redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_busy_connection_carries_commands_only() {
    let server = TestRedis::start();
    let redis = client(&server);
    let started = Instant::now();
    for _ in 0..300 {
        assert!(redis.find_session(tenant(), clock::new_id()).await.unwrap().is_none());
    }
    // A connection that rested for a second is asked first, so a machine that stalls makes some pings.
    let most = started.elapsed().as_secs();
    assert!(n_calls(&server, "evalsha").await >= 300);
    let n_pings = n_calls(&server, "ping").await;
    assert!(n_pings <= most, "{n_pings} pings in {most} s");
}

#[tokio::test]
async fn a_write_into_a_dead_connection_is_an_error_and_never_lost_in_silence() {
    let mut server = TestRedis::start();
    let redis = client(&server);
    for _ in 0..5 {
        // All connections are made, and are fresh when the server dies.
        for found in join_all((0..CONNECTIONS * 4).map(|_| redis.find_session(tenant(), clock::new_id()))).await {
            assert!(found.unwrap().is_none());
        }
        server.restart();
        let ids: Vec<SessionId> = (0..CONNECTIONS).map(|_| clock::new_id()).collect();
        let written = join_all(ids.iter().map(|id| insert(&redis, *id))).await;
        for (id, written) in ids.iter().zip(written) {
            // What failed took its connection with it, and had the others asked: nobody else is disturbed.
            let found = redis.find_session(tenant(), *id).await.unwrap();
            match written {
                Ok(()) => assert_eq!(found.unwrap().id, *id),
                Err(RedisError::Unavailable(_)) => assert!(found.is_none()),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}
