//! A gateway on a thread, services that speak the bytes a test says, and a client that sees every byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header::HeaderValue as OldValue;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use businessos::config::RouteSettings;
use businessos::http::gateway::hygiene::{self, Authorization, HeadLimits, TenantContextHeaders};
use businessos::http::gateway::pool::PoolSettings;
use businessos::http::gateway::{ForwardError, ForwardSettings, RouteMiss, RouteTable, forward};
use socket2::{Domain, Socket, Type};

/// Longest wait for anything; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Gateway {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// One route `/` without a credential, `more` being further lines of its configuration.
    pub fn start(upstreams: &[SocketAddr], more: &str) -> Self {
        Self::start_with(upstreams, more, Duration::from_secs(4))
    }

    pub fn start_with(upstreams: &[SocketAddr], more: &str, pool_idle_timeout: Duration) -> Self {
        let urls: Vec<String> = upstreams.iter().map(|address| format!("\"http://{address}\"")).collect();
        let text = format!("prefix = \"/\"\nauth = \"none\"\nupstreams = [{}]\n{more}", urls.join(","));
        let route: RouteSettings = toml::from_str(&text).unwrap();
        let table = Arc::new(RouteTable::build(&[route]).unwrap());
        let pool = PoolSettings { max_idle_per_endpoint: 32, idle_timeout: pool_idle_timeout };
        let settings = ForwardSettings { pool, retry_budget_percent: 20 };
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    let table = Arc::clone(&table);
                    App::new().default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
                        serve(Arc::clone(&table), settings, request, payload)
                    }))
                })
                .workers(1)
                .h1_allow_half_closed(false)
                .disable_signals()
                .shutdown_timeout(0)
                .bind("127.0.0.1:0")
                .unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                ready.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = started.recv_timeout(PATIENCE).expect("the gateway starts");
        Self { address, handle, thread: Some(thread) }
    }

    pub fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(self.address).unwrap())
    }

    /// One exchange on a connection of its own.
    pub fn exchange(&self, request: &str) -> Reply {
        let mut wire = self.connect();
        wire.send(request.as_bytes());
        wire.read_reply(request.starts_with("HEAD"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The command is sent when the future is made, the future itself only waits.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let stopped = thread.join();
            assert!(stopped.is_ok() || thread::panicking(), "the gateway panicked");
        }
    }
}

async fn serve(
    table: Arc<RouteTable>,
    settings: ForwardSettings,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let limits = HeadLimits { max_header_bytes: 32 * 1024, max_url_bytes: 8 * 1024 };
    if let Err(error) = hygiene::check_request(&request, &limits) {
        return HttpResponse::build(error.status()).force_close().body(error.to_string());
    }
    let route = match table.find(request.path()) {
        Ok(route) => route,
        Err(RouteMiss::NoRoute) => return HttpResponse::NotFound().finish(),
        Err(RouteMiss::AmbiguousPath) => return HttpResponse::BadRequest().finish(),
    };
    let context =
        TenantContextHeaders { tenant_id: Some(http::HeaderValue::from_static("ours")), ..Default::default() };
    let headers = || hygiene::upstream_headers(&request, &context, Authorization::Forward);
    match forward(&request, payload.into_inner(), route, headers, &settings).await {
        Ok(forwarded) => {
            let mut response = forwarded.response;
            let name = actix_web::http::header::HeaderName::from_static("x-test-retries");
            response.headers_mut().insert(name, OldValue::from(forwarded.retries));
            response
        }
        Err(error) => {
            let mut response = match error {
                ForwardError::FirstByteTimeout | ForwardError::IdleTimeout => HttpResponse::GatewayTimeout(),
                ForwardError::BodyTooLarge => HttpResponse::PayloadTooLarge(),
                ForwardError::MalformedBody | ForwardError::MalformedTarget => HttpResponse::BadRequest(),
                ForwardError::ClientGone | ForwardError::ClientStalled => HttpResponse::RequestTimeout(),
                ForwardError::ConnectFailed | ForwardError::UpstreamReset | ForwardError::UpstreamProtocol => {
                    HttpResponse::BadGateway()
                }
            };
            response.body(format!("{error:?}"))
        }
    }
}

/// A connection whose reads and writes fail the test after [`PATIENCE`].
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What a client got.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The head, names in lower case.
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn has(&self, line: &str) -> bool {
        self.head.lines().any(|found| found.eq_ignore_ascii_case(line))
    }
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Closes for good; the peer sees the end at once.
    pub fn close(self) {
        self.stream.shutdown(Shutdown::Both).ok();
    }

    /// Reads more; false at the end.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => false,
            Err(error) => panic!("{error}; so far: {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// Takes everything up to and including `end`; `None` if the connection ends first.
    pub fn try_read_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|bytes| bytes == end.as_bytes()) {
                let rest = self.buffer.split_off(at + end.len());
                return Some(String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    pub fn read_until(&mut self, end: &str) -> String {
        self.try_read_until(end).unwrap_or_else(|| panic!("ended before {end:?}: {:?}", self.buffer))
    }

    pub fn read_head(&mut self) -> String {
        self.read_until("\r\n\r\n").to_ascii_lowercase()
    }

    pub fn read_exact(&mut self, n: usize) -> String {
        while self.buffer.len() < n {
            assert!(self.fill(), "ended before {n} bytes: {:?}", String::from_utf8_lossy(&self.buffer));
        }
        let rest = self.buffer.split_off(n);
        String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap()
    }

    /// What came with the last thing read, and after it.
    pub fn take_buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Everything until the connection ends.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// A whole answer, its body by length, by chunks or by the end of the connection.
    pub fn read_reply(&mut self, is_head: bool) -> Reply {
        let head = self.read_head();
        let status = head[9..12].parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = if is_head || status == 304 || status == 204 {
            String::new()
        } else if let Some(length) = length {
            self.read_exact(length.parse().unwrap())
        } else if head.contains("transfer-encoding: chunked") {
            let mut body = String::new();
            loop {
                let size = usize::from_str_radix(self.read_until("\r\n").trim(), 16).unwrap();
                body.push_str(&self.read_exact(size));
                self.read_until("\r\n");
                if size == 0 {
                    break body;
                }
            }
        } else {
            String::from_utf8(self.read_to_end()).unwrap()
        };
        Reply { status, head, body }
    }
}

/// A service: every connection runs `serve` on a thread with the number of connections before it.
pub struct Service {
    pub address: SocketAddr,
    n_connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub fn start(serve: impl Fn(Wire, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let n_connections = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let serve = Arc::new(serve);
        let thread = thread::spawn({
            let (n_connections, stop) = (Arc::clone(&n_connections), Arc::clone(&stop));
            move || {
                for stream in listener.incoming() {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let wire = Wire::new(stream.unwrap());
                    let n = n_connections.fetch_add(1, SeqCst);
                    let serve = Arc::clone(&serve);
                    thread::spawn(move || serve(wire, n));
                }
            }
        });
        Self { address, n_connections, stop, thread: Some(thread) }
    }

    /// A service that gives every request the same bytes; it reads the request's head only.
    pub fn answering(answer: &'static str) -> Self {
        Self::start(move |mut wire, _| {
            while wire.try_read_until("\r\n\r\n").is_some() {
                wire.send(answer);
            }
        })
    }

    pub fn n_connections(&self) -> usize {
        self.n_connections.load(SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// An address that refuses connections: a port that is taken, and that nobody listens on, for as long as the process lives.
pub fn refusing() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// The next observation of a service.
pub fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).expect("the service reports")
}
