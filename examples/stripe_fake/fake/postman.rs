//! Delivery of events: in order or not, once or more often, at once or on demand.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::Shared;
use super::events::sign;

/// Events on their way, and how they go.
#[derive(Debug)]
pub struct Mail {
    /// What is to be delivered.
    pub waiting: VecDeque<Value>,
    /// Whether it is held back.
    pub is_held: bool,
    /// How often each is delivered.
    pub copies: usize,
    /// Whether the latest goes first.
    pub is_backwards: bool,
}

impl Default for Mail {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), is_held: false, copies: 1, is_backwards: false }
    }
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct Postman {
    /// `host:port` of the program.
    pub to: String,
    /// Host name that it is called by.
    pub host: String,
    /// The signing secret.
    pub secret: String,
}

impl Postman {
    /// Delivers until the fake ends. What is not answered with 200 is delivered again.
    pub fn start(self, shared: Arc<Shared>) {
        std::thread::spawn(move || {
            while !shared.is_over.load(Ordering::SeqCst) {
                let next = {
                    let mut books = shared.books();
                    let mail = &mut books.mail;
                    let event = if mail.is_held {
                        None
                    } else if mail.is_backwards {
                        mail.waiting.pop_back()
                    } else {
                        mail.waiting.pop_front()
                    };
                    event.map(|event| (event, mail.copies))
                };
                let Some((event, copies)) = next else {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                let is_taken = (0..copies).all(|_| self.deliver(&event.to_string()) == Some(200));
                if !is_taken {
                    std::thread::sleep(Duration::from_millis(500));
                    shared.books().mail.waiting.push_back(event);
                }
            }
        });
    }

    fn deliver(&self, body: &str) -> Option<u16> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let signature = sign(&self.secret, body, i64::try_from(now).ok()?);
        let mut stream = TcpStream::connect(&self.to).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let head = format!(
            "POST /webhooks/stripe HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nstripe-signature: {signature}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}
