//! A service behind the gateway whose answers a test writes byte for byte.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::Value;

/// One request as the service saw it.
pub struct Seen {
    pub line: String,
    /// Lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Calls `answer` for each request with the connection to write to; the connection is closed after one.
pub struct Provider {
    pub address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Provider {
    pub fn start(answer: impl Fn(Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (is_over, answer) = (Arc::new(AtomicBool::new(false)), Arc::new(answer));
        let thread = std::thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                for stream in listener.incoming() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
                    std::thread::spawn(move || {
                        if let Some(seen) = read(&stream) {
                            answer(seen, &mut stream);
                        }
                    });
                }
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }

    /// The text of a route to this service.
    pub fn route(&self, prefix: &str, more: &str) -> String {
        format!("[[routes]]\nprefix = \"{prefix}\"\nupstreams = [\"http://{}\"]\nretries = 0\n{more}\n", self.address)
    }

    /// The text of a route to it as a provider.
    pub fn ai_route(&self) -> String {
        let kind = "kind = \"openai\"\nmeter = \"ai_tokens\"\nprovider_secret = \"openai\"\nmax_output_tokens = 100";
        self.route("/ai", &format!("strip_prefix = true\nupstream_path = \"/v1\"\n{kind}"))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Writes a whole answer.
pub fn reply(stream: &mut TcpStream, status: u16, headers: &str, body: &str) {
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).ok();
}

/// Begins a stream of events.
pub fn begin_events(stream: &mut TcpStream) {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                transfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
}

/// Sends a piece of a chunked answer; an empty one ends it.
pub fn send_chunk(stream: &mut TcpStream, piece: &str) {
    write!(stream, "{:x}\r\n{piece}\r\n", piece.len()).ok();
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        let n = reader.read_line(&mut line).ok()?;
        (n > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { line: first, headers, body })
}
