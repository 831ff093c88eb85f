//! Checkout and portal sessions, and the page on which a checkout is paid.

use serde_json::Value;

use super::books::{Books, Outcome, refusal};
use super::form::{list, number, text};
use super::templates;
use super::wire::{Reply, Request};

impl Books {
    pub fn create_session(&mut self, params: &Value) -> Outcome {
        self.customer(text(params, "/customer").unwrap_or_default())?;
        let lines = list(params, "/line_items");
        let amount: i64 = lines.iter().filter_map(|line| number(line, "/price_data/unit_amount")).sum();
        match text(params, "/mode") {
            Some("payment") if amount < 50 => {
                return Err(refusal(400, "amount_too_small", "The total must be at least 0.50."));
            }
            Some("setup") if !lines.is_empty() || text(params, "/currency").is_none() => {
                return Err(refusal(400, "parameter_unknown", "A setup session has a currency and no line_items."));
            }
            Some("payment" | "setup") => {}
            _ => return Err(refusal(400, "parameter_missing", "The fake knows the modes payment and setup.")),
        }
        let now = self.now();
        // Half an hour from now at least, a day at most.
        if number(params, "/expires_at").is_some_and(|at| !(1_790..=86_410).contains(&(at - now))) {
            return Err(refusal(400, "parameter_invalid_integer", "expires_at must be 30 minutes to 24 hours away"));
        }
        let id = self.id("cs_test");
        let url = format!("{}/pay/{id}", self.url);
        Ok(self.add(templates::session(&id, now, &url, params, (amount > 0).then_some(amount))))
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

    /// The tenant pays, or shows its card.
    pub fn pay_session(&mut self, id: &str) -> Outcome {
        let session = self.get("checkout.session", id)?;
        if session["status"] != "open" {
            return Err(refusal(400, "checkout_session_not_open", "This page has been closed."));
        }
        let (card, now) = (self.id("pm"), self.now());
        let (mut payment, mut setup) = (Value::Null, Value::Null);
        if session["mode"] == "payment" {
            let (intent, charge) = (self.id("pi"), self.id("ch"));
            let intent = self.add(templates::payment_intent(&intent, now, &session, &card));
            payment = intent["id"].clone();
            let charge = self.add(templates::charge(&charge, now, &session, "amount_total", payment.as_str().unwrap()));
            self.tell("charge.succeeded", &charge);
            self.tell("payment_intent.succeeded", &intent);
        } else {
            let intent = self.id("seti");
            let intent = self.add(templates::setup_intent(&intent, now, &session, &card));
            setup = intent["id"].clone();
            self.tell("setup_intent.succeeded", &intent);
        }
        let session = self.change(id, |session| {
            session["status"] = "complete".into();
            session["payment_status"] = if setup.is_null() { "paid" } else { "no_payment_required" }.into();
            session["payment_intent"] = payment;
            session["setup_intent"] = setup;
            session["url"] = Value::Null;
        });
        self.tell("checkout.session.completed", &session);
        Ok(session)
    }

    pub fn create_portal(&mut self, params: &Value) -> Outcome {
        self.customer(text(params, "/customer").unwrap_or_default())?;
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
        Ok(session) => html(
            200,
            format!(
                "<p>{}</p><p>{} {}</p><form method=post><button>Pay</button></form>",
                session["custom_text"]["submit"]["message"], session["amount_total"], session["currency"]
            ),
        ),
        Err((status, why)) => html(status, why["message"].to_string()),
    }
}
