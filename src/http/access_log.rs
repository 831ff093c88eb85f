//! The access log: one line for each request on standard output.
//!
//! A worker appends lines to a buffer of its own and hands the buffer over when it is full or a moment old; a thread writes. No
//! request waits for a terminal or a disk: when the queue is full, lines are dropped and counted.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

use crate::clock;
use crate::config::{LogFormat, LogSettings};

/// A buffer is handed over when it has so many bytes.
const FLUSH_BYTES: usize = 16 * 1024;
/// A buffer is handed over at least so often.
pub const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Buffers that may wait for the writing thread.
const QUEUE: usize = 256;

/// One line. Field names follow the platform's metrics and headers.
#[derive(Debug, Serialize)]
pub struct AccessLine<'a> {
    /// When the request ended.
    pub time: &'a str,
    /// Id of the request.
    pub request_id: &'a str,
    /// Trace it belongs to.
    pub traceparent: &'a str,
    /// Client's address.
    pub client: &'a str,
    /// Tenant's subdomain.
    pub tenant: &'a str,
    /// User's id.
    pub user: &'a str,
    /// Method.
    pub method: &'a str,
    /// Path, without the query: it may hold secrets.
    pub path: &'a str,
    /// Template of the route.
    pub route: &'a str,
    /// Status.
    pub status: u16,
    /// Why it ended so, if that needs saying.
    pub flag: &'a str,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Milliseconds from the request's head to the end of the answer.
    pub duration_ms: f64,
    /// Milliseconds until the service's answer began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<f64>,
}

/// Where lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    queue: Option<SyncSender<Vec<u8>>>,
    format: LogFormat,
    dropped: Counter,
}

/// A worker's buffer, and where to hand it over.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    log: Option<AccessLog>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.hand_over(&mut self.bytes);
        }
    }
}

thread_local! {
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

impl AccessLog {
    /// Starts the writing thread. It ends when every clone of the log is gone; join it to have all lines written.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(settings: &LogSettings, dropped: Counter) -> std::io::Result<(Self, Option<JoinHandle<()>>)> {
        if !settings.access {
            return Ok((Self { queue: None, format: settings.format, dropped }, None));
        }
        let (sender, receiver) = sync_channel::<Vec<u8>>(QUEUE);
        let writer = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            let mut out = std::io::stdout().lock();
            for bytes in receiver {
                // A closed standard output is nothing that a request should fail for.
                if out.write_all(&bytes).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        })?;
        Ok((Self { queue: Some(sender), format: settings.format, dropped }, Some(writer)))
    }

    /// Whether anything is logged.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Adds a line to the worker's buffer.
    pub fn write(&self, line: &AccessLine<'_>) {
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.log.is_none() {
                buffer.log = Some(self.clone());
            }
            match self.format {
                LogFormat::Json => {
                    // These types always serialise.
                    let _ = serde_json::to_writer(&mut buffer.bytes, line);
                    buffer.bytes.push(b'\n');
                }
                LogFormat::Text => buffer.bytes.extend_from_slice(text(line).as_bytes()),
            }
            if buffer.bytes.len() >= FLUSH_BYTES {
                self.hand_over(&mut buffer.bytes);
            }
        });
    }

    /// Hands over what the calling worker has; called on a timer.
    pub fn flush(&self) {
        BUFFER.with_borrow_mut(|buffer| self.hand_over(&mut buffer.bytes));
    }

    fn hand_over(&self, bytes: &mut Vec<u8>) {
        let Some(queue) = self.queue.as_ref().filter(|_| !bytes.is_empty()) else {
            return;
        };
        let next = Vec::with_capacity(FLUSH_BYTES + 1_024);
        if let Err(TrySendError::Full(lost)) = queue.try_send(std::mem::replace(bytes, next)) {
            let n_lines = lost.iter().filter(|byte| **byte == b'\n').count();
            self.dropped.inc_by(n_lines as u64);
        }
    }
}

fn text(line: &AccessLine<'_>) -> String {
    let AccessLine {
        time,
        request_id,
        traceparent: _,
        client,
        tenant,
        user,
        method,
        path,
        route: _,
        status,
        flag,
        bytes,
        duration_ms,
        upstream_ms,
    } = line;
    let dash = |text: &'_ str| {
        if text.is_empty() { "-".to_owned() } else { text.to_owned() }
    };
    let mut out = format!(
        "{time} {status} {method} {path} {duration_ms:.2}ms {bytes}B tenant={} user={} client={} flag={} id={request_id}",
        dash(tenant),
        dash(user),
        dash(client),
        dash(flag),
    );
    if let Some(upstream_ms) = upstream_ms {
        // Writing to a string cannot fail.
        let _ = write!(out, " upstream={upstream_ms:.2}ms");
    }
    out.push('\n');
    out
}

/// The present time for a line, formatted once a second and thread.
#[must_use]
pub fn timestamp() -> String {
    thread_local! {
        static LAST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let now = clock::now();
    LAST.with_borrow_mut(|(second, prefix)| {
        if *second != now.timestamp() {
            *second = now.timestamp();
            *prefix = now.format("%Y-%m-%dT%H:%M:%S").to_string();
        }
        format!("{prefix}.{:03}Z", now.timestamp_subsec_millis().min(999))
    })
}
