//! Products, prices, customers.

use serde_json::{Value, json};

use super::books::{Books, Outcome, refusal};
use super::form::text;
use super::templates;

impl Books {
    pub fn create_product(&mut self, params: &Value) -> Outcome {
        let (id, now) = (self.id("prod"), self.now());
        Ok(self.add(templates::product(&id, now, params)))
    }

    pub fn create_price(&mut self, params: &Value) -> Outcome {
        self.get("product", text(params, "/product").unwrap_or_default())?;
        let lookup_key = text(params, "/lookup_key");
        if lookup_key.is_some() && self.all("price").iter().any(|price| price["lookup_key"].as_str() == lookup_key) {
            return Err(refusal(400, "resource_already_exists", "A price already uses that lookup key."));
        }
        let (id, now) = (self.id("price"), self.now());
        Ok(self.add(templates::price(&id, now, params)))
    }

    pub fn create_customer(&mut self, params: &Value) -> Outcome {
        let (id, now) = (self.id("cus"), self.now());
        let customer = self.add(templates::customer(&id, now, params));
        self.tell("customer.created", &customer);
        Ok(customer)
    }

    /// A customer that is not deleted.
    pub fn customer(&self, id: &str) -> Outcome {
        let customer = self.get("customer", id)?;
        match customer["deleted"].as_bool() {
            Some(true) => Err(refusal(404, "resource_missing", &format!("No such customer: '{id}'"))),
            _ => Ok(customer),
        }
    }

    /// Deletes a customer by hand, which ends its subscriptions.
    pub fn delete_customer(&mut self, id: &str) -> Outcome {
        let customer = self.customer(id)?;
        for subscription in self.all("subscription") {
            if subscription["customer"] == id && subscription["status"] != "canceled" {
                self.cancel_subscription(subscription["id"].as_str().unwrap())?;
            }
        }
        self.tell("customer.deleted", &customer);
        Ok(self.change(id, |customer| *customer = json!({ "id": id, "object": "customer", "deleted": true })))
    }

    pub fn update_customer(&mut self, id: &str, params: &Value) -> Outcome {
        self.customer(id)?;
        let (card, metadata) =
            (text(params, "/invoice_settings/default_payment_method"), templates::metadata(params, "/metadata"));
        let customer = self.change(id, |customer| {
            if let Some(card) = card {
                customer["invoice_settings"]["default_payment_method"] = card.into();
            }
            for (name, value) in metadata.as_object().unwrap() {
                customer["metadata"][name.as_str()] = value.clone();
            }
        });
        self.tell("customer.updated", &customer);
        Ok(customer)
    }

    /// A price's object.
    pub fn price(&self, id: &str) -> Outcome {
        self.get("price", id)
    }
}
