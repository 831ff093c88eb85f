//! Two tenants with users, and a store.

use std::sync::Arc;
use std::time::Duration;

use businessos::actors::sessions::{PostgresSessions, RedisSessions, SessionStore};
use businessos::clients::redis::Redis;
use businessos::clock;
use businessos::db::pool::PoolSettings;
use businessos::db::sessions::{NewSession, Rotation, Session};
use businessos::db::{Db, TenantTx};
use businessos::domain::ids::{SessionId, TenantId, UserId};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::support::TestDatabase;
use crate::test_redis::TestRedis;

/// The first tenant's users have these ids in both tenants.
pub const ANN: Uuid = Uuid::from_u128(1);
pub const BOB: Uuid = Uuid::from_u128(2);

pub struct World {
    pub database: TestDatabase,
    pub db: Db,
    pub store: Arc<dyn SessionStore>,
    pub tenants: [TenantId; 2],
    _redis: Option<TestRedis>,
}

impl World {
    pub async fn postgres() -> Self {
        Self::new(Arc::new(PostgresSessions), None).await
    }

    pub async fn redis() -> Self {
        let redis = TestRedis::start();
        let client = Redis::new(&redis.url().into(), 16, Duration::from_secs(20)).unwrap();
        Self::new(Arc::new(RedisSessions::new(client)), Some(redis)).await
    }

    async fn new(store: Arc<dyn SessionStore>, redis: Option<TestRedis>) -> Self {
        let database = TestDatabase::new().await;
        let settings = PoolSettings {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(60),
            statement_timeout: Duration::from_secs(60),
        };
        let db = Db::new(settings, |role| database.options(role));
        let tenants = [Uuid::now_v7(), Uuid::now_v7()];
        for (n, tenant) in tenants.iter().enumerate() {
            let mut sql = format!(
                "INSERT INTO platform.tenants (tenant_id, slug, name, region, plan)
                 VALUES ('{tenant}', 'tenant-{n}', 'x', 'local', 'free');"
            );
            for (user, email) in [(ANN, "ann@x.test"), (BOB, "bob@x.test")] {
                sql += &format!(
                    "INSERT INTO auth.users (tenant_id, id, email, email_norm, role)
                     VALUES ('{tenant}', '{user}', '{email}', '{email}', 'member');"
                );
            }
            database.as_admin(&sql).await;
        }
        Self { database, db, store, tenants: tenants.map(TenantId::from), _redis: redis }
    }

    pub async fn begin(&self) -> TenantTx {
        TenantTx::begin(&self.db, self.tenants[0]).await.unwrap()
    }

    /// A new session of the first tenant that lives for an hour without a refresh and for a day at most.
    pub async fn session(&self, user: Uuid) -> SessionId {
        self.session_with(user, |_| {}).await
    }

    pub async fn session_with(&self, user: Uuid, tweak: impl FnOnce(&mut NewSession<'_>)) -> SessionId {
        let mut tx = self.begin().await;
        let id = self.insert(&mut tx, user, tweak).await;
        tx.commit().await.unwrap();
        id
    }

    pub async fn insert(&self, tx: &mut TenantTx, user: Uuid, tweak: impl FnOnce(&mut NewSession<'_>)) -> SessionId {
        let amr = ["pwd".to_owned()];
        let now = clock::now();
        let mut new = NewSession {
            id: clock::new_id(),
            user: UserId::from(user),
            idle_expires_at: now + TimeDelta::hours(1),
            absolute_expires_at: now + TimeDelta::days(1),
            acr: "aal1",
            amr: &amr,
            auth_time: now,
            mfa_time: None,
            epoch: 1,
            ip: Some("192.0.2.7".to_owned()),
            user_agent: Some("Firefox \"7\"\n"),
        };
        tweak(&mut new);
        self.store.insert(tx, &new).await.unwrap();
        new.id
    }

    pub async fn find(&self, id: SessionId) -> Option<Session> {
        let mut tx = self.begin().await;
        let found = self.store.find(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        found
    }

    pub async fn list(&self, user: Uuid) -> Vec<SessionId> {
        let mut tx = self.begin().await;
        let found = self.store.list(&mut tx, user.into()).await.unwrap();
        tx.commit().await.unwrap();
        found.into_iter().map(|session| session.id.into()).collect()
    }

    pub async fn rotate(&self, id: SessionId, counter: i64) -> Rotation {
        self.rotate_until(id, counter, clock::now() + TimeDelta::hours(2)).await
    }

    pub async fn rotate_until(&self, id: SessionId, counter: i64, idle: DateTime<Utc>) -> Rotation {
        let mut tx = self.begin().await;
        let rotation = self.store.rotate(&mut tx, id, counter, idle).await.unwrap();
        tx.commit().await.unwrap();
        rotation
    }

    pub async fn revoke(&self, id: SessionId) -> bool {
        let mut tx = self.begin().await;
        let ended = self.store.revoke(&mut tx, id, "test").await.unwrap();
        tx.commit().await.unwrap();
        ended
    }

    pub async fn revoke_all(&self, user: Uuid, except: Option<SessionId>) -> Vec<SessionId> {
        let mut tx = self.begin().await;
        let ended = self.store.revoke_all(&mut tx, user.into(), except, "test").await.unwrap();
        tx.commit().await.unwrap();
        ended
    }

    /// The sessions whose end was announced to all nodes.
    pub async fn announced(&self) -> Vec<Uuid> {
        let mut admin = self.database.connect("postgres").await;
        let sql = "SELECT DISTINCT subject FROM platform.config_log WHERE kind = 'session' AND tenant_id = $1";
        let tenant = self.tenants[0].uuid();
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(tenant).fetch_all(&mut admin).await.unwrap()
    }
}
