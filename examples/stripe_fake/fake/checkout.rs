//! Checkout and portal sessions, and the page on which a checkout is paid.

use serde_json::{Value, json};

use super::books::{Books, Outcome, refusal};
use super::form::{list, number, text};
use super::templates;
use super::wire::{Reply, Request};

impl Books {
    pub fn create_session(&mut self, params: &Value) -> Outcome {
        self.get("customer", text(params, "/customer").unwrap_or_default())?;
        for line in list(params, "/line_items") {
            self.price(text(&line, "/price").unwrap_or_default())?;
        }
        let now = self.now();
        // Half an hour from now at least, a day at most.
        if number(params, "/expires_at").is_some_and(|at| !(1_790..=86_410).contains(&(at - now))) {
            return Err(refusal(400, "parameter_invalid_integer", "expires_at must be 30 minutes to 24 hours away"));
        }
        let id = self.id("cs_test");
        let url = format!("{}/pay/{id}", self.url);
        let session = self.add(templates::session(&id, now, &url, params));
        // What it was asked for is needed when it is paid.
        self.objects.insert(format!("{id}.params"), json!({ "object": "fake.params", "params": params }));
        Ok(session)
    }

    pub fn expire_session(&mut self, id: &str) -> Outcome {
        let session = self.get("checkout.session", id)?;
        if session["status"] != "open" {
            return Err(refusal(
                400,
                "checkout_session_not_open",
                "Only Checkout Sessions with a status of open can be expired.",
            ));
        }
        let session = self.change(id, |session| {
            session["status"] = "expired".into();
            session["url"] = Value::Null;
        });
        self.tell("checkout.session.expired", &session);
        Ok(session)
    }

    /// The tenant pays: the subscription begins, and its first invoice is collected.
    pub fn pay_session(&mut self, id: &str) -> Outcome {
        let session = self.get("checkout.session", id)?;
        if session["status"] != "open" {
            return Err(refusal(400, "checkout_session_not_open", "This page has been closed."));
        }
        let params = self.objects[&format!("{id}.params")]["params"].clone();
        let (subscription, invoice) = self.begin_subscription(&session, &params)?;
        let session = self.change(id, |session| {
            session["status"] = "complete".into();
            session["payment_status"] = if invoice.is_some() { "paid" } else { "no_payment_required" }.into();
            session["subscription"] = subscription["id"].clone();
            session["currency"] = subscription["currency"].clone();
            session["amount_total"] = invoice.as_ref().map_or(json!(0), |invoice| invoice["total"].clone());
            session["invoice"] = invoice.as_ref().map_or(Value::Null, |invoice| invoice["id"].clone());
            session["url"] = Value::Null;
        });
        self.tell("checkout.session.completed", &session);
        Ok(session)
    }

    pub fn create_portal(&mut self, params: &Value) -> Outcome {
        self.get("customer", text(params, "/customer").unwrap_or_default())?;
        let (id, now) = (self.id("bps"), self.now());
        let url = format!("{}/portal/{id}", self.url);
        Ok(self.add(templates::portal(&id, now, &url, params)))
    }
}

/// `GET /pay/{session}` shows the page, `POST` to it pays and leads back.
pub fn page(books: &mut Books, request: &Request) -> Reply {
    let id = request.path.trim_start_matches("/pay/").to_owned();
    let html = |status, text: String| Reply::Answer {
        status,
        headers: vec![("content-type", "text/html; charset=utf-8".to_owned())],
        body: format!("<!doctype html><title>Checkout (fake)</title><h1>Checkout (fake)</h1>{text}"),
    };
    if request.method == "POST" {
        return match books.pay_session(&id) {
            Ok(session) => {
                let back = session["success_url"].as_str().unwrap_or("/").replace("{CHECKOUT_SESSION_ID}", &id);
                Reply::Answer { status: 303, headers: vec![("location", back)], body: String::new() }
            }
            Err((status, why)) => html(status, why["message"].to_string()),
        };
    }
    match books.get("checkout.session", &id) {
        Ok(session) => html(200, format!("<p>{}</p><form method=post><button>Pay</button></form>", session["status"])),
        Err((status, why)) => html(status, why["message"].to_string()),
    }
}
