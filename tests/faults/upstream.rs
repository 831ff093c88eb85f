//! A service behind the gateway, by hand: each connection has a thread, the path says how it behaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Chunks of `/stream`, one each 50 ms.
pub const STREAM_CHUNKS: usize = 24;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    n_requests: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

/// What [`Upstream`] says in `X-Usage` that it used for `/used/{id}`, of the meter `reported_units`.
pub const REPORTED: i64 = 3;
/// Tokens that it says it used for a question to its model.
pub const TOKENS: i64 = 7;

/// The service: `/fast`, `/pause` (30 ms), `/slow` (300 ms), `/stream` (1.2 s), `/hang` (no answer), `/half` (half of a promised
/// answer), `/used/{id}` (which says what it used), `/v1/chat/completions` (a model).
pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    pub fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&for_thread);
                if shared.stop.load(SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Requests whose head arrived.
    pub fn n_requests(&self) -> usize {
        self.shared.n_requests.load(SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    while let Some(path) = read_request(&mut reader) {
        shared.n_requests.fetch_add(1, SeqCst);
        if answer(&path, &mut stream).is_none() {
            stream.shutdown(Shutdown::Both).ok();
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut first = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if first.is_empty() {
            first = line;
        } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    first.split(' ').nth(1).map(str::to_owned)
}

/// `None` to close the connection.
fn answer(path: &str, stream: &mut TcpStream) -> Option<()> {
    if let Some(id) = path.strip_prefix("/used/") {
        let usage = format!("X-Usage: reported_units={REPORTED};id={id}");
        return stream
            .write_all(format!("HTTP/1.1 200 OK\r\n{usage}\r\nContent-Length: 4\r\n\r\nused").as_bytes())
            .ok();
    }
    match path {
        "/pause" => {
            thread::sleep(Duration::from_millis(30));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npause").ok()
        }
        "/slow" => {
            thread::sleep(Duration::from_millis(300));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").ok()
        }
        "/v1/chat/completions" => {
            let body = format!(r#"{{"model":"m","choices":[],"usage":{{"total_tokens":{TOKENS}}}}}"#);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).ok()
        }
        "/stream" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
            for _ in 0..STREAM_CHUNKS {
                stream.write_all(b"5\r\nchunk\r\n").ok()?;
                thread::sleep(Duration::from_millis(50));
            }
            stream.write_all(b"0\r\n\r\n").ok()
        }
        "/hang" => {
            // Until the gateway hangs up.
            stream.read_exact(&mut [0; 1]).ok()?;
            None
        }
        "/half" => {
            let mut text = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
            text.extend([b'x'; 500]);
            stream.write_all(&text).ok()?;
            None
        }
        "/half-chunked" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n").ok()?;
            None
        }
        _ => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfast").ok(),
    }
}
