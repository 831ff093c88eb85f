//! Proxied calls that are counted by the piece, and what services report themselves.

use std::io::Write as _;

use businessos::config::Settings;
use businessos::domain::meter::MeterName;
use businessos::domain::quota::OnExceed;
use reqwest::Method;
use serde_json::json;

use crate::helpers::{App, Session, routes, spawn_app, until};
use crate::provider::{Provider, reply};
use crate::usage::used;

pub const UPGRADE: &str = "https://acme.test/upgrade";

/// An application with these routes.
pub async fn app_with(text: String, tweak: impl FnOnce(&mut Settings)) -> App {
    spawn_app(move |settings| {
        settings.gateway.routes = routes(&text);
        settings.gateway.upgrade_url = UPGRADE.to_owned();
        settings.metering.flush_ms = 20;
        tweak(settings);
    })
    .await
}

/// Waits until a meter shows this.
pub async fn counted(app: &App, by: &Session, meter: &str, wanted: i64) {
    until(&format!("{wanted} of {meter}"), async || used(app, by, meter, "").await["used"] == wanted).await;
}

/// Sets the free plan's limits of a meter.
pub fn limit(settings: &mut Settings, meter: &str, soft: Option<i64>, hard: Option<i64>) {
    let plan = settings.plans.get_mut("free").unwrap();
    let name = MeterName::parse(meter).unwrap();
    let like = plan.meters.values().next().unwrap().clone();
    let limits = plan.meters.entry(name).or_insert(like);
    (limits.soft_limit, limits.hard_limit) = (soft, hard);
}

/// Answers by what the path says.
fn service() -> Provider {
    Provider::start(|seen, stream| {
        let path = seen.line.split(' ').nth(1).unwrap().to_owned();
        match path.rsplit('/').next().unwrap() {
            "ok" => reply(stream, 200, "", "fine"),
            "none" => reply(stream, 204, "", ""),
            "empty" => reply(stream, 200, "", ""),
            "missing" => reply(stream, 404, "", "no"),
            "broken" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap(),
            "chunked" => stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
                )
                .unwrap(),
            "reports" => reply(stream, 200, "x-usage: ai_tokens=812;id=abc, workflow_runs=2\r\n", "fine"),
            "mistaken" => reply(stream, 200, "x-usage: ai_tokens=5, nonsense\r\n", "fine"),
            "foreign" => reply(stream, 200, "x-usage: ai_tokens=3, connector_calls=9\r\n", "fine"),
            other => panic!("{other}"),
        }
    })
}

#[tokio::test]
async fn calls_that_succeed_are_counted_and_others_are_not() {
    let service = service();
    let app = app_with(service.route("/run", "meter = \"workflow_runs\"\nmeter_quantity = 5"), |_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    app.get("acme", "/run/missing").token(&owner).await;
    app.get("acme", "/run/ok").await.problem(401, "authentication-required");
    let broken = app.raw(
        format!(
            "GET /run/broken HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            owner.access
        )
        .as_bytes(),
    );
    assert!(broken.ends_with("half"), "{broken}");
    for path in ["ok", "chunked", "none", "empty"] {
        assert!(app.get("acme", &format!("/run/{path}")).token(&owner).await.status < 300, "{path}");
    }
    app.request(reqwest::Method::HEAD, "acme", "/run/ok").token(&owner).await;
    counted(&app, &owner, "workflow_runs", 25).await;
}

#[tokio::test]
async fn a_client_that_repeats_a_call_is_counted_once() {
    let service = service();
    let text = service.route("/run", "meter = \"workflow_runs\"\nidempotency_key = true")
        + &service.route("/other", "meter = \"workflow_runs\"");
    let app = app_with(text, |_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let member = app.user("acme", "member").await;
    for (path, by, key) in [
        ("/run/ok", &owner, "k1"),
        ("/run/ok", &owner, "k1"),
        ("/run/ok", &owner, "k2"),
        ("/run/ok", &member, "k1"),
        ("/run/chunked", &owner, "k1"),
        // This route does not honour it.
        ("/other/ok", &owner, "k1"),
        ("/other/ok", &owner, "k1"),
    ] {
        assert_eq!(app.post("acme", path).token(by).header("idempotency-key", key).await.status, 200, "{path} {key}");
    }
    counted(&app, &owner, "workflow_runs", 6).await;
    // What a service does each time, or whose key it does not see, is counted each time.
    for (method, listed) in [(Method::GET, "close"), (Method::POST, "close, Idempotency-Key")] {
        for _ in 0..2 {
            let call = app.request(method.clone(), "acme", "/run/ok").token(&owner).header("connection", listed);
            assert_eq!(call.header("idempotency-key", "k1").await.status, 200);
        }
    }
    counted(&app, &owner, "workflow_runs", 10).await;
}

#[tokio::test]
async fn a_call_that_two_routes_could_take_is_counted_by_one() {
    let service = service();
    let text = service.route("/run", "meter = \"workflow_runs\"")
        + &service.route("/run/deep", "meter = \"workflow_runs\"\nmeter_quantity = 10")
        + &service.route("/run/deep/other", "meter = \"connector_calls\"");
    let app = app_with(text, |_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    for path in ["/run/ok", "/run/deep/ok", "/run/deep/other/ok", "/run/deeper/ok"] {
        assert_eq!(app.get("acme", path).token(&owner).await.status, 200, "{path}");
    }
    counted(&app, &owner, "connector_calls", 1).await;
    counted(&app, &owner, "workflow_runs", 12).await;
    // Nothing came on top of it.
    assert_eq!(app.count("SELECT sum(used)::bigint FROM billing.usage_counters").await, 13);
}

#[tokio::test]
async fn what_a_service_reports_is_counted_once_and_not_shown() {
    let service = service();
    let text =
        service.route("/run", "usage_header = [\"ai_tokens\", \"workflow_runs\"]") + &service.route("/plain", "");
    let app = app_with(text, |_| {}).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    // The tokens have a name, the runs have none.
    for path in ["/run/reports", "/run/reports", "/plain/reports", "/run/mistaken", "/run/foreign"] {
        let reply = app.get("acme", path).token(&owner).await;
        assert_eq!((reply.status, reply.header("x-usage")), (200, ""), "{path}");
    }
    counted(&app, &owner, "workflow_runs", 4).await;
    counted(&app, &owner, "ai_tokens", 815).await;
    assert_eq!(used(&app, &owner, "connector_calls", "").await["used"], 0);
    let metrics = app.admin("/metrics").await.body;
    // Every use of the route that reports nothing, the mistake, and the meter that is not listed.
    assert!(metrics.contains("metering_refused_usage_headers_total 4"), "{metrics}");
    let of_service = "SELECT count(*) FROM billing.usage_events WHERE source = 'service:/run' AND meter = 'ai_tokens'";
    assert_eq!(app.count(of_service).await, 2, "the one with a name came twice");
}

#[tokio::test]
async fn at_a_hard_limit_no_call_is_begun_whose_service_would_report_more() {
    let service = service();
    let text =
        service.route("/use", "usage_header = [\"workflow_runs\", \"ai_tokens\"]") + &service.route("/plain", "");
    let app = app_with(text, |settings| limit(settings, "ai_tokens", None, Some(800))).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    assert_eq!(app.get("acme", "/use/reports").token(&owner).await.status, 200);
    counted(&app, &owner, "ai_tokens", 812).await;
    let is_shut = async || app.get("acme", "/use/ok").token(&owner).await.status == 429;
    until("the gateway knows of the limit", is_shut).await;
    let refused = app.get("acme", "/use/reports").token(&owner).await.problem(429, "quota-exceeded");
    assert_eq!(
        (&refused["meter"], &refused["limit"], &refused["used"]),
        (&json!("ai_tokens"), &json!(800), &json!(812))
    );
    assert_eq!(app.get("acme", "/plain/ok").token(&owner).await.status, 200);
}

#[tokio::test]
async fn answers_say_where_the_tenant_stands_and_a_pause_shuts_what_names_it() {
    let service = service();
    let text = service.route("/run", "meter = \"workflow_runs\"\npauses_with = [\"ai_tokens\"]")
        + &service.route("/use", "usage_header = [\"ai_tokens\"]\nmeter = \"ai_tokens\"\nmeter_quantity = 800")
        + &service.route("/plain", "");
    let app = app_with(text, |settings| limit(settings, "ai_tokens", Some(1_000), None)).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let first = app.get("acme", "/use/ok").token(&owner).await;
    let said = |reply: &crate::helpers::Reply, name: &str| reply.header(&format!("x-quota-{name}")).to_owned();
    let figures =
        |reply: &crate::helpers::Reply| ["meter", "limit", "used", "remaining", "state"].map(|name| said(reply, name));
    assert_eq!(figures(&first), ["ai_tokens", "1000", "0", "1000", "ok"]);
    assert!((1..=31 * 86_400).contains(&said(&first, "reset").parse::<u64>().unwrap()), "{first:?}");
    assert_eq!((first.header("x-upgrade-url"), first.header("link")), ("", ""));
    counted(&app, &owner, "ai_tokens", 800).await;
    let run = app.get("acme", "/run/ok").token(&owner).await;
    assert_eq!(figures(&run), ["workflow_runs", "", "0", "", "ok"], "a meter without limits");
    let second = app.get("acme", "/use/ok").token(&owner).await;
    assert_eq!(figures(&second), ["ai_tokens", "1000", "800", "200", "warn"]);
    assert_eq!(second.header("x-upgrade-url"), UPGRADE);
    assert_eq!(second.header("link"), format!("<{UPGRADE}>; rel=\"payment\"; title=\"upgrade\""));
    counted(&app, &owner, "ai_tokens", 1_600).await;

    // What fails is not counted.
    let is_shut = async || app.get("acme", "/run/missing").token(&owner).await.status == 429;
    until("the gateway knows of the pause", is_shut).await;
    let refused = app.get("acme", "/run/ok").token(&owner).await;
    let problem = refused.problem(429, "quota-exceeded");
    assert_eq!(
        (&problem["meter"], &problem["limit"], &problem["used"]),
        (&json!("ai_tokens"), &json!(1_000), &json!(1_600))
    );
    assert_eq!((&problem["upgrade_url"], refused.header("x-upgrade-url")), (&json!(UPGRADE), UPGRADE));
    assert_eq!(figures(&refused), ["ai_tokens", "1000", "1600", "0", "paused"]);
    assert_eq!(refused.header("retry-after"), said(&refused, "reset"));
    assert!(problem["resets_at"].as_str().unwrap().ends_with("-01T00:00:00Z"), "{problem}");
    // What does not name the meter goes on.
    for path in ["/use/ok", "/plain/ok"] {
        assert_eq!(app.get("acme", path).token(&owner).await.status, 200, "{path}");
    }
    let plain = app.get("acme", "/plain/ok").token(&owner).await;
    assert_eq!(figures(&plain), ["", "", "", "", ""]);
    assert_eq!(used(&app, &owner, "workflow_runs", "").await["used"], 1);

    // A plan that has more of it opens the route.
    let (operator, path) = (app.operator().await, format!("/operator/tenants/{}/plan", tenant.id));
    let changed = app.post("platform", &path).token(&operator).json(&json!({ "plan": "basic" })).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    until("the route answers again", async || app.get("acme", "/run/ok").token(&owner).await.status == 200).await;
}

#[tokio::test]
async fn a_route_that_was_paused_answers_again_when_an_admin_lifts_the_pause() {
    let service = service();
    let text = service.route("/run", "pauses_with = [\"ai_tokens\"]")
        + &service.route("/use", "meter = \"ai_tokens\"\nmeter_quantity = 1000");
    let app = app_with(text, |settings| limit(settings, "ai_tokens", Some(1_000), None)).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    let run = async || app.get("acme", "/run/ok").token(&owner).await.status;
    assert_eq!(run().await, 200);
    assert_eq!(app.get("acme", "/use/ok").token(&owner).await.status, 200);
    until("the route is paused", async || run().await == 429).await;
    let resumed = app.post("acme", "/billing/usage/ai_tokens/resume").token(&owner).await;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    until("the route answers again", async || run().await == 200).await;
    // More of it does not pause the route again.
    assert_eq!(app.get("acme", "/use/ok").token(&owner).await.header("x-quota-state"), "soft");
    counted(&app, &owner, "ai_tokens", 2_000).await;
    assert_eq!(run().await, 200);
}

#[tokio::test]
async fn past_a_soft_limit_that_throttles_a_few_calls_a_minute_are_left() {
    let service = service();
    let text = service.route("/use", "meter = \"ai_tokens\"\nmeter_quantity = 1000") + &service.route("/plain", "");
    let app = app_with(text, |settings| {
        limit(settings, "ai_tokens", Some(1_000), None);
        let limits = settings.plans.get_mut("free").unwrap().meters.values_mut().next().unwrap();
        (limits.on_exceed, limits.throttle_per_minute) = (OnExceed::Throttle, 2);
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let (_, other) = app.tenant_with_owner("globex").await;
    // What fails is not counted, and takes its place in the rate all the same.
    let probe = async || app.get("acme", "/use/missing").token(&owner).await;
    for _ in 0..5 {
        assert_eq!(probe().await.status, 404, "below the limit nothing is slowed");
    }
    assert_eq!(app.get("acme", "/use/ok").token(&owner).await.status, 200);
    until("the gateway knows", async || probe().await.header("x-quota-state") == "throttled").await;
    let mut n_passed = 1;
    let refused = loop {
        let reply = probe().await;
        if reply.status == 429 {
            break reply;
        }
        assert_eq!((reply.status, reply.header("x-quota-state")), (404, "throttled"), "{reply:?}");
        n_passed += 1;
        // A third passes after half a minute.
        assert!(n_passed < 10, "nothing is refused");
    };
    assert!(n_passed >= 2, "{n_passed}");
    let problem = refused.problem(429, "quota-throttled");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let quota = ["meter", "limit", "used", "remaining", "state"].map(|name| refused.header(&format!("x-quota-{name}")));
    assert_eq!(quota, ["ai_tokens", "1000", "1000", "0", "throttled"]);
    assert_eq!((&problem["meter"], &problem["used"]), (&json!("ai_tokens"), &json!(1_000)));
    assert_eq!((&problem["upgrade_url"], refused.header("x-upgrade-url")), (&json!(UPGRADE), UPGRADE));
    assert_eq!(app.get("acme", "/plain/ok").token(&owner).await.status, 200, "another route");
    let others = app.get("globex", "/use/ok").token(&other).await;
    assert_eq!((others.status, others.header("x-quota-state")), (200, "ok"), "another tenant");
}

#[tokio::test]
async fn whoever_shows_no_credential_is_not_told_the_tenants_figures() {
    let service = service();
    let text = service.route("/run", "meter = \"workflow_runs\"\nauth = \"optional\"")
        + &service.route("/set", "meter = \"connector_calls\"\nauth = \"none\"");
    let app = app_with(text, |settings| {
        limit(settings, "workflow_runs", None, Some(0));
        limit(settings, "connector_calls", None, Some(0));
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let is_told = |reply: &crate::helpers::Reply| !reply.header("x-quota-meter").is_empty();
    let known = app.get("acme", "/run/ok").token(&owner).await;
    known.problem(429, "quota-exceeded");
    assert!(is_told(&known) && known.json()["limit"] == 0, "{known:?}");
    for path in ["/run/ok", "/set/ok"] {
        let stranger = app.get("acme", path).await;
        let problem = stranger.problem(429, "quota-exceeded");
        assert!(!is_told(&stranger) && problem["limit"].is_null() && problem["used"].is_null(), "{stranger:?}");
    }
}

#[tokio::test]
async fn a_hard_limit_is_never_passed_and_nothing_stays_set_aside() {
    let service = service();
    let text = service.route("/run", "meter = \"workflow_runs\"\nmeter_quantity = 2");
    let app = app_with(text, |settings| {
        limit(settings, "workflow_runs", None, Some(71));
        // All of them wait for one row, some for all the others.
        settings.database.acquire_timeout_ms = 20_000;
    })
    .await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    // Set aside, and given back.
    assert_eq!(app.get("acme", "/run/missing").token(&owner).await.status, 404);
    until("nothing is set aside", async || used(&app, &owner, "workflow_runs", "").await["reserved"] == 0).await;
    let calls = (0..100).map(|_| async { app.get("acme", "/run/ok").token(&owner).await.status });
    let mut statuses = futures_util::future::join_all(calls).await;
    statuses.sort_unstable();
    // Each is two of seventy-one.
    assert_eq!((statuses[34], statuses[35]), (200, 429), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    counted(&app, &owner, "workflow_runs", 70).await;
    until("nothing is set aside", async || used(&app, &owner, "workflow_runs", "").await["reserved"] == 0).await;
    let refused = app.get("acme", "/run/ok").token(&owner).await.problem(429, "quota-exceeded");
    assert_eq!((&refused["limit"], &refused["used"]), (&json!(71), &json!(70)));
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done_or_looks_broken() {
    let service = service();
    let route = || service.route("/run", "meter = \"workflow_runs\"") + &service.route("/plain", "");
    let full = app_with(route(), |settings| settings.metering.spool_max_bytes = 0).await;
    let (_, owner) = full.tenant_with_owner("acme").await;
    let refused = full.get("acme", "/run/ok").token(&owner).await;
    refused.problem(503, "metering-unavailable");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(full.get("acme", "/plain/ok").token(&owner).await.status, 200);
    drop(full);
    // Room for something, but not for a record: it fills up while the call is answered.
    let tight = app_with(route(), |settings| settings.metering.spool_max_bytes = 1).await;
    let (_, owner) = tight.tenant_with_owner("acme").await;
    tight.get("acme", "/run/none").token(&owner).await.problem(503, "metering-unavailable");
    for path in ["ok", "chunked"] {
        let request = format!(
            "GET /run/{path} HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            owner.access
        );
        let answer = tight.raw(request.as_bytes());
        assert!(!answer.contains("fine") && !answer.ends_with("0\r\n\r\n"), "{path}: {answer}");
    }
}
