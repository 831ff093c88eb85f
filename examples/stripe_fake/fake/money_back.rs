//! Refunds, credit notes, disputes.

use serde_json::Value;

use super::books::{Books, Outcome, refusal};
use super::form::{number, text};
use super::templates;

impl Books {
    pub fn create_refund(&mut self, params: &Value) -> Outcome {
        let fits = |charge: &Value| {
            charge["payment_intent"].as_str() == text(params, "/payment_intent")
                || charge["id"].as_str() == text(params, "/charge")
        };
        let charge = self.all("charge").into_iter().find(fits);
        let charge = charge.ok_or_else(|| refusal(404, "resource_missing", "No such payment_intent"))?;
        let amount = number(params, "/amount").unwrap_or_else(|| charge["amount"].as_i64().unwrap());
        let refunded = charge["amount_refunded"].as_i64().unwrap() + amount;
        if refunded > charge["amount"].as_i64().unwrap() {
            return Err(refusal(400, "charge_already_refunded", "Refund amount is greater than the charge's."));
        }
        let (id, now) = (self.id("re"), self.now());
        let refund = self.add(templates::refund(&id, now, &charge, params));
        let charge = self.change(charge["id"].as_str().unwrap(), |charge| {
            charge["amount_refunded"] = refunded.into();
            charge["refunded"] = (charge["amount"] == refunded).into();
        });
        self.tell("charge.refunded", &charge);
        Ok(refund)
    }

    pub fn create_credit_note(&mut self, params: &Value) -> Outcome {
        let invoice = self.get("invoice", text(params, "/invoice").unwrap_or_default())?;
        let is_paid = invoice["status"] == "paid";
        if !is_paid && invoice["status"] != "open" {
            return Err(refusal(400, "invoice_not_finalized", "A credit note needs a finalized invoice."));
        }
        let (amount, id, now) = (number(params, "/amount").unwrap_or(0), self.id("cn"), self.now());
        let refunded = number(params, "/refund_amount").unwrap_or(0);
        let rest = amount - refunded - number(params, "/credit_amount").unwrap_or(0);
        if amount <= 0 || (is_paid && rest != 0) || (!is_paid && refunded != 0) {
            return Err(refusal(400, "parameter_invalid_integer", "The parts of the credit note do not add up."));
        }
        let field = |name: &str| invoice[name].as_i64().unwrap();
        let credited = field("pre_payment_credit_notes_amount") + field("post_payment_credit_notes_amount");
        if credited + amount > field("total") {
            return Err(refusal(400, "parameter_invalid_integer", "The credit note is over more than the invoice."));
        }
        let note = self.add(templates::credit_note(&id, now, &invoice, params, is_paid));
        self.change(invoice["id"].as_str().unwrap(), |invoice| {
            let field = if is_paid { "post_payment_credit_notes_amount" } else { "pre_payment_credit_notes_amount" };
            invoice[field] = (invoice[field].as_i64().unwrap() + amount).into();
            if !is_paid {
                for field in ["amount_due", "amount_remaining"] {
                    invoice[field] = (invoice[field].as_i64().unwrap() - amount).into();
                }
            }
        });
        self.tell("credit_note.created", &note);
        Ok(note)
    }

    /// The card's holder disputes the latest charge of a customer.
    pub fn dispute(&mut self, customer: &str) -> Value {
        let charge = self.all("charge").into_iter().find(|charge| charge["customer"] == customer).unwrap();
        let (id, now) = (self.id("du"), self.now());
        let dispute = self.add(templates::dispute(&id, now, &charge));
        self.change(charge["id"].as_str().unwrap(), |charge| charge["disputed"] = true.into());
        self.tell("charge.dispute.created", &dispute);
        dispute
    }
}
