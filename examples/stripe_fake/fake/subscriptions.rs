//! Subscriptions, and what time does to them.

use serde_json::{Value, json};

use super::books::{Books, Outcome, refusal};
use super::calendar::month;
use super::form::{list, text};
use super::templates;

impl Books {
    /// A subscription that charges nothing before its first whole period.
    pub fn create_subscription(&mut self, params: &Value) -> Outcome {
        let customer = self.customer(text(params, "/customer").unwrap_or_default())?;
        if customer["invoice_settings"]["default_payment_method"].is_null() {
            let text = "This customer has no attached payment source or default payment method.";
            return Err(refusal(400, "resource_missing", text));
        }
        if text(params, "/proration_behavior") != Some("none") {
            return Err(refusal(400, "parameter_invalid", "The fake prorates nothing."));
        }
        let (id, now) = (self.id("sub"), self.now());
        let mut items = Vec::new();
        for price in templates::price_ids(params, "/items") {
            let price = self.price(&price)?;
            let item = self.id("si");
            items.push(templates::subscription_item(&item, now, &id, &price));
        }
        if items.is_empty() {
            return Err(refusal(400, "parameter_missing", "A subscription needs items."));
        }
        let subscription = self.add(templates::subscription(&id, now, params, items));
        self.tell("customer.subscription.created", &subscription);
        Ok(subscription)
    }

    /// A draft with a line for each item.
    fn bill(&mut self, subscription: &Value, reason: &str, period: (i64, i64)) -> Value {
        let (id, now) = (self.id("in"), self.now());
        let invoice = self.add(templates::invoice(&id, now, subscription, reason, period));
        for item in subscription["items"]["data"].as_array().unwrap() {
            let price = &item["price"];
            let line = self.id("il");
            let description = price["lookup_key"].as_str().unwrap_or("subscription").to_owned();
            let line = templates::line(&line, &invoice, price["unit_amount"].as_i64().unwrap(), &description, period);
            self.add_line(&id, line);
        }
        self.change(subscription["id"].as_str().unwrap(), |subscription| {
            subscription["latest_invoice"] = id.clone().into()
        });
        let invoice = self.objects[&id].clone();
        self.tell("invoice.created", &invoice);
        invoice
    }

    pub fn update_subscription(&mut self, id: &str, params: &Value) -> Outcome {
        let subscription = self.get("subscription", id)?;
        if subscription["status"] == "canceled" {
            return Err(refusal(404, "resource_missing", "No such subscription"));
        }
        let mut items = subscription["items"]["data"].as_array().unwrap().clone();
        for wanted in list(params, "/items") {
            let known = text(&wanted, "/id");
            let at = items.iter().position(|item| item["id"].as_str() == known);
            match (known, at) {
                (Some(_), None) => return Err(refusal(400, "resource_missing", "No such subscription_item")),
                (Some(_), Some(at)) if text(&wanted, "/deleted") == Some("true") => drop(items.remove(at)),
                (Some(_), Some(at)) => items[at]["price"] = self.price(text(&wanted, "/price").unwrap_or_default())?,
                (None, _) => {
                    let price = self.price(text(&wanted, "/price").unwrap_or_default())?;
                    let (item, now) = (self.id("si"), self.now());
                    items.push(templates::subscription_item(&item, now, id, &price));
                }
            }
        }
        let ends = text(params, "/cancel_at_period_end").map(|ends| ends == "true");
        let end = items.first().map(|item| item["current_period_end"].clone()).unwrap_or_default();
        let at = params.pointer("/cancel_at").and_then(Value::as_str).map(|at| at.parse::<i64>().ok());
        if at.is_some() && ends.is_some() {
            return Err(refusal(
                400,
                "parameter_invalid",
                "You may only specify one of cancel_at, cancel_at_period_end.",
            ));
        }
        let metadata = templates::metadata(params, "/metadata");
        let subscription = self.change(id, |subscription| {
            subscription["items"]["data"] = items.into();
            for (name, value) in metadata.as_object().unwrap() {
                subscription["metadata"][name.as_str()] = value.clone();
            }
            if let Some(ends) = ends {
                subscription["cancel_at_period_end"] = ends.into();
                subscription["cancel_at"] = if ends { end } else { Value::Null };
            }
            // As the portal does it: at a time, and not with the period.
            if let Some(at) = at {
                subscription["cancel_at_period_end"] = false.into();
                subscription["cancel_at"] = at.map_or(Value::Null, Value::from);
            }
        });
        self.tell("customer.subscription.updated", &subscription);
        Ok(subscription)
    }

    pub fn cancel_subscription(&mut self, id: &str) -> Outcome {
        let subscription = self.get("subscription", id)?;
        if subscription["status"] == "canceled" {
            return Err(refusal(404, "resource_missing", "No such subscription"));
        }
        Ok(self.end_subscription(id))
    }

    fn end_subscription(&mut self, id: &str) -> Value {
        let now = self.now();
        let subscription = self.change(id, |subscription| {
            subscription["status"] = "canceled".into();
            subscription["canceled_at"] = now.into();
            subscription["ended_at"] = now.into();
        });
        self.tell("customer.subscription.deleted", &subscription);
        subscription
    }

    /// Sets a subscription's status, and tells of it if that is new.
    pub fn set_status(&mut self, id: &str, status: &str) {
        if self.objects[id]["status"] == status || self.objects[id]["status"] == "canceled" {
            return;
        }
        let subscription = self.change(id, |subscription| subscription["status"] = status.into());
        self.tell("customer.subscription.updated", &subscription);
    }

    /// Lets time pass in steps of half an hour, so that what falls due happens in order.
    pub fn advance(&mut self, seconds: i64) {
        let mut left = seconds;
        while left > 0 {
            let step = left.min(1_800);
            self.ahead += step;
            left -= step;
            self.tick();
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        let due = |at: &Value| at.as_i64().is_some_and(|at| at <= now);
        for session in self.all("checkout.session") {
            if session["status"] == "open" && due(&session["expires_at"]) {
                self.expire_session(session["id"].as_str().unwrap()).unwrap();
            }
        }
        for subscription in self.all("subscription") {
            let ends = subscription["items"]["data"][0]["current_period_end"].clone();
            if subscription["status"] != "canceled" && due(&ends) {
                self.roll(&subscription, ends.as_i64().unwrap());
            }
        }
        for invoice in self.all("invoice") {
            let id = invoice["id"].as_str().unwrap();
            match invoice["status"].as_str().unwrap() {
                // A draft that nobody ends is ended after an hour.
                "draft"
                    if invoice["auto_advance"] == true && due(&json!(invoice["created"].as_i64().unwrap() + 3_600)) =>
                {
                    self.finalize_and_collect(id);
                }
                "open" if due(&invoice["next_payment_attempt"]) => drop(self.collect(id)),
                _ => {}
            }
        }
    }

    /// A new period begins.
    fn roll(&mut self, subscription: &Value, start: i64) {
        let id = subscription["id"].as_str().unwrap();
        if subscription["cancel_at"].as_i64().is_some_and(|at| at <= start) {
            self.end_subscription(id);
            return;
        }
        let period = month(start);
        let subscription = self.change(id, |subscription| {
            for item in subscription["items"]["data"].as_array_mut().unwrap() {
                item["current_period_start"] = period.0.into();
                item["current_period_end"] = period.1.into();
            }
        });
        self.tell("customer.subscription.updated", &subscription);
        self.bill(&subscription, "subscription_cycle", period);
    }
}
