//! Events, and their signatures.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::API_VERSION;
use super::books::Books;

impl Books {
    /// Tells of something that happened to an object, which the event carries as it is now.
    pub fn tell(&mut self, kind: &str, object: &Value) {
        let (id, now) = (self.id("evt"), self.now());
        let event = json!({
            "id": id, "object": "event", "api_version": API_VERSION, "created": now, "data": { "object": object },
            "livemode": false, "pending_webhooks": 1, "request": { "id": null, "idempotency_key": null }, "type": kind,
        });
        self.records.push(json!({ "kind": "event", "event": event }).to_string());
        self.mail.waiting.push_back(event.clone());
        self.events.push(event);
    }
}

/// The header that Stripe would send with a body at a time, in seconds since 1970.
pub fn sign(secret: &str, body: &str, at: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, format!("{at}.{body}").as_bytes());
    format!("t={at},v1={}", hex::encode(signature))
}
