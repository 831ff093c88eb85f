//! Sessions over HTTP, on either store.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use businessos::config::{SessionStore, Settings};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::helpers::{App, Session, assert_soon, spawn_app, spawn_app_on, until};
use crate::test_redis::TestRedis;

/// An application, and its Redis if it has one.
struct World {
    app: App,
    redis: Option<TestRedis>,
}

impl World {
    async fn postgres() -> Self {
        Self { app: spawn_app(generous).await, redis: None }
    }

    async fn redis() -> Self {
        let redis = TestRedis::start();
        let url = redis.url();
        let app = spawn_app(|settings| {
            generous(settings);
            use_redis(settings, &url);
        })
        .await;
        Self { app, redis: Some(redis) }
    }

    /// A second node on the same database and store.
    async fn second_node(&self) -> App {
        spawn_app_on(Arc::clone(&self.app.db), None, |settings| {
            settings.gateway.public_port = self.app.port;
            if let Some(redis) = &self.redis {
                use_redis(settings, &redis.url());
            }
        })
        .await
    }
}

fn generous(settings: &mut Settings) {
    settings.database.acquire_timeout_ms = 20_000;
}

fn use_redis(settings: &mut Settings, url: &str) {
    settings.sessions.store = SessionStore::Redis;
    settings.redis.url = Some(url.to_owned().into());
    settings.redis.timeout_ms = 1_000;
}

macro_rules! on_both_stores {
    ($($name:ident,)*) => {
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::postgres().await).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::redis().await).await;
            })*
        }
    };
}

on_both_stores! {
    a_hundred_uses_of_one_token_are_one_rotation,
    a_replay_ends_the_family_and_tells_its_user,
    a_user_sees_and_ends_their_own_sessions,
    somebody_elses_session_is_as_unknown_as_none,
    the_others_end_and_this_one_stays,
    an_end_holds_on_the_other_node,
    the_session_survives_a_restart_of_the_server,
}

/// The number of a refresh token in its family.
fn counter(refresh_token: &str) -> i64 {
    let bytes = BASE64.decode(refresh_token).unwrap();
    i64::from_be_bytes(bytes[17..25].try_into().unwrap())
}

async fn list(app: &App, session: &Session) -> Vec<Value> {
    let reply = app.get("acme", "/auth/sessions").token(session).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["sessions"].as_array().unwrap().clone()
}

async fn id(app: &App, session: &Session) -> String {
    let me = app.get("acme", "/auth/me").token(session).await.json();
    me["session_id"].as_str().unwrap().to_owned()
}

async fn a_hundred_uses_of_one_token_are_one_rotation(world: World) {
    let app = &world.app;
    let (_, first) = app.tenant_with_owner("acme").await;
    let replies = join_all((0..100).map(|_| app.refresh("acme", &first.refresh))).await;
    let tokens: BTreeSet<_> = replies.iter().map(|reply| Session::of(reply).refresh).collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    let token = tokens.first().unwrap();
    assert_eq!((counter(&first.refresh), counter(token)), (1, 2));
    let next = Session::of(&app.refresh("acme", token).await);
    assert_eq!(counter(&next.refresh), 3);
    assert_eq!(list(app, &next).await.len(), 1);
}

async fn a_replay_ends_the_family_and_tells_its_user(world: World) {
    let app = &world.app;
    let (_, first) = app.tenant_with_owner("acme").await;
    let other = app.sign_in("acme", "owner@acme.test").await;
    let second = Session::of(&app.refresh("acme", &first.refresh).await);
    let third = Session::of(&app.refresh("acme", &second.refresh).await);
    for _ in 0..2 {
        app.refresh("acme", &first.refresh).await.problem(401, "session-revoked");
    }
    app.refresh("acme", &third.refresh).await.problem(401, "session-revoked");
    app.get("acme", "/auth/me").token(&third).await.problem(401, "invalid-token");
    let audited = "SELECT count(*) FROM platform.audit_log WHERE code = 'refresh-token-reuse' AND outcome = 'denied'";
    assert_eq!(app.count(audited).await, 1);
    let mailed =
        "SELECT count(*) FROM platform.mail_outbox WHERE kind = 'session_reuse' AND recipient = 'owner@acme.test'";
    assert_eq!(app.count(mailed).await, 1);
    Session::of(&app.refresh("acme", &other.refresh).await);
}

async fn a_user_sees_and_ends_their_own_sessions(world: World) {
    let app = &world.app;
    let tenant = app.onboard("acme").await;
    let login = json!({ "email": tenant.owner, "password": crate::helpers::PASSWORD });
    let phone = Session::of(&app.post("acme", "/auth/login").header("user-agent", "Phone/1").json(&login).await);
    let here = Session::of(&app.post("acme", "/auth/login").header("user-agent", "Desk/2").json(&login).await);
    app.user("acme", "member").await;

    let sessions = list(app, &here).await;
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    let of = |agent: &str| sessions.iter().find(|session| session["user_agent"] == agent).unwrap();
    assert_eq!((&of("Desk/2")["current"], &of("Phone/1")["current"]), (&json!(true), &json!(false)));
    for session in &sessions {
        assert_eq!(
            (&session["acr"], &session["amr"], &session["ip"]),
            (&json!("aal1"), &json!(["pwd"]), &json!("127.0.0.1"))
        );
        for time in ["created_at", "last_used_at", "expires_at"] {
            session[time].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        }
    }
    let path = format!("/auth/sessions/{}", of("Phone/1")["id"].as_str().unwrap());
    assert_eq!(app.delete("acme", &path).token(&here).await.status, 204);
    app.get("acme", "/auth/me").token(&phone).await.problem(401, "invalid-token");
    app.refresh("acme", &phone.refresh).await.problem(401, "session-revoked");
    app.delete("acme", &path).token(&here).await.problem(404, "not-found");
    assert_eq!(list(app, &here).await.len(), 1);
    let audited = "SELECT count(*) FROM platform.audit_log WHERE action = 'session.end' AND detail->>'scope' = 'one'";
    assert_eq!(app.count(audited).await, 1);
    // One may end the session one speaks through, too.
    let path = format!("/auth/sessions/{}", id(app, &here).await);
    assert_eq!(app.delete("acme", &path).token(&here).await.status, 204);
    app.get("acme", "/auth/sessions").token(&here).await.problem(401, "invalid-token");
}

async fn somebody_elses_session_is_as_unknown_as_none(world: World) {
    let app = &world.app;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let colleague = app.user("acme", "member").await;
    let (_, foreigner) = app.tenant_with_owner("globex").await;
    let foreign =
        app.get("globex", "/auth/me").token(&foreigner).await.json()["session_id"].as_str().unwrap().to_owned();
    let nobodys = uuid::Uuid::new_v4().to_string();
    let mut bodies = Vec::new();
    for id in [id(app, &colleague).await, foreign, nobodys, "x".to_owned()] {
        let reply = app.delete("acme", &format!("/auth/sessions/{id}")).token(&owner).await;
        reply.problem(404, "not-found");
        bodies.push(reply.anonymous());
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(app.get("acme", "/auth/me").token(&colleague).await.status, 200);
    Session::of(&app.refresh("acme", &colleague.refresh).await);
    Session::of(&app.refresh("globex", &foreigner.refresh).await);
}

async fn the_others_end_and_this_one_stays(world: World) {
    let app = &world.app;
    let (_, here) = app.tenant_with_owner("acme").await;
    let (one, two) = (app.sign_in("acme", "owner@acme.test").await, app.sign_in("acme", "owner@acme.test").await);
    let colleague = app.user("acme", "member").await;
    let logout = |body: Value| app.post("acme", "/auth/logout").token(&here).json(&body);
    assert_eq!(logout(json!({ "all": true, "others": true })).await.pointers(), ["/others"]);
    assert_eq!(list(app, &here).await.len(), 3);
    assert_eq!(logout(json!({ "others": true })).await.status, 204);
    for ended in [&one, &two] {
        app.get("acme", "/auth/me").token(ended).await.problem(401, "invalid-token");
        app.refresh("acme", &ended.refresh).await.problem(401, "session-revoked");
    }
    assert_eq!(list(app, &here).await.len(), 1);
    Session::of(&app.refresh("acme", &here.refresh).await);
    Session::of(&app.refresh("acme", &colleague.refresh).await);
}

async fn an_end_holds_on_the_other_node(world: World) {
    let a = &world.app;
    let b = world.second_node().await;
    let (_, here) = a.tenant_with_owner("acme").await;
    for _ in 0..5 {
        let there = a.sign_in("acme", "owner@acme.test").await;
        assert_eq!(b.get("acme", "/auth/me").token(&there).await.status, 200);
        let path = format!("/auth/sessions/{}", id(a, &there).await);
        assert_eq!(a.delete("acme", &path).token(&here).await.status, 204);
        let refused = async || b.get("acme", "/auth/me").token(&there).await.status == 401;
        let delay = until("the other node refuses", refused).await;
        assert_soon(delay);
        b.refresh("acme", &there.refresh).await.problem(401, "session-revoked");
    }
    assert_eq!(b.get("acme", "/auth/me").token(&here).await.status, 200);
}

async fn the_session_survives_a_restart_of_the_server(world: World) {
    let (_, session) = world.app.tenant_with_owner("acme").await;
    let ended = world.app.sign_in("acme", "owner@acme.test").await;
    assert_eq!(world.app.post("acme", "/auth/logout").token(&ended).await.status, 204);
    // A node that never heard of either.
    let fresh = world.second_node().await;
    fresh.get("acme", "/auth/me").token(&ended).await.problem(401, "invalid-token");
    assert_eq!(fresh.get("acme", "/auth/me").token(&session).await.status, 200);
    Session::of(&fresh.refresh("acme", &session.refresh).await);
}

#[tokio::test]
async fn while_redis_is_away_nobody_is_signed_out_and_tokens_go_on() {
    let mut world = World::redis().await;
    let (tenant, session) = world.app.tenant_with_owner("acme").await;
    assert_eq!(world.app.get("acme", "/readyz").await.status, 200);
    world.redis.as_mut().unwrap().stop();
    let app = &world.app;
    for _ in 0..3 {
        let refused = [
            app.refresh("acme", &session.refresh).await,
            app.try_sign_in("acme", &tenant.owner, crate::helpers::PASSWORD).await,
        ];
        for reply in refused {
            reply.problem(503, "unavailable");
            assert!(!reply.header("retry-after").is_empty(), "{reply:?}");
        }
        app.get("acme", "/auth/sessions").token(&session).await.problem(503, "unavailable");
        app.post("acme", "/auth/logout").token(&session).await.problem(503, "unavailable");
        assert_eq!(app.get("acme", "/auth/validate").token(&session).await.status, 200);
        assert_eq!(app.get("acme", "/auth/me").token(&session).await.status, 200);
    }
    let reply = app.get("localhost", "/readyz").await;
    assert_eq!(reply.status, 503);
    assert!(reply.json()["failing"]["session_store"].is_string(), "{reply:?}");
    // What the database says of the tenant still arrives.
    let path = format!("/tenants/{}", tenant.id);
    let reply = app.patch("acme", &path).token(&session).json(&json!({ "name": "Other" })).await;
    assert_eq!((reply.status, &reply.json()["name"]), (200, &json!("Other")));

    world.redis.as_mut().unwrap().restart();
    let app = &world.app;
    until("the server is ready again", async || app.get("localhost", "/readyz").await.status == 200).await;
    let fresh = app.sign_in("acme", &tenant.owner).await;
    Session::of(&app.refresh("acme", &fresh.refresh).await);
    // This Redis forgot everything, and says so only now that it can be asked.
    app.refresh("acme", &session.refresh).await.problem(401, "invalid-refresh-token");
}
