//! Months are closed by cron, and their invoices read by the tenant, paid and taken back by an operator.

use serde_json::{Value, json};

use crate::helpers::{App, Session, Tenant, spawn_app, until};
use crate::smtp::SmtpSink;
use crate::subscribe::subscribe;

/// A tenant on `basic` that was there three months ago, whose months since then cron has closed; its owner and an operator, both with a
/// second factor.
pub async fn billed(app: &App) -> (Tenant, Session, Session) {
    let (tenant, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    let operator = close_months(app, &owner).await;
    (tenant, owner, operator)
}

/// Has the owner subscribe, as if that had been three months ago, and closes the months since then; returns the operator.
async fn close_months(app: &App, owner: &Session) -> Session {
    assert_eq!(subscribe(app, owner, json!({ "plan": "basic" })).await.status, 200);
    for sql in [
        "UPDATE platform.directory SET created_at = created_at - interval '3 months' WHERE slug = 'acme'",
        "UPDATE billing.subscription_changes SET effective_at = effective_at - interval '3 months'",
    ] {
        app.db.as_admin(sql).await;
    }
    let operator = app.operator().await;
    let operator = app.stepped_up("platform", &operator).await;
    let run = app.post("platform", "/operator/jobs/close_billing_periods/run").token(&operator).await;
    assert_eq!(run.status, 202, "{run:?}");
    let ours = "SELECT count(*) FROM platform.job_runs
                WHERE job = 'close_billing_periods' AND is_manual AND outcome = 'done'";
    until("the months are closed", async || app.count(ours).await == 1).await;
    operator
}

async fn listed(app: &App, by: &Session, query: &str) -> Value {
    let reply = app.get("acme", &format!("/billing/invoice{query}")).token(by).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn the_months_that_have_ended_are_invoiced_and_shown_to_who_pays() {
    let app = spawn_app(|_| {}).await;
    let (_, owner, _) = billed(&app).await;
    let all = listed(&app, &owner, "").await["items"].as_array().unwrap().clone();
    assert!(all.len() >= 2, "{all:?}");
    let first = listed(&app, &owner, "?limit=1").await;
    assert_eq!(first["items"], json!([all[0]]));
    let second = listed(&app, &owner, &format!("?limit=1&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(second["items"], json!([all[1]]));
    let oldest = &all[all.len() - 1];
    assert!(oldest["number"].as_str().unwrap().ends_with("-000001"), "{oldest}");
    let whole =
        app.get("acme", &format!("/billing/invoice/{}", oldest["id"].as_str().unwrap())).token(&owner).await.json();
    assert_eq!(whole["total_minor"], oldest["total_minor"]);
    let lines = whole["lines"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["key"] == "plan:basic" && line["amount_minor"] == 4_900), "{lines:?}");
    // Its plan has a price for more tokens than it includes, of which none were used.
    let usage = app.get("acme", "/billing/usage").token(&owner).await.json();
    assert_eq!((&usage["meters"][0]["meter"], &usage["meters"][0]["overage_minor"]), (&json!("ai_tokens"), &json!(0)));
    // What comes next is shown before it is issued.
    let upcoming = app.get("acme", "/billing/invoice/upcoming").token(&owner).await.json();
    assert_eq!(upcoming["total_minor"], 4_900, "{upcoming}");
    // Whoever pays sees it, whoever works does not.
    let payer = app.user("acme", "billing").await;
    assert_eq!(listed(&app, &payer, "").await["items"].as_array().unwrap().len(), all.len());
    let member = app.user("acme", "member").await;
    app.get("acme", "/billing/invoice").token(&member).await.problem(403, "forbidden");
    // Another tenant's invoice is none.
    let (_, other) = app.tenant_with_owner("other").await;
    let path = format!("/billing/invoice/{}", oldest["id"].as_str().unwrap());
    app.get("other", &path).token(&other).await.problem(404, "not-found");
    app.get("acme", "/billing/invoice/none").token(&owner).await.problem(404, "not-found");
    app.get("acme", "/billing/invoice?limit=0").token(&owner).await.problem(422, "validation-failed");
}

#[tokio::test]
async fn an_operator_notes_what_was_paid_and_takes_back_what_was_wrong() {
    let app = spawn_app(|_| {}).await;
    let (tenant, owner, operator) = billed(&app).await;
    let open = app.get("platform", "/operator/invoices").token(&operator).await.json();
    let open = open["items"].as_array().unwrap();
    assert!(open.iter().all(|entry| entry["tenant"] == tenant.id.as_str() && entry["status"] == "open"), "{open:?}");
    let (paid, wrong) = (open[0]["id"].as_str().unwrap(), open[1]["id"].as_str().unwrap());
    let call = async |id: &str, what: &str, body: Value| {
        app.post("platform", &format!("/operator/invoices/{id}/{what}")).token(&operator).json(&body).await
    };
    let reply = call(paid, "paid", json!({ "reference": "TRX 42" })).await;
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("paid")), "{reply:?}");
    call(paid, "paid", json!({})).await.problem(409, "conflict");
    // Of what was paid, a part goes back: by hand, because it came by hand.
    for (lines, pointer) in [
        (json!([]), "/lines"),
        (json!([{ "key": "none", "amount_minor": 1 }]), "/lines/0/key"),
        (json!([{ "key": "plan:basic", "amount_minor": 4_901 }]), "/lines/0/amount_minor"),
    ] {
        let reply = call(paid, "credit", json!({ "reason": "too much", "lines": lines, "credited_minor": 0 })).await;
        assert_eq!((reply.status, reply.pointers()), (422, vec![pointer.to_owned()]), "{reply:?}");
    }
    let lines = json!([{ "key": "plan:basic", "amount_minor": 900 }]);
    let back = call(paid, "credit", json!({ "reason": "a day without service", "lines": lines, "credited_minor": 0 }))
        .await
        .json();
    assert_eq!(
        (&back["credits"], &back["refund_minor"], &back["transfer_minor"]),
        (&json!(paid), &json!(0), &back["total_minor"])
    );
    // Sent twice, it is refused as that, also where the line has not as much left.
    let lines = json!([{ "key": "plan:basic", "amount_minor": 4_500 }]);
    let again = json!({ "reason": "a month without service", "lines": lines, "credited_minor": 0 });
    call(paid, "credit", again).await.problem(409, "conflict");
    let shown = app.get("acme", &format!("/billing/invoice/{paid}")).token(&owner).await.json();
    assert_eq!(
        (&shown["status"], &shown["credited_minor"], &shown["due_minor"]),
        (&json!("paid"), &json!(900), &json!(0))
    );
    call(wrong, "paid", json!({ "paid_at": "2999-01-01T00:00:00Z" })).await.problem(422, "validation-failed");
    call(wrong, "credit", json!({ "reason": " " })).await.problem(422, "validation-failed");
    let note = call(wrong, "credit", json!({ "reason": "billed by mistake" })).await;
    assert_eq!((note.status, &note.json()["credits"]), (201, &json!(wrong)), "{note:?}");
    call(&uuid::Uuid::new_v4().to_string(), "paid", json!({})).await.problem(404, "not-found");
    // Their documents are PDFs, the same bytes each time.
    for id in [paid, note.json()["id"].as_str().unwrap(), back["id"].as_str().unwrap()] {
        let path = format!("/billing/invoice/{id}/pdf");
        let first = app.get("acme", &path).token(&owner).await;
        assert_eq!((first.status, first.header("content-type")), (200, "application/pdf"), "{first:?}");
        assert!(first.body.starts_with("%PDF-"));
        assert_eq!(first.body, app.get("acme", &path).token(&owner).await.body);
    }
    let n_files = "SELECT count(*) FROM billing.invoice_files";
    assert!(app.count(n_files).await >= 2);
    let shown = listed(&app, &owner, "").await;
    let statuses: Vec<_> = shown["items"].as_array().unwrap().iter().map(|invoice| invoice["status"].clone()).collect();
    assert!(statuses.contains(&json!("paid")) && statuses.contains(&json!("credited")), "{statuses:?}");
    app.get("platform", "/operator/invoices?status=none").token(&operator).await.problem(422, "validation-failed");
}

#[tokio::test]
async fn the_mail_has_the_document_that_the_api_shows() {
    let sink = SmtpSink::start("plain", None);
    let url = format!("smtp://127.0.0.1:{}", sink.port);
    let app = spawn_app(|settings| settings.mail.smtp_url = Some(url.clone().into())).await;
    let (_, owner) = app.tenant_with_owner("acme").await;
    let owner = app.stepped_up("acme", &owner).await;
    let profile = json!({ "legal_name": "Acme", "country": "DE", "emails": ["invoices@acme.test"] });
    assert_eq!(app.put("acme", "/billing/profile").token(&owner).json(&profile).await.status, 200);
    close_months(&app, &owner).await;
    let (name, attached) = sink.mail_to("invoices@acme.test").await.pdf();
    let issued = listed(&app, &owner, "").await;
    let its = issued["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| format!("{}.pdf", row["number"].as_str().unwrap()) == name);
    let id = its.unwrap_or_else(|| panic!("{name}: {issued}"))["id"].as_str().unwrap();
    let shown = app.get("acme", &format!("/billing/invoice/{id}/pdf")).token(&owner).await;
    assert!(attached.starts_with(b"%PDF-") && String::from_utf8_lossy(&attached) == shown.body, "{name}");
    let sha256 = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &attached));
    let kept = format!(
        "SELECT count(*) FROM billing.invoice_files WHERE invoice_id = '{id}' AND encode(sha256, 'hex') = '{sha256}'"
    );
    assert_eq!(app.count(&kept).await, 1, "it is the file to the last byte");
}

#[tokio::test]
async fn who_an_invoice_is_for_is_said_by_who_pays() {
    let app = spawn_app(|_| {}).await;
    let (_, weak) = app.tenant_with_owner("acme").await;
    let profile = json!({
        "legal_name": "Acme GmbH", "address_lines": ["Straße 1"], "city": "Berlin", "postcode": "10115", "country": "DE",
        "tax_id": "DE123456789", "emails": ["invoices@acme.test"],
    });
    app.put("acme", "/billing/profile")
        .token(&weak)
        .json(&profile)
        .await
        .problem(401, "insufficient_user_authentication");
    let owner = app.stepped_up("acme", &weak).await;
    app.get("acme", "/billing/profile").token(&owner).await.problem(404, "not-found");
    let reply = app.put("acme", "/billing/profile").token(&owner).json(&profile).await;
    assert_eq!((reply.status, reply.json()), (200, profile.clone()));
    assert_eq!(app.get("acme", "/billing/profile").token(&owner).await.json(), profile);
    let wrong = json!({ "legal_name": "", "country": "Germany", "emails": ["nobody"], "address_lines": ["a\nb"] });
    let reply = app.put("acme", "/billing/profile").token(&owner).json(&wrong).await;
    assert_eq!(reply.pointers(), ["/address_lines/0", "/country", "/emails/0", "/legal_name"]);
    // Nor is anything taken that no invoice could name: it would stand on one for ever.
    let unprintable = json!({ "legal_name": "\u{200e}", "country": "UK", "address_lines": ["a", "b", "c", "d"] });
    let reply = app.put("acme", "/billing/profile").token(&owner).json(&unprintable).await;
    assert_eq!(
        (reply.status, reply.pointers()),
        (422, vec!["/address_lines".into(), "/country".into(), "/legal_name".into()])
    );
}

#[tokio::test]
async fn every_invoice_can_be_printed_whoever_the_profile_says_it_is_for() {
    let lines = "{one,two,three,four}";
    for stored in [
        // What was taken in, and what was stored when more was taken in.
        None,
        Some(format!("country = 'UK', address_lines = '{lines}', tax_id = 'UK123456789'")),
        Some("country = 'ZZ'".to_owned()),
    ] {
        let app = spawn_app(|settings| settings.billing.seller.iban = "DE89370400440532013000".to_owned()).await;
        let (_, owner) = app.tenant_with_owner("acme").await;
        let owner = app.stepped_up("acme", &owner).await;
        let profile = json!({
            "legal_name": "Acme Ltd", "address_lines": ["one", "two", "three"], "country": "GB", "tax_id": "EU826010755",
        });
        let reply = app.put("acme", "/billing/profile").token(&owner).json(&profile).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        if let Some(stored) = &stored {
            app.db.as_admin(&format!("UPDATE billing.profiles SET {stored}")).await;
        }
        close_months(&app, &owner).await;
        let issued = listed(&app, &owner, "").await;
        let path = format!("/billing/invoice/{}/pdf", issued["items"][0]["id"].as_str().unwrap());
        let printed = app.get("acme", &path).token(&owner).await;
        assert_eq!(printed.status, 200, "{stored:?}: {printed:?}");
    }
}
