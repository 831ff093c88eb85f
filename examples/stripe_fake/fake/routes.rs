//! From a request to an answer: credentials, faults, idempotency keys, and only then the call.

use serde_json::{Value, json};

use super::books::{Books, FaultKind, Outcome, SECRET_KEY, Saved, refusal};
use super::wire::{Reply, Request};
use super::{Shared, checkout, control, form};

pub fn handle(shared: &Shared, request: &Request) -> Reply {
    let mut books = shared.books();
    if request.path.starts_with("/_fake/") {
        return control::handle(&mut books, request);
    }
    if request.path.starts_with("/pay/") {
        return checkout::page(&mut books, request);
    }
    *books.n_calls.entry(format!("{} {}", request.method, request.path)).or_default() += 1;
    let (reply, told) = answer(&mut books, request);
    record(&mut books, request, told);
    reply
}

/// The reply, and the answer as it would have been read (none: nothing was answered).
fn answer(books: &mut Books, request: &Request) -> (Reply, Option<(u16, Value)>) {
    if request.header("authorization") != Some(&format!("Bearer {SECRET_KEY}")) {
        return told(401, error(refusal(401, "api_key_invalid", "Invalid API Key provided").1), false);
    }
    let fault = books.strike(&request.method, &request.path);
    match fault {
        Some(FaultKind::TurnAway) => {
            return told(429, error(refusal(429, "rate_limit", "Too many requests").1), false);
        }
        Some(FaultKind::Busy) => {
            let busy = json!({ "type": "idempotency_error", "code": "idempotency_key_in_use", "message": "in use" });
            return told(409, error(busy), false);
        }
        Some(FaultKind::LoseRequest) => return (Reply::HangUp, None),
        _ => {}
    }
    let params = form::parse(if request.method == "POST" { &request.body } else { &request.query });
    // Stripe takes keys for POST only.
    let key = request.header("idempotency-key").filter(|_| request.method == "POST").map(str::to_owned);
    let saved = key.as_ref().and_then(|key| books.keys.get(key)).cloned();
    let is_replayed = saved.is_some();
    let (status, body) = match saved {
        Some(saved) if saved.path != request.path || saved.params != params => {
            let text =
                "Keys for idempotent requests can only be used with the same parameters they were first used with.";
            return told(400, error(json!({ "type": "idempotency_error", "message": text })), false);
        }
        Some(saved) => (saved.status, saved.body),
        None => first(books, request, key, params, fault),
    };
    match fault {
        Some(FaultKind::LoseAnswer) => (Reply::HangUp, Some((status, body))),
        Some(FaultKind::Stall) => (Reply::Silence, Some((status, body))),
        _ => told(status, body, is_replayed),
    }
}

/// A call under a key that is not known yet.
fn first(
    books: &mut Books,
    request: &Request,
    key: Option<String>,
    params: Value,
    fault: Option<FaultKind>,
) -> (u16, Value) {
    let called = match fault {
        Some(FaultKind::FailBefore) => None,
        _ => Some(call(books, request, &params)),
    };
    let (status, body) = match (called, fault) {
        (None, _) | (Some(_), Some(FaultKind::FailAfter)) => broken(),
        (Some(Ok(object)), _) => (200, object),
        (Some(Err((status, why))), _) => (status, error(why)),
    };
    // What was turned away before it began is not recorded.
    if let Some(key) = key
        && !matches!(status, 400 | 401 | 404 | 409 | 429)
    {
        books.keys.insert(key, Saved { path: request.path.clone(), params, status, body: body.clone() });
    }
    (status, body)
}

fn broken() -> (u16, Value) {
    (500, error(refusal(500, "api_error", "An unknown error occurred").1))
}

fn error(why: Value) -> Value {
    json!({ "error": why })
}

fn told(status: u16, body: Value, is_replayed: bool) -> (Reply, Option<(u16, Value)>) {
    let mut headers = vec![("content-type", "application/json".to_owned()), ("request-id", "req_fake".to_owned())];
    if is_replayed {
        headers.push(("idempotent-replayed", "true".to_owned()));
    }
    if status == 429 {
        headers.push(("stripe-should-retry", "true".to_owned()));
    }
    (Reply::Answer { status, headers, body: body.to_string() }, Some((status, body)))
}

fn record(books: &mut Books, request: &Request, told: Option<(u16, Value)>) {
    let (status, answer) = told.map_or((Value::Null, Value::Null), |(status, answer)| (status.into(), answer));
    let record = json!({
        "kind": "call", "method": request.method, "path": request.path, "query": request.query, "body": request.body,
        "version": request.header("stripe-version"), "idempotency_key": request.header("idempotency-key"),
        "status": status, "answer": answer,
    });
    books.records.push(record.to_string());
}

/// The call itself.
pub fn call(books: &mut Books, request: &Request, params: &Value) -> Outcome {
    let path = request.path.strip_prefix("/v1/").unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["products"]) => books.create_product(params),
        ("POST", ["prices"]) => books.create_price(params),
        ("POST", ["customers"]) => books.create_customer(params),
        ("POST", ["customers", id]) => books.update_customer(id, params),
        ("POST", ["checkout", "sessions"]) => books.create_session(params),
        ("POST", ["checkout", "sessions", id, "expire"]) => books.expire_session(id),
        ("GET", ["checkout", "sessions"]) => Ok(books.list("checkout.session", "/v1/checkout/sessions", params)),
        ("GET", ["checkout", "sessions", id]) => books.get("checkout.session", id),
        ("POST", ["billing_portal", "sessions"]) => books.create_portal(params),
        ("POST", ["subscriptions"]) => books.create_subscription(params),
        ("POST", ["subscriptions", id]) => books.update_subscription(id, params),
        ("DELETE", ["subscriptions", id]) => books.cancel_subscription(id),
        ("POST", ["invoiceitems"]) => books.create_item(params),
        ("POST", ["invoices"]) => books.create_invoice(params),
        ("POST", ["invoices", id, "finalize"]) => books.finalize(id, params),
        ("POST", ["refunds"]) => books.create_refund(params),
        ("POST", ["credit_notes"]) => books.create_credit_note(params),
        ("GET", ["events"]) => Ok(books.list_events(params)),
        ("GET", [list]) => kind(list).map(|kind| books.list(kind, &request.path, params)).ok_or_else(unknown),
        ("GET", [list, id]) => kind(list).ok_or_else(unknown).and_then(|kind| books.get(kind, id)),
        _ => Err(unknown()),
    }
}

fn unknown() -> (u16, Value) {
    refusal(404, "url_invalid", "Unrecognized request URL")
}

fn kind(list: &str) -> Option<&'static str> {
    Some(match list {
        "products" => "product",
        "prices" => "price",
        "customers" => "customer",
        "subscriptions" => "subscription",
        "invoices" => "invoice",
        "invoiceitems" => "invoiceitem",
        "payment_intents" => "payment_intent",
        "setup_intents" => "setup_intent",
        "charges" => "charge",
        "disputes" => "dispute",
        "refunds" => "refund",
        "credit_notes" => "credit_note",
        _ => return None,
    })
}

impl Books {
    /// A list as Stripe pages it: the newest first, what the query names, from behind `starting_after`.
    pub fn list(&self, kind: &str, url: &str, query: &Value) -> Value {
        let objects = self.all(kind);
        page(objects, url, query)
    }

    fn list_events(&self, query: &Value) -> Value {
        page(self.events.iter().rev().cloned().collect(), "/v1/events", query)
    }
}

fn page(objects: Vec<Value>, url: &str, query: &Value) -> Value {
    let since = form::number(query, "/created/gte").unwrap_or(0);
    let lookup_keys = form::list(query, "/lookup_keys");
    let same = ["customer", "invoice", "status", "charge", "payment_intent"];
    let mut fitting: Vec<Value> = objects
        .into_iter()
        .filter(|object| object["created"].as_i64().unwrap_or(i64::MAX) >= since)
        .filter(|object| lookup_keys.is_empty() || lookup_keys.contains(&object["lookup_key"]))
        .filter(|object| {
            let asked = |field: &str| form::text(query, &format!("/{field}"));
            let subscription = &object["parent"]["subscription_details"]["subscription"];
            same.iter().all(|field| asked(field).is_none_or(|wanted| wanted == "all" || object[*field] == wanted))
                && asked("subscription").is_none_or(|wanted| subscription == wanted)
        })
        .collect();
    if let Some(after) = form::text(query, "/starting_after") {
        let at = fitting.iter().position(|object| object["id"] == after).map_or(fitting.len(), |at| at + 1);
        fitting.drain(..at);
    }
    let limit = usize::try_from(form::number(query, "/limit").unwrap_or(10)).unwrap();
    let has_more = fitting.len() > limit;
    fitting.truncate(limit);
    json!({ "object": "list", "url": url, "has_more": has_more, "data": fitting })
}
