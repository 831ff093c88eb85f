//! Mail on its way: over SMTP, with retries, several processes, and dead letters.

use std::sync::Arc;

use serde_json::json;

use crate::helpers::{App, Session, spawn_app, spawn_app_on, until};
use crate::smtp::SmtpSink;

/// An application that sends by this URL.
async fn spawn(url: String, ca: Option<std::path::PathBuf>) -> App {
    spawn_app(|settings| {
        settings.mail.smtp_url = Some(url.into());
        settings.mail.smtp_ca_file = ca;
        settings.mail.timeout_ms = 8_000;
    })
    .await
}

async fn invite(app: &App, owner: &Session, email: &str) {
    let body = json!({ "email": email, "role": "member" });
    let reply = app.post("acme", "/invitations").token(owner).json(&body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
}

/// Number of mails to an address whose row is so.
async fn n_mails(app: &App, to: &str, condition: &str) -> i64 {
    app.count(&format!("SELECT count(*) FROM platform.mail_outbox WHERE recipient = '{to}' AND {condition}")).await
}

/// Makes every mail that waits due now.
async fn make_due(app: &App) {
    app.db
        .as_admin("UPDATE platform.mail_outbox SET next_attempt_at = now() WHERE sent_at IS NULL AND dead_at IS NULL")
        .await;
}

#[tokio::test]
async fn mail_goes_through_starttls_and_a_password() {
    let sink = SmtpSink::start("starttls", Some("bos:s3cret/word"));
    let url = format!("smtp://bos:s3cret%2Fword@localhost:{}?tls=required", sink.port);
    let app = spawn(url, Some(sink.ca_file())).await;
    app.onboard("acme").await;
    let mail = sink.mail_to("owner@acme.test").await;
    assert_eq!(mail.subject, "Confirm your e-mail address for acme Ltd");
    assert!(mail.raw.contains("From: BusinessOS <no-reply@localhost>"), "{mail:?}");
    assert!(mail.raw.contains("text/plain") && mail.raw.contains("text/html"), "{mail:?}");
    let id: String = {
        let mut conn = app.db.connect(businessos::db::embedded::SUPERUSER).await;
        sqlx::query_scalar("SELECT id::text FROM platform.mail_outbox").fetch_one(&mut conn).await.unwrap()
    };
    assert!(mail.raw.contains(&format!("Message-ID: <{id}@localhost>")), "{mail:?}");
    let verified = app.post("acme", "/auth/email/verify").json(&json!({ "token": mail.token() })).await;
    assert_eq!(verified.status, 204, "{verified:?}");
}

#[tokio::test]
async fn mail_goes_through_tls_from_the_start() {
    let sink = SmtpSink::start("tls", None);
    let app = spawn(format!("smtps://localhost:{}", sink.port), Some(sink.ca_file())).await;
    app.onboard("acme").await;
    sink.mail_to("owner@acme.test").await;
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_and_a_wrong_password_get_nothing_and_lose_nothing() {
    let sink = SmtpSink::start("starttls", Some("bos:right"));
    let url = |password: &str| format!("smtp://bos:{password}@localhost:{}?tls=required", sink.port);
    for (url, ca) in [(url("right"), None), (url("wrong"), Some(sink.ca_file()))] {
        let app = spawn(url, ca).await;
        app.onboard("acme").await;
        let waits = "last_error IS NOT NULL AND dead_at IS NULL AND sent_at IS NULL";
        until("the attempt failed", async || n_mails(&app, "owner@acme.test", waits).await == 1).await;
    }
    assert_eq!(sink.mails().len(), 0);
}

#[tokio::test]
async fn a_refusal_for_good_is_a_dead_letter_that_an_operator_can_try_again() {
    let sink = SmtpSink::start("plain", None);
    let app = spawn(format!("smtp://127.0.0.1:{}", sink.port), None).await;
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    invite(&app, &owner, "refused@acme.test").await;
    until("it is dead", async || n_mails(&app, "refused@acme.test", "dead_at IS NOT NULL").await == 1).await;
    let operator = app.operator().await;
    let list = async |state: &str| {
        let reply = app.get("platform", &format!("/operator/mail?state={state}")).token(&operator).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["items"].clone()
    };
    let dead = list("dead").await;
    assert_eq!(dead.as_array().unwrap().len(), 1, "{dead}");
    let entry = &dead[0];
    assert_eq!((&entry["tenant_id"], &entry["kind"]), (&json!(tenant.id), &json!("invitation")));
    assert_eq!((&entry["recipient_domain"], &entry["n_attempts"]), (&json!("acme.test"), &json!(1)));
    assert!(entry["last_error"].as_str().unwrap().contains("no such user"), "{entry}");
    assert_eq!(list("pending").await, json!([]));

    let retry = format!("/operator/mail/{}/{}/retry", tenant.id, entry["id"].as_str().unwrap());
    app.db.as_admin("UPDATE platform.mail_outbox SET recipient = 'found@acme.test' WHERE dead_at IS NOT NULL").await;
    assert_eq!(app.post("platform", &retry).token(&operator).await.status, 202);
    sink.mail_to("found@acme.test").await;
    app.all_mail_sent().await;
    app.post("platform", &retry).token(&operator).await.problem(404, "not-found");
    assert_eq!(app.audited("mail.retry", "success").await, 1);
}

#[tokio::test]
async fn what_fails_for_now_is_tried_again_later_and_later_and_given_up_in_the_end() {
    let sink = SmtpSink::start("plain", None);
    let app = spawn(format!("smtp://127.0.0.1:{}", sink.port), None).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    // One that refuses for now, and one that never answers.
    for email in ["busy@acme.test", "silent@acme.test"] {
        invite(&app, &owner, email).await;
        let waits = "last_error IS NOT NULL AND n_attempts = 1 AND dead_at IS NULL
                     AND next_attempt_at - now() BETWEEN interval '30 seconds' AND interval '75 seconds'";
        until(email, async || n_mails(&app, email, waits).await == 1).await;
    }
    let settled =
        "UPDATE platform.mail_outbox SET n_attempts = 4, next_attempt_at = now() WHERE recipient = 'busy@acme.test'";
    app.db.as_admin(settled).await;
    let later = "n_attempts = 5 AND next_attempt_at - now() BETWEEN interval '11 minutes' AND interval '20 minutes'";
    until("the fifth attempt", async || n_mails(&app, "busy@acme.test", later).await == 1).await;
    app.db.as_admin("UPDATE platform.mail_outbox SET n_attempts = 9 WHERE recipient = 'busy@acme.test'").await;
    make_due(&app).await;
    until("given up", async || n_mails(&app, "busy@acme.test", "dead_at IS NOT NULL AND n_attempts = 10").await == 1)
        .await;
}

#[tokio::test]
async fn a_server_that_comes_back_gets_what_waited() {
    let sink = SmtpSink::start("plain", None);
    let port = sink.port;
    drop(sink);
    // Nobody else gets the port meanwhile, and nobody listens on it.
    let kept = tokio::net::TcpSocket::new_v4().unwrap();
    kept.set_reuseaddr(true).unwrap();
    kept.bind(([127, 0, 0, 1], port).into()).unwrap();
    let app = spawn(format!("smtp://127.0.0.1:{port}"), None).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    invite(&app, &owner, "ann@acme.test").await;
    until("it failed", async || n_mails(&app, "ann@acme.test", "last_error IS NOT NULL").await == 1).await;
    let sink = SmtpSink::start_on(port, "plain", None);
    make_due(&app).await;
    sink.mail_to("ann@acme.test").await;
    app.all_mail_sent().await;
}

#[tokio::test]
async fn several_processes_send_each_mail_once() {
    let sink = SmtpSink::start("plain", None);
    let url = format!("smtp://127.0.0.1:{}", sink.port);
    let app = spawn(url.clone(), None).await;
    let other = spawn_app_on(Arc::clone(&app.db), None, |settings| settings.mail.smtp_url = Some(url.into())).await;
    app.onboard("acme").await;
    app.onboard("globex").await;
    // Every mail becomes due at the same moment for both.
    app.db
        .as_admin(
            "INSERT INTO platform.mail_outbox (tenant_id, id, kind, recipient)
             SELECT t.tenant_id, gen_random_uuid(), 'password_changed', 'u' || n || '@' || t.slug || '.test'
             FROM platform.tenants t, generate_series(1, 25) n WHERE t.slug IN ('acme', 'globex')",
        )
        .await;
    app.all_mail_sent().await;
    let mut recipients: Vec<_> = sink.mails().into_iter().map(|mail| mail.to).collect();
    let n = recipients.len();
    recipients.sort_unstable();
    recipients.dedup();
    assert_eq!((n, recipients.len()), (52, 52));
    assert_eq!(app.count("SELECT max(n_attempts)::bigint FROM platform.mail_outbox").await, 1);
    drop(other);
}

#[tokio::test]
async fn sent_mail_is_forgotten_after_a_week_and_nothing_else_is() {
    let app = spawn_app(|_| {}).await;
    app.onboard("acme").await;
    // More than are deleted at once, and of each kind one more that stays.
    app.db
        .as_admin(
            "INSERT INTO platform.mail_outbox (tenant_id, id, kind, recipient, created_at, sent_at, dead_at, next_attempt_at)
             SELECT tenant_id, gen_random_uuid(), 'password_changed', r, now() - interval '30 days', s, d, n
             FROM platform.tenants, (
                 SELECT 'old@acme.test', now() - interval '7 days', NULL::timestamptz, now() FROM generate_series(1, 450)
                 UNION ALL SELECT 'new@acme.test', now() - interval '6 days', NULL, now()
                 UNION ALL SELECT 'dead@acme.test', NULL, now() - interval '8 days', now()
                 UNION ALL SELECT 'waits@acme.test', NULL, NULL, now() + interval '1 day') AS mail (r, s, d, n)
             WHERE slug = 'acme'",
        )
        .await;
    let operator = app.operator().await;
    // The minute's own run may be under way.
    let run = async || app.post("platform", "/operator/jobs/forget_sent_mail/run").token(&operator).await.status == 202;
    until("the job runs", run).await;
    until("old mail is forgotten", async || n_mails(&app, "old@acme.test", "true").await == 0).await;
    for kept in ["new@acme.test", "dead@acme.test", "waits@acme.test"] {
        assert_eq!(n_mails(&app, kept, "true").await, 1, "{kept}");
    }
    let queue = "SELECT count(*) FROM platform.mail_queue q
                 WHERE NOT EXISTS (SELECT FROM platform.mail_outbox o WHERE o.tenant_id = q.tenant_id AND o.id = q.id)";
    assert_eq!(app.count(queue).await, 0, "the queue names mail that is gone");
}
