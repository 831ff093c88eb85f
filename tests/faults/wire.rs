//! A plain HTTP/1.1 client: one connection, kept alive, nothing sent twice, nothing looked at before it is used.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longest silence that a client accepts; whoever needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that arrived whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is a problem that invites to try again.
    pub fn is_retryable_problem(&self) -> bool {
        self.header("content-type") == Some("application/problem+json") && self.header("retry-after").is_some()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection: nothing was sent.
    Refused(Error),
    /// The request was sent, at least in part, and no whole answer came back.
    Broken(Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "not connected: {error}"),
            Self::Broken(error) => write!(f, "no whole answer: {error}"),
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: &'static str,
    pub path: String,
    pub host: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn get(host: &str, path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), host: host.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn post(host: &str, path: &str, body: &Value) -> Self {
        let mut call = Self::get(host, path);
        call.method = "POST";
        call.headers.push(("content-type", "application/json".to_owned()));
        call.body = body.to_string().into_bytes();
        call
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", self.method, self.path, self.host);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.method != "GET" {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A client with its connection, if one is open.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: Vec::new() }
    }

    /// Connects now, so that a request needs only to be written.
    pub fn connect(&mut self) -> Result<(), Failure> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE).map_err(Failure::Refused)?;
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            self.buffer.clear();
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Lets go of a connection that was closed since it was last used: what is broken off from now on was under way.
    pub fn let_go_if_closed(&mut self) {
        let is_open = |stream: &TcpStream| {
            stream.set_nonblocking(true).unwrap();
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false).unwrap();
            peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        self.stream.take_if(|stream| !is_open(stream));
    }

    /// One exchange, on the connection of the one before if the server left it open.
    pub fn send(&mut self, call: &Call) -> Result<Answer, Failure> {
        self.connect()?;
        let result = self.exchange(call).map_err(Failure::Broken);
        if result.as_ref().map_or(true, |answer| answer.header("connection") == Some("close")) {
            self.stream = None;
        }
        result
    }

    fn exchange(&mut self, call: &Call) -> Result<Answer, Error> {
        self.stream.as_mut().unwrap().write_all(&call.bytes())?;
        let head = loop {
            let head = self.read_head()?;
            if !head.starts_with("http/1.1 100") {
                break head;
            }
        };
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        let mut answer = Answer { status, head, body: Vec::new() };
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_digits| ErrorKind::InvalidData)?;
            answer.body = self.read_exact(length)?;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.read_until(b"\r\n")?;
                let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16)
                    .map_err(|_digits| ErrorKind::InvalidData)?;
                answer.body.extend(self.read_exact(size)?);
                self.read_until(b"\r\n")?;
                if size == 0 {
                    break;
                }
            }
        }
        Ok(answer)
    }

    fn read_head(&mut self) -> Result<String, Error> {
        let head = self.read_until(b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&head);
        let lower_names = text.lines().map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
            None => format!("{}\n", line.to_ascii_lowercase()),
        });
        Ok(lower_names.collect())
    }

    fn read_until(&mut self, end: &[u8]) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let rest = self.buffer.split_off(at + end.len());
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            self.fill()?;
        }
    }

    fn read_exact(&mut self, n: usize) -> Result<Vec<u8>, Error> {
        while self.buffer.len() < n {
            self.fill()?;
        }
        let rest = self.buffer.split_off(n);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn fill(&mut self) -> Result<(), Error> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.as_mut().unwrap().read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}
