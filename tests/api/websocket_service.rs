//! A service that speaks WebSocket, and a client that reaches it through the gateway.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::helpers::{App, PATIENCE};

/// Echoes what it is told. `/refuse` answers 403, `/forged` answers a switch to nobody's key, `/flood` talks and does not listen.
pub struct EchoService {
    pub address: SocketAddr,
    /// Heads of the handshakes: target and headers.
    pub heads: Arc<Mutex<Vec<Request>>>,
    /// How each connection ended, as the service saw it.
    pub ends: Arc<Mutex<Vec<Option<CloseFrame>>>>,
    task: JoinHandle<()>,
}

impl Drop for EchoService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl EchoService {
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, ends) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (kept_heads, kept_ends) = (Arc::clone(&heads), Arc::clone(&ends));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept_heads), Arc::clone(&kept_ends)));
            }
        });
        Self { address, heads, ends, task }
    }

    /// A route to it.
    pub fn route(&self, prefix: &str, more: &str) -> String {
        format!(
            "[[routes]]\nprefix = \"{prefix}\"\nstrip_prefix = true\nupstreams = [\"http://{}\"]\n{more}\n",
            self.address
        )
    }

    pub fn last_head(&self) -> Request {
        self.heads.lock().unwrap().last().unwrap().clone()
    }
}

#[expect(clippy::result_large_err, reason = "the library's callback")]
async fn serve(mut stream: TcpStream, heads: Arc<Mutex<Vec<Request>>>, ends: Arc<Mutex<Vec<Option<CloseFrame>>>>) {
    let mut peeked = [0; 64];
    let n = stream.peek(&mut peeked).await.unwrap_or(0);
    let line = String::from_utf8_lossy(&peeked[..n]).into_owned();
    if line.starts_with("GET /forged") {
        let mut request = vec![0; 4_096];
        let _whole_head = stream.read(&mut request).await.unwrap();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    if line.starts_with("GET /plain") {
        let mut request = vec![0; 4_096];
        let n = stream.read(&mut request).await.unwrap();
        let has_upgrade = String::from_utf8_lossy(&request[..n]).to_lowercase().contains("upgrade:");
        let body = format!("upgrade passed: {has_upgrade}");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    let look = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        heads.lock().unwrap().push(request.clone());
        if request.uri().path() == "/refuse" {
            let refused = http::Response::builder().status(403).header("x-usage", "ai_tokens=2");
            return Err(refused.body(Some("not you".to_owned())).unwrap());
        }
        response.headers_mut().insert("x-usage", http::HeaderValue::from_static("ai_tokens=5"));
        if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
            response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, look).await else { return };
    let mut end = None;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) if text == "close please" => socket.close(None).await.unwrap(),
            Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
            Message::Close(frame) => end = frame,
            _ => {}
        }
    }
    ends.lock().unwrap().push(end);
}

/// The client's end of a tunnel.
pub type Tunnel = WebSocketStream<TcpStream>;

/// Asks for a WebSocket; a refusal is its status and body.
pub async fn try_tunnel(
    app: &App,
    path: &str,
    token: Option<&str>,
    headers: &[(&'static str, &str)],
) -> Result<(Tunnel, http::Response<Option<Vec<u8>>>), (u16, String)> {
    let stream = TcpStream::connect(("127.0.0.1", app.port)).await.unwrap();
    let mut request = format!("ws://acme.localhost:{}{path}", app.port).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    match timeout(PATIENCE, client_async(request, stream)).await.expect("an answer to the handshake") {
        Ok(opened) => Ok(opened),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err((response.status().as_u16(), String::from_utf8_lossy(body).into_owned()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Says something and hears it again.
pub async fn echo(tunnel: &mut Tunnel, message: Message) {
    tunnel.send(message.clone()).await.unwrap();
    let heard = timeout(PATIENCE, tunnel.next()).await.expect("an echo in time").unwrap().unwrap();
    assert_eq!(heard.len(), message.len());
    assert!(heard == message, "the echo differs");
}

/// The close frame that ends a tunnel.
pub async fn closed(tunnel: &mut Tunnel) -> Option<(u16, String)> {
    loop {
        match timeout(PATIENCE, tunnel.next()).await.expect("an end in time") {
            Some(Ok(Message::Close(frame))) => {
                return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}
