//! A service behind the gateway that answers with what it was sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// Answers `{target, headers: {name: [values]}, body}` and counts.
pub struct Upstream {
    pub address: SocketAddr,
    n_requests: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (n_requests, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (n_requests, is_over) = (Arc::clone(&n_requests), Arc::clone(&is_over));
            move || {
                for stream in listener.incoming() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let n_requests = Arc::clone(&n_requests);
                    std::thread::spawn(move || serve(stream.unwrap(), &n_requests));
                }
            }
        });
        Self { address, n_requests, is_over, thread: Some(thread) }
    }

    /// The text of a route to this service.
    pub fn route(&self, prefix: &str, more: &str) -> String {
        format!("[[routes]]\nprefix = \"{prefix}\"\nupstreams = [\"http://{}\"]\n{more}\n", self.address)
    }

    /// How many requests came.
    pub fn n_requests(&self) -> usize {
        self.n_requests.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(stream: TcpStream, n_requests: &AtomicUsize) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read(&mut reader) {
        n_requests.fetch_add(1, Ordering::SeqCst);
        let body = seen.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver: mine\r\nx-frame-options: DENY\r\n\
                    access-control-allow-origin: *\r\n";
        if write!(writer, "{head}content-length: {}\r\n\r\n{body}", body.len()).is_err() {
            return;
        }
    }
}

/// One request; `None` when the connection ends.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Value> {
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        let n = reader.read_line(&mut line).ok()?;
        (n > 0).then(|| line.trim_end().to_owned())
    };
    let first = line(reader)?;
    let mut headers = json!({});
    let mut length = 0;
    loop {
        let field = line(reader)?;
        let Some((name, value)) = field.split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if name == "content-length" {
            length = value.parse().unwrap();
        }
        let values = headers.as_object_mut().unwrap().entry(name).or_insert_with(|| json!([]));
        values.as_array_mut().unwrap().push(value.into());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let target = first.split(' ').nth(1).unwrap();
    Some(json!({ "target": target, "headers": headers, "body": String::from_utf8(body).unwrap() }))
}
