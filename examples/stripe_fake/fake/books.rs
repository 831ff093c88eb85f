//! What the fake knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::postman::Mail;

/// The secret key that it accepts.
pub const SECRET_KEY: &str = "sk_test_fake";

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It is done, and the connection ends without an answer.
    LoseAnswer,
    /// It is not done, and the connection ends without an answer.
    LoseRequest,
    /// It is done, and the answer never comes, nor does the connection end.
    Stall,
    /// It fails before anything is done, and the failure is recorded under the key.
    FailBefore,
    /// It is done, and then it fails, and the failure is recorded under the key.
    FailAfter,
    /// Too many requests.
    TurnAway,
    /// Another call with the same key is under way.
    Busy,
}

/// A call that will go wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its method.
    pub method: String,
    /// What its path begins with.
    pub path: String,
    /// How it goes wrong.
    pub kind: FaultKind,
}

/// What a key was used for, and what came of it.
#[derive(Debug, Clone)]
pub struct Saved {
    pub path: String,
    pub params: Value,
    pub status: u16,
    pub body: Value,
}

/// All of it.
pub struct Books {
    /// Where pages are.
    pub url: String,
    /// How far its clock is ahead, in seconds.
    pub ahead: i64,
    seed: u64,
    n_ids: u64,
    /// Every object, by id.
    pub objects: BTreeMap<String, Value>,
    /// Ids in the order of their making.
    pub order: Vec<String>,
    /// Answers by idempotency key.
    pub keys: HashMap<String, Saved>,
    /// Every event, in order.
    pub events: Vec<Value>,
    /// Events on their way.
    pub mail: Mail,
    /// Calls that will go wrong.
    pub faults: Vec<Fault>,
    /// Customers whose cards are declined.
    pub declined: BTreeSet<String>,
    /// Calls and events for the contract's check, one JSON object each.
    pub records: Vec<String>,
    /// How often each call was made, by method and path.
    pub n_calls: BTreeMap<String, usize>,
}

/// A refusal: status and error.
pub type Refusal = (u16, Value);

/// What a call comes to.
pub type Outcome = Result<Value, Refusal>;

/// A refusal of what was asked for.
pub fn refusal(status: u16, code: &str, message: &str) -> Refusal {
    let kind = match status {
        402 => "card_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    (status, json!({ "type": kind, "code": code, "message": message }))
}

impl Books {
    pub fn new(url: String) -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        Self {
            url,
            ahead: 0,
            seed,
            n_ids: 0,
            objects: BTreeMap::new(),
            order: Vec::new(),
            keys: HashMap::new(),
            events: Vec::new(),
            mail: Mail::default(),
            faults: Vec::new(),
            declined: BTreeSet::new(),
            records: Vec::new(),
            n_calls: BTreeMap::new(),
        }
    }

    /// Its present second.
    pub fn now(&self) -> i64 {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        i64::try_from(real).unwrap() + self.ahead
    }

    /// A new id.
    pub fn id(&mut self, prefix: &str) -> String {
        self.n_ids += 1;
        format!("{prefix}_{:x}{:06}", self.seed, self.n_ids)
    }

    /// Keeps a new object.
    pub fn add(&mut self, object: Value) -> Value {
        let id = object["id"].as_str().unwrap().to_owned();
        self.order.push(id.clone());
        self.objects.insert(id, object.clone());
        object
    }

    /// An object of a kind.
    pub fn get(&self, kind: &str, id: &str) -> Outcome {
        let found = self.objects.get(id).filter(|object| object["object"] == kind);
        found.cloned().ok_or_else(|| refusal(404, "resource_missing", &format!("No such {kind}: '{id}'")))
    }

    /// Changes an object, which must be there.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Value)) -> Value {
        let object = self.objects.get_mut(id).unwrap();
        change(object);
        object.clone()
    }

    /// Objects of a kind, the newest first.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        let newest_first = self.order.iter().rev().map(|id| &self.objects[id]);
        newest_first.filter(|object| object["object"] == kind).cloned().collect()
    }

    /// The first fault that fits a call, which is over with it.
    pub fn strike(&mut self, method: &str, path: &str) -> Option<FaultKind> {
        let at = self.faults.iter().position(|fault| fault.method == method && path.starts_with(&fault.path))?;
        Some(self.faults.remove(at).kind)
    }

    /// Sum of a field over the objects of a kind that fit.
    pub fn sum(&self, kind: &str, field: &str, fits: impl Fn(&Value) -> bool) -> i64 {
        self.all(kind).iter().filter(|object| fits(object)).map(|object| object[field].as_i64().unwrap()).sum()
    }
}
