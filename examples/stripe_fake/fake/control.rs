//! What is said to the fake itself, and not to Stripe: `POST /_fake/…` with a form.
//!
//! `clock` (`advance_s`), `pay` (`session`), `decline` and `accept` (`customer`), `dispute` and `delete` (`customer`), `mail`
//! (`held`, `copies`, `backwards`), `redeliver` (every event again), `fail` (`method`, `path`, `kind`); `GET /_fake/books` shows
//! everything.

use serde_json::{Value, json};

use super::books::{Books, Fault, FaultKind};
use super::form::{self, number, text};
use super::wire::{Reply, Request};

pub fn handle(books: &mut Books, request: &Request) -> Reply {
    let form = form::parse(&request.body);
    let (status, body) = match act(books, request.path.trim_start_matches("/_fake/"), &form) {
        Some(body) => (200, body),
        None => (400, json!({ "error": "see the head of control.rs" })),
    };
    Reply::Answer { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
}

fn act(books: &mut Books, what: &str, form: &Value) -> Option<Value> {
    let done = json!({ "done": true });
    match what {
        "books" => return Some(json!({ "now": books.now(), "objects": books.objects, "events": books.events })),
        "clock" => books.advance(number(form, "/advance_s")?),
        "pay" => return books.pay_session(text(form, "/session")?).ok(),
        "decline" => drop(books.declined.insert(text(form, "/customer")?.to_owned())),
        "accept" => drop(books.declined.remove(text(form, "/customer")?)),
        "dispute" => return Some(books.dispute(text(form, "/customer")?)),
        "delete" => return books.delete_customer(text(form, "/customer")?).ok(),
        "mail" => {
            books.mail.is_held = text(form, "/held") == Some("true");
            books.mail.is_backwards = text(form, "/backwards") == Some("true");
            books.mail.copies = usize::try_from(number(form, "/copies").unwrap_or(1)).ok()?;
        }
        "redeliver" => books.mail.waiting.extend(books.events.clone()),
        "fail" => {
            let kind = match text(form, "/kind")? {
                "lose_answer" => FaultKind::LoseAnswer,
                "lose_request" => FaultKind::LoseRequest,
                "stall" => FaultKind::Stall,
                "fail_before" => FaultKind::FailBefore,
                "fail_after" => FaultKind::FailAfter,
                "turn_away" => FaultKind::TurnAway,
                "busy" => FaultKind::Busy,
                _ => return None,
            };
            let (method, path) = (text(form, "/method")?.to_owned(), text(form, "/path")?.to_owned());
            books.faults.push(Fault { method, path, kind });
        }
        _ => return None,
    }
    Some(done)
}
