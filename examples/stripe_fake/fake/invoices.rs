//! Invoices: drafts, their lines, their end, and whether they are paid.

use serde_json::{Value, json};

use super::books::{Books, Outcome, refusal};
use super::form::text;
use super::templates;

/// Seconds between attempts to collect.
const RETRY_S: i64 = 3 * 86_400;
/// Attempts before a subscription is given up.
const N_ATTEMPTS: i64 = 4;

impl Books {
    /// A draft that no subscription made.
    pub fn create_invoice(&mut self, params: &Value) -> Outcome {
        let customer = self.customer(text(params, "/customer").unwrap_or_default())?;
        let (id, now) = (self.id("in"), self.now());
        let mut invoice = templates::invoice(&id, now, &Value::Null, "manual", (now, now));
        invoice["customer"] = customer["id"].clone();
        invoice["currency"] = text(params, "/currency").unwrap_or("usd").into();
        invoice["auto_advance"] = (text(params, "/auto_advance") != Some("false")).into();
        invoice["metadata"] = templates::metadata(params, "/metadata");
        invoice["parent"] = Value::Null;
        let invoice = self.add(invoice);
        self.tell("invoice.created", &invoice);
        Ok(invoice)
    }

    pub fn create_item(&mut self, params: &Value) -> Outcome {
        let invoice = self.get("invoice", text(params, "/invoice").unwrap_or_default())?;
        if invoice["status"] != "draft" {
            return Err(refusal(400, "invoice_not_editable", "This invoice is no longer editable."));
        }
        if invoice["customer"].as_str() != text(params, "/customer")
            || invoice["currency"].as_str() != text(params, "/currency")
        {
            return Err(refusal(400, "invalid_request", "The invoice is another customer's or of another currency."));
        }
        let (id, line, now) = (self.id("ii"), self.id("il"), self.now());
        let item = self.add(templates::item(&id, now, params));
        let period = (item["period"]["start"].as_i64().unwrap(), item["period"]["end"].as_i64().unwrap());
        let description = text(params, "/description").unwrap_or_default();
        let line = templates::line(&line, &invoice, item["amount"].as_i64().unwrap(), description, period);
        self.add_line(invoice["id"].as_str().unwrap(), line);
        Ok(item)
    }

    /// Puts a line on a draft, and adds up.
    pub fn add_line(&mut self, invoice: &str, line: Value) {
        self.change(invoice, |invoice| {
            let lines = invoice["lines"]["data"].as_array_mut().unwrap();
            lines.push(line);
            let sum: i64 = lines.iter().map(|line| line["amount"].as_i64().unwrap()).sum();
            for field in ["subtotal", "total"] {
                invoice[field] = sum.into();
            }
            for field in ["amount_due", "amount_remaining"] {
                invoice[field] = sum.max(0).into();
            }
        });
    }

    pub fn finalize(&mut self, id: &str, params: &Value) -> Outcome {
        let invoice = self.get("invoice", id)?;
        if invoice["status"] != "draft" {
            return Err(refusal(400, "invoice_already_finalized", "This invoice is already finalized."));
        }
        if text(params, "/auto_advance") == Some("false") {
            return Ok(self.open(id));
        }
        Ok(self.finalize_and_collect(id))
    }

    fn open(&mut self, id: &str) -> Value {
        let (now, n) = (self.now(), self.all("invoice").iter().filter(|invoice| invoice["number"].is_string()).count());
        let invoice = self.change(id, |invoice| {
            invoice["status"] = "open".into();
            invoice["number"] = format!("FAKE-{:04}", n + 1).into();
            invoice["status_transitions"]["finalized_at"] = now.into();
        });
        self.tell("invoice.finalized", &invoice);
        invoice
    }

    /// Ends a draft and collects it.
    pub fn finalize_and_collect(&mut self, id: &str) -> Value {
        self.open(id);
        self.collect(id)
    }

    /// One attempt to collect an open invoice.
    pub fn collect(&mut self, id: &str) -> Value {
        let (invoice, now) = (self.objects[id].clone(), self.now());
        let subscription = invoice["parent"]["subscription_details"]["subscription"].as_str().map(str::to_owned);
        if self.declined.contains(invoice["customer"].as_str().unwrap()) && invoice["amount_remaining"] != 0 {
            let n = invoice["attempt_count"].as_i64().unwrap() + 1;
            let next = if n < N_ATTEMPTS { json!(now + RETRY_S) } else { Value::Null };
            let invoice = self.change(id, |invoice| {
                invoice["attempt_count"] = n.into();
                invoice["attempted"] = true.into();
                invoice["next_payment_attempt"] = next;
            });
            self.tell("invoice.payment_failed", &invoice);
            if let Some(subscription) = subscription {
                self.set_status(&subscription, if n < N_ATTEMPTS { "past_due" } else { "unpaid" });
            }
            return invoice;
        }
        if invoice["amount_remaining"] != 0 {
            let (charge, payment) = (self.id("ch"), self.id("pi"));
            let charge = self.add(templates::charge(&charge, now, &invoice, "amount_remaining", &payment));
            self.tell("charge.succeeded", &charge);
        }
        let invoice = self.change(id, |invoice| {
            invoice["status"] = "paid".into();
            invoice["amount_paid"] = invoice["amount_due"].clone();
            invoice["amount_remaining"] = 0.into();
            invoice["attempted"] = true.into();
            invoice["attempt_count"] = (invoice["attempt_count"].as_i64().unwrap() + 1).into();
            invoice["next_payment_attempt"] = Value::Null;
            invoice["status_transitions"]["paid_at"] = now.into();
        });
        self.tell("invoice.paid", &invoice);
        self.tell("invoice.payment_succeeded", &invoice);
        if let Some(subscription) = subscription
            && matches!(self.objects[&subscription]["status"].as_str(), Some("past_due" | "unpaid"))
        {
            self.set_status(&subscription, "active");
        }
        invoice
    }
}
