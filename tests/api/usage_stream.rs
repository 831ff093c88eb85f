//! The live stream of usage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::api_keys::make_key;
use crate::helpers::{App, PATIENCE, Session, spawn_app, spawn_app_on, until};
use crate::stream_client::{Client, Hand, count_up};

#[tokio::test]
async fn a_stream_begins_with_a_picture_of_every_meter() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    count_up(&app, &tenant, "ai_tokens", 8_500).await;
    count_up(&app, &tenant, "workflow_runs", 3).await;
    let head = Hand::new(&app).cross(&tenant).await;
    let picture = Client::open(&app, "acme", "", &owner).await.snapshot().await;
    assert_eq!(picture["id"], head);
    assert_eq!(picture["period"], businessos::clock::now().format("%Y-%m").to_string());
    assert!(picture.get("resync").is_none(), "{picture}");
    let meters = picture["meters"].as_array().unwrap();
    assert_eq!(
        meters[0],
        json!({ "meter": "ai_tokens", "used": 8_500, "reserved": 0, "included": 10_000, "soft_limit": 10_000,
                "hard_limit": null, "state": "warn" })
    );
    let used: Vec<_> = meters.iter().map(|meter| (meter["meter"].as_str().unwrap(), &meter["used"])).collect();
    assert_eq!(used, [("ai_tokens", &json!(8_500)), ("connector_calls", &json!(0)), ("workflow_runs", &json!(3))]);
}

#[tokio::test]
async fn what_another_process_writes_arrives_on_every_node() {
    let a = spawn_app(|_| {}).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| settings.gateway.public_port = a.port).await;
    let (tenant, owner) = a.tenant_with_owner("acme").await;
    let hand = Hand::new(&a);
    let (mut on_a, mut on_b) = (Client::open(&a, "acme", "", &owner).await, Client::open(&b, "acme", "", &owner).await);
    for client in [&mut on_a, &mut on_b] {
        assert_eq!(client.snapshot().await["id"], 0);
    }
    let written = Instant::now();
    let id = hand.append(&tenant, "threshold.crossed", json!({ "meter": "ai_tokens", "threshold": 80 })).await;
    for client in [&mut on_a, &mut on_b] {
        let event = client.next().await.unwrap();
        assert_eq!((&event["type"], &event["id"]), (&json!("threshold.crossed"), &json!(id)));
        assert_eq!((&event["meter"], &event["threshold"]), (&json!("ai_tokens"), &json!(80)));
        assert!(event["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{event}");
    }
    println!("an event on two nodes: {:?}", written.elapsed());
    count_up(&a, &tenant, "ai_tokens", 10_000).await;
    for client in [&mut on_a, &mut on_b] {
        let update = client.next().await.unwrap();
        let expected =
            json!({ "type": "usage.updated", "meter": "ai_tokens", "used": 10_000, "reserved": 0, "state": "paused" });
        assert_eq!(update, expected);
    }
}

#[tokio::test]
async fn however_events_are_written_meanwhile_a_client_that_comes_back_misses_none_and_gets_none_twice() {
    const N: i64 = 400;
    let a = spawn_app(|settings| settings.stream.poll_ms = 10).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| {
        settings.gateway.public_port = a.port;
        settings.stream.poll_ms = 10;
    })
    .await;
    let (tenant, owner) = a.tenant_with_owner("acme").await;
    let (hand, writers) = (Arc::new(Hand::new(&a)), 4);
    let mut writing = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let (hand, tenant) = (Arc::clone(&hand), tenant.clone());
        writing.spawn(async move {
            for _ in 0..N / writers {
                hand.cross(&tenant).await;
            }
        });
    }
    let (mut seen, mut n_connections) = (Vec::new(), 0);
    while seen.last() != Some(&N) {
        let last = seen.last().copied().unwrap_or(0);
        // Each time to the other node.
        let node = if n_connections % 2 == 0 { &a } else { &b };
        let mut client = Client::open(node, "acme", &format!("?resume_from={last}"), &owner).await;
        client.snapshot().await;
        n_connections += 1;
        // A few events, and away again in the middle of it.
        let until = (last + 1 + last % 37).min(N);
        seen.extend(client.ids_up_to(until).await);
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap();
    }
    assert_eq!(seen, (1..=N).collect::<Vec<_>>());
    assert!(n_connections > 10, "{n_connections}");
}

#[tokio::test]
async fn whoever_asks_for_events_that_are_gone_is_told_to_begin_anew() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let hand = Hand::new(&app);
    for _ in 0..3 {
        hand.cross(&tenant).await;
    }
    assert_eq!(hand.forget_all(&tenant).await, 3);
    let fourth = hand.cross(&tenant).await;
    for (query, resync) in [("?resume_from=3", false), ("?resume_from=4", false), ("", false)] {
        let picture = Client::open(&app, "acme", query, &owner).await.snapshot().await;
        assert_eq!(picture["resync"].as_bool().unwrap_or(false), resync, "{query}");
    }
    for query in ["?resume_from=1", "?resume_from=2", "?resume_from=99", "?resume_from=18446744073709551615"] {
        let mut client = Client::open(&app, "acme", query, &owner).await;
        let picture = client.snapshot().await;
        assert_eq!((&picture["resync"], &picture["id"]), (&json!(true), &json!(fourth)), "{query}");
        let next = hand.cross(&tenant).await;
        assert_eq!(client.next().await.unwrap()["id"], next, "{query}: what is new comes, and nothing old");
        hand.forget_all(&tenant).await;
        app.db.as_admin("UPDATE billing.stream_heads SET last_id = 4").await;
        app.db.as_admin(&format!(
            "INSERT INTO billing.stream_events (tenant_id, id, kind, payload) VALUES ('{}', 4, 'plan.changed', '{{}}')",
            tenant.id
        ))
        .await;
    }
}

#[tokio::test]
async fn a_ticket_opens_one_stream_on_any_node_and_in_its_own_tenant_only() {
    let a = spawn_app(|_| {}).await;
    let b = spawn_app_on(Arc::clone(&a.db), None, |settings| settings.gateway.public_port = a.port).await;
    let (_, owner) = a.tenant_with_owner("acme").await;
    a.onboard("globex").await;
    let reply = a.post("acme", "/billing/usage/stream-ticket").token(&owner).await;
    assert_eq!((reply.status, &reply.json()["expires_in"]), (201, &json!(30)), "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store");
    let query = format!("?ticket={}", reply.json()["ticket"].as_str().unwrap());
    let elsewhere = Client::try_open(&b, "globex", &query, None).await.map(drop).unwrap_err();
    assert_eq!((elsewhere.status, &elsewhere.body["code"]), (401, &json!("invalid-token")));
    let both = Client::try_open(&b, "acme", &query, Some(&owner.access)).await.map(drop).unwrap_err();
    assert_eq!((both.status, &both.body["code"]), (400, &json!("malformed-request")));
    let mut tries = tokio::task::JoinSet::new();
    let (a, b) = (Arc::new(a), Arc::new(b));
    for n in 0..8 {
        let (app, query) = (Arc::clone(if n % 2 == 0 { &a } else { &b }), query.clone());
        tries.spawn(async move { Client::try_open(&app, "acme", &query, None).await });
    }
    let mut open = Vec::new();
    while let Some(tried) = tries.join_next().await {
        match tried.unwrap() {
            Ok(client) => open.push(client),
            Err(refused) => assert_eq!(refused.status, 401, "{refused:?}"),
        }
    }
    assert_eq!(open.len(), 1, "a ticket is good once");
    open[0].snapshot().await;
    assert_eq!(a.post("acme", "/auth/logout").token(&owner).await.status, 204);
    assert_eq!(open[0].closed().await, (4401, "session-ended".to_owned()), "it is worth what the session is");
}

#[tokio::test]
async fn a_ticket_runs_out() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let reply = app.post("acme", "/billing/usage/stream-ticket").token(&owner).await;
    let query = format!("?ticket={}", reply.json()["ticket"].as_str().unwrap());
    app.db.as_admin("UPDATE billing.stream_tickets SET expires_at = clock_timestamp()").await;
    assert_eq!(Client::try_open(&app, "acme", &query, None).await.map(drop).unwrap_err().status, 401);
}

#[tokio::test]
async fn only_admins_and_keys_with_the_scope_are_let_in() {
    let app = spawn_app(|_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (_, stranger) = app.tenant_with_owner("globex").await;
    let member = app.user("acme", "member").await;
    let admin = app.stepped_up("acme", &owner).await;
    let (_, reader) = make_key("acme", &app, &admin, &["usage:read"]).await;
    let (_, writer) = make_key("acme", &app, &admin, &["usage:write", "gateway:*"]).await;
    for (token, status, code) in [
        (None, 401, "authentication-required"),
        (Some(&member.access), 403, "forbidden"),
        (Some(&stranger.access), 403, "tenant-mismatch"),
        (Some(&writer), 403, "insufficient-scope"),
    ] {
        let refused = Client::try_open(&app, "acme", "", token.map(String::as_str)).await.map(drop).unwrap_err();
        assert_eq!((refused.status, refused.body["code"].as_str()), (status, Some(code)));
    }
    Client::try_open(&app, "acme", "", Some(&reader)).await.unwrap().snapshot().await;
    let reply = app.get("acme", "/billing/usage/stream").token(&owner).await;
    reply.problem(426, "upgrade-required");
    assert_eq!(reply.header("upgrade"), "websocket");
    let unread = Client::try_open(&app, "acme", "?resume_from=-1", Some(&owner.access)).await.map(drop).unwrap_err();
    assert_eq!(unread.status, 400);
}

#[tokio::test]
async fn whoever_may_not_watch_any_more_is_told_so_and_cut_off() {
    let app = spawn_app(|settings| settings.auth.access_token_ttl_s = 10).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let admin = app.stepped_up("acme", &owner).await;
    let (key_id, key) = make_key("acme", &app, &admin, &["usage:read"]).await;
    let mut by_key = Client::try_open(&app, "acme", "", Some(&key)).await.unwrap();
    by_key.snapshot().await;
    assert_eq!(app.delete("acme", &format!("/api-keys/{key_id}")).token(&admin).await.status, 204);
    assert_eq!(by_key.closed().await, (4401, "key-revoked".to_owned()));

    let here = app.sign_in("acme", &tenant.owner).await;
    let mut by_session = Client::open(&app, "acme", "", &here).await;
    by_session.snapshot().await;
    assert_eq!(app.post("acme", "/auth/logout").token(&here).await.status, 204);
    assert_eq!(by_session.closed().await, (4401, "session-ended".to_owned()));

    let here = app.sign_in("acme", &tenant.owner).await;
    let mut runs_out = Client::open(&app, "acme", "", &here).await;
    runs_out.snapshot().await;
    assert_eq!(runs_out.closed().await, (4401, "token-expired".to_owned()));

    let again = Session::of(&app.refresh("acme", &here.refresh).await);
    let mut suspended = Client::open(&app, "acme", "", &again).await;
    suspended.snapshot().await;
    let operator = app.operator().await;
    let path = format!("/operator/tenants/{}/suspend", tenant.id);
    assert_eq!(app.post("platform", &path).token(&operator).await.status, 200);
    assert_eq!(suspended.closed().await, (4403, "tenant-suspended".to_owned()));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_the_others_are_not() {
    const N: i64 = 3_000;
    const BATCH: i64 = 100;
    let app = spawn_app(|settings| (settings.stream.poll_ms, settings.stream.queue) = (10, 150)).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let mut slow = Client::open_narrow(&app, "acme", &owner).await;
    let mut quick = Client::open(&app, "acme", "", &owner).await;
    for client in [&mut slow, &mut quick] {
        client.snapshot().await;
    }
    let mut last = 0;
    while last < N {
        app.db
            .as_admin(&format!(
                "INSERT INTO billing.stream_heads VALUES ('{0}', {1})
                 ON CONFLICT (tenant_id) DO UPDATE SET last_id = excluded.last_id;
                 INSERT INTO billing.stream_events (tenant_id, id, kind, payload)
                 SELECT '{0}', n, 'plan.changed', jsonb_build_object('x', repeat('x', 8000))
                 FROM generate_series({last} + 1, {1}) n",
                tenant.id,
                last + BATCH
            ))
            .await;
        last += BATCH;
        assert_eq!(quick.ids_up_to(last).await.len() as i64, BATCH);
    }
    let mut n_read = 0;
    let closed = loop {
        match slow.next().await {
            Ok(_) => n_read += 1,
            Err(closed) => break closed,
        }
    };
    assert_eq!(closed, (1013, "too-slow".to_owned()));
    assert!(n_read < N, "{n_read} were kept for it");
}

#[tokio::test]
async fn more_events_at_once_than_may_wait_for_a_client_reach_one_that_reads() {
    const N: i64 = 150;
    let app = spawn_app(|_| {}).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let mut client = Client::open(&app, "acme", "", &owner).await;
    client.snapshot().await;
    app.db
        .as_admin(&format!(
            "INSERT INTO billing.stream_heads VALUES ('{0}', {N});
             INSERT INTO billing.stream_events (tenant_id, id, kind, payload)
             SELECT '{0}', n, 'plan.changed', '{{}}' FROM generate_series(1, {N}) n",
            tenant.id
        ))
        .await;
    assert_eq!(client.ids_up_to(N).await, (1..=N).collect::<Vec<_>>());
}

#[tokio::test]
async fn streams_are_capped_for_each_tenant_and_altogether() {
    let app = spawn_app(|settings| (settings.stream.max_per_tenant, settings.stream.max_total) = (2, 3)).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (_, other) = app.tenant_with_owner("globex").await;
    let first = Client::open(&app, "acme", "", &owner).await;
    let _second = Client::open(&app, "acme", "", &owner).await;
    let refused = Client::try_open(&app, "acme", "", Some(&owner.access)).await.map(drop).unwrap_err();
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("too-many-connections")));
    let _third = Client::open(&app, "globex", "", &other).await;
    let refused = Client::try_open(&app, "globex", "", Some(&other.access)).await.map(drop).unwrap_err();
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("overloaded")));
    drop(first);
    until("the place is given back", async || Client::try_open(&app, "acme", "", Some(&owner.access)).await.is_ok())
        .await;
}

#[tokio::test]
async fn clients_listen_and_say_nothing() {
    let app = spawn_app(|settings| settings.stream.ping_s = 1).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for (said, code) in [
        (Message::text("hello"), 1003),
        (Message::binary(vec![1, 2, 3]), 1003),
        (Message::text("x".repeat(2_000)), 1009),
    ] {
        let mut client = Client::open(&app, "acme", "", &owner).await;
        client.snapshot().await;
        client.socket.send(said.clone()).await.unwrap();
        assert_eq!(client.closed().await.0, code, "{said:?}");
    }
    let mut polite = Client::open(&app, "acme", "", &owner).await;
    polite.snapshot().await;
    polite.socket.send(Message::Ping(vec![7].into())).await.unwrap();
    polite.socket.close(None).await.unwrap();
    let mut silent = Client::open(&app, "acme", "", &owner).await;
    silent.snapshot().await;
    // Whoever does not read answers no ping.
    until("the silent one is given up", async || active(&app).await == 0).await;
}

/// Streams that the application has open.
async fn active(app: &App) -> i64 {
    let metrics = app.admin("/metrics").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("usage_streams_open ")).expect("the gauge");
    line.parse().unwrap()
}

#[tokio::test]
async fn an_open_stream_is_no_request_in_flight_and_a_stop_does_not_wait_for_it() {
    let app = spawn_app(|settings| {
        settings.limits.tenant_in_flight = 1;
        settings.server.shutdown_timeout_s = 60;
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let mut open = Client::open(&app, "acme", "", &owner).await;
    open.snapshot().await;
    let mut deaf = Client::open(&app, "acme", "", &owner).await;
    deaf.snapshot().await;
    assert_eq!(app.get("acme", "/auth/me").token(&owner).await.status, 200, "the tenant's only place is free");
    let stopping = tokio::task::spawn_blocking(move || {
        let asked = Instant::now();
        drop(app);
        asked.elapsed()
    });
    assert_eq!(open.closed().await, (1012, "restarting".to_owned()));
    let took = stopping.await.unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}: much less than server.shutdown_timeout_s");
    drop(deaf);
}

#[tokio::test]
async fn a_client_that_never_falls_silent_is_looked_at_and_pinged_all_the_same() {
    let app = spawn_app(|settings| settings.stream.ping_s = 1).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let client = Client::open(&app, "acme", "", &owner).await;
    let (mut to, mut from) = client.socket.split();
    let talk = async {
        loop {
            to.send(Message::Ping(Vec::new().into())).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let pinged = async { while !matches!(from.next().await.unwrap().unwrap(), Message::Ping(_)) {} };
    tokio::select! {
        () = talk => {}
        pinged = tokio::time::timeout(PATIENCE, pinged) => pinged.expect("a ping of the server's"),
    }
}
