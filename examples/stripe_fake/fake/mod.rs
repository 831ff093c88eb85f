//! A Stripe of our own, for tests and demonstrations: the calls that the program makes, with Stripe's own nastiness. It remembers
//! idempotency keys and what they were used for, replays failures that it recorded, turns callers away, loses answers, keeps drafts
//! open for an hour, collects, fails to collect, and tells of everything in signed events. Time is its own: see [`Fake::advance`].
//!
//! It is no part of the program. Whether it speaks as Stripe does is checked by `scripts/stripe-contract.py`, which is shown every
//! call and every answer.

mod books;
mod calendar;
mod catalogue;
mod checkout;
mod control;
mod events;
mod form;
mod invoices;
mod money_back;
mod postman;
mod routes;
mod subscriptions;
mod templates;
mod wire;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

pub use books::{Books, Fault, FaultKind};
pub use events::sign;
pub use postman::Postman;

/// Version of the API that it speaks, which is the one that async-stripe 1.0.0-rc.10 and Stripe's Python library 16.0.1 are of.
pub const API_VERSION: &str = "2026-09-30.endive";

/// A running fake. It ends when it is dropped.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What its threads share.
pub struct Shared {
    books: Mutex<Books>,
    /// Every connection, to be closed at the end.
    connections: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

impl Shared {
    /// The books, to oneself.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

impl Fake {
    /// Starts on a loopback port, or on any free one with port 0.
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            books: Mutex::new(Books::new(format!("http://{address}"))),
            connections: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || wire::serve(&listener, &served));
        Self { address, shared }
    }

    /// What a program is to be told as `stripe.api_base`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The books, to oneself; nobody is served meanwhile.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.shared.books()
    }

    /// What threads of others may hold.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Lets time pass: what falls due in it happens, one after the other.
    pub fn advance(&self, seconds: i64) {
        self.books().advance(seconds);
    }

    /// Has calls fail in order: the first fault that fits a call strikes it, once.
    pub fn fail(&self, method: &str, path: &str, kind: FaultKind) {
        let (method, path) = (method.to_owned(), path.to_owned());
        self.books().faults.push(Fault { method, path, kind });
    }

    /// Every event so far, in order.
    pub fn events(&self) -> Vec<Value> {
        self.books().events.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // The listener waits for a connection.
        TcpStream::connect(self.address).ok();
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.shutdown(std::net::Shutdown::Both).ok();
        }
    }
}
